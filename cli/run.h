/* paddock run: one program, run by the service. */
#ifndef PD_CLI_RUN_H
#define PD_CLI_RUN_H

int pd_run_main(int argc, char **argv);

#endif
