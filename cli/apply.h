/* paddock apply, scale and delete: changes to pools, for those without kubectl. */
#ifndef PD_CLI_APPLY_H
#define PD_CLI_APPLY_H

int pd_apply_main(int argc, char **argv);
int pd_scale_main(int argc, char **argv);
int pd_delete_main(int argc, char **argv);

#endif
