/* A redis-server of a test's own: its folder, a unix socket, a free TCP port and
 * a free TLS port on loopback. Ends with the test's process. */
#ifndef PD_TESTS_LIB_REDIS_SERVER_H
#define PD_TESTS_LIB_REDIS_SERVER_H

#include <stdbool.h>

struct pd_redis_server;

/* Why there can be none, or NULL. */
const char *pd_redis_server_lacks(void);
/* Started, answering. `extra` (may be NULL): further settings, "--name", "value",
 * ..., ended by NULL; they hold for every start. Aborts where it does not start. */
struct pd_redis_server *pd_redis_server_new(const char *const *extra);
const char *pd_redis_server_dir(const struct pd_redis_server *server); /* ca.pem, cert.pem, ... */
const char *pd_redis_server_unix_url(const struct pd_redis_server *server);
const char *pd_redis_server_tcp_url(const struct pd_redis_server *server);
const char *pd_redis_server_tls_url(const struct pd_redis_server *server);
int pd_redis_server_port(const struct pd_redis_server *server);
/* kill -9. */
void pd_redis_server_kill(struct pd_redis_server *server);
void pd_redis_server_start(struct pd_redis_server *server);
void pd_redis_server_freeze(struct pd_redis_server *server, bool frozen);
/* One command by redis-cli, as a shell's words; its output is discarded. False
 * where it fails. */
bool pd_redis_server_cli(struct pd_redis_server *server, const char *words);
void pd_redis_server_free(struct pd_redis_server *server);

#endif
