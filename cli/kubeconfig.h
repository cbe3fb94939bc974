/* paddock kubeconfig: what kubectl needs to be a client of the service. */
#ifndef PD_CLI_KUBECONFIG_H
#define PD_CLI_KUBECONFIG_H

int pd_kubeconfig_main(int argc, char **argv);

#endif
