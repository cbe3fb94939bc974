/* `paddock login`: asks the running service for a one-time login link. */
#ifndef PD_CLI_LOGIN_H
#define PD_CLI_LOGIN_H

int pd_login_main(int argc, char **argv);

#endif
