/* Where a Redis is, and who we are to it, as one URL:
 *
 *   redis://[[user]:password@]host[:port][/db]      TCP; port 6379, db 0
 *   rediss://[[user]:password@]host[:port][/db]     the same over TLS
 *   unix://[[user]:password@]/path[?db=N]           a unix socket; redis+unix:// too
 *
 * User and password may hold %XX (RFC 3986, 2.1); an IPv6 host stands in
 * brackets. */
#ifndef PD_COMMON_REDIS_URL_H
#define PD_COMMON_REDIS_URL_H

#include <stdbool.h>

#include "common/err.h"
#include "common/secret.h"

#define PD_REDIS_URL_BYTES_MAX 2048
#define PD_REDIS_PORT 6379
#define PD_REDIS_DB_MAX 65535

struct pd_redis_url {
    bool tls;
    char *socket_path; /* NULL: host and port */
    char *host;        /* without brackets; NULL with socket_path */
    int port;
    char *user;                /* NULL: Redis's default user */
    struct pd_secret password; /* empty: none */
    int db;
    char *shown; /* the URL without user and password: for logs */
};

/* 0 or PD_INVALID, whose message quotes nothing of what may be a password. */
int pd_redis_url_parse(const char *text, struct pd_redis_url *ret_url, struct pd_err *err)
    __attribute__((warn_unused_result));
/* Deep; for pd_redis_url_fini. */
struct pd_redis_url pd_redis_url_copy(const struct pd_redis_url *url);
void pd_redis_url_fini(struct pd_redis_url *url);

#endif
