/* `paddock probe`: asks the running service how it is, for health checks where there
 * is no other HTTP client. */
#ifndef PD_CLI_PROBE_H
#define PD_CLI_PROBE_H

/* argv[0] is "probe". The exit status: 0 when the answer was 200, 1 when it was not
 * or none came, 2 for wrong usage. */
int pd_probe_main(int argc, char **argv);

#endif
