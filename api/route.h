/* Routes: which handler answers a method and a path. */
#ifndef PD_API_ROUTE_H
#define PD_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

struct pd_exchange;

enum pd_method {
    PD_METHOD_GET,
    PD_METHOD_HEAD,
    PD_METHOD_POST,
    PD_METHOD_PUT,
    PD_METHOD_PATCH,
    PD_METHOD_DELETE,
    PD_METHOD_OPTIONS,
    PD_METHOD_OTHER, /* any other token */
};
const char *pd_method_name(enum pd_method method); /* "GET"; "" for other */

/* The request's head has arrived; see server.h for what a handler may do. */
typedef void (*pd_route_cb)(void *arg, struct pd_exchange *exchange);

struct pd_route {
    enum pd_method method;
    const char *path;  /* matched whole, but that "{}" stands for one segment, not empty */
    unsigned needs;    /* PD_SCOPE_OPEN (no API key), or scopes (key_file.h) of which the
                          key must have one */
    pd_route_cb handler;
};

#define PD_ALLOW_BYTES 64
#define PD_SEGMENT_BYTES 128

/* What stands in the path for the first "{}" of a route; "" where there is none
 * or it is longer. */
void pd_route_segment(const char *pattern, const char *path, char out[static PD_SEGMENT_BYTES]);

enum pd_route_match {
    PD_ROUTE_FOUND,
    PD_ROUTE_OPTIONS,   /* the path exists and OPTIONS was asked: `allow` is the answer */
    PD_ROUTE_NO_METHOD, /* the path exists, `allow` lists its methods */
    PD_ROUTE_NO_PATH,
};

/* Look a request up in a table that ends with a NULL path. HEAD is answered by
 * GET's route. *ret_route is set when found; `allow` ("GET, HEAD, OPTIONS")
 * whenever the path exists. */
enum pd_route_match pd_route_find(const struct pd_route *table, enum pd_method method,
                                  const char *path, const struct pd_route **ret_route,
                                  char allow[static PD_ALLOW_BYTES]);

#endif
