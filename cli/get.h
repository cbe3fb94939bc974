/* paddock get: what there is, for those without kubectl. */
#ifndef PD_CLI_GET_H
#define PD_CLI_GET_H

int pd_get_main(int argc, char **argv);

#endif
