/* A PostgreSQL of a test's own: its folder, a unix socket in it, no port. Ends with the
 * test's process. The server refuses to be root, so it runs as the user of Debian's
 * package then. */
#ifndef PD_TESTS_LIB_POSTGRES_SERVER_H
#define PD_TESTS_LIB_POSTGRES_SERVER_H

struct pd_postgres_server;

/* Why there can be none, or NULL. */
const char *pd_postgres_server_lacks(void);
/* Started, answering. Aborts where it does not start. */
struct pd_postgres_server *pd_postgres_server_new(void);
/* For libpq. */
const char *pd_postgres_server_url(const struct pd_postgres_server *server);
void pd_postgres_server_start(struct pd_postgres_server *server);
/* At once, without a word to its clients. */
void pd_postgres_server_stop(struct pd_postgres_server *server);
/* What psql says to the statements: rows of columns by '|', without the last newline;
 * "" where it fails. Valid until the next call. Quotes: no double ones. */
const char *pd_postgres_server_ask(struct pd_postgres_server *server, const char *sql);
void pd_postgres_server_free(struct pd_postgres_server *server);

#endif
