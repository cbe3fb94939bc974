/* `paddock serve`: controller and API in one process on one loop. `paddock controller`
 * and `paddock api` are the same program with parts of it left out (docs/replicas.md). */
#ifndef PD_CLI_SERVE_H
#define PD_CLI_SERVE_H

/* How long a stop waits for runs under way, and then for sandboxes to go. */
#define PD_SERVE_DRAIN_MS 25000
#define PD_SERVE_CLOSE_MS 10000

/* argv[0] is "serve", "controller" or "api". Returns the process's exit status: 0 after a clean stop,
 * 1 when it could not start or had to leave something behind, 2 for a mistake
 * in the arguments or the configuration. */
int pd_serve_main(int argc, char **argv);

#endif
