/* paddock selftest: known attacks (cli/attack.h) against the running service. */
#ifndef PD_CLI_SELFTEST_H
#define PD_CLI_SELFTEST_H

/* argv[0] is "selftest". Prints a table; the exit status is 0 when all held, 1
 * when any did not, 2 for wrong usage or where no service answers. */
int pd_selftest_main(int argc, char **argv);

#endif
