/* A server (api/server.h) on the test's own loop, and plain clients of it: the loop turns while
 * they wait, for SERVER_RIG_WAIT_MS at most. */
#ifndef PD_TESTS_LIB_SERVER_RIG_H
#define PD_TESTS_LIB_SERVER_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "api/server.h"

#define SERVER_RIG_WAIT_MS 5000
#define SERVER_RIG_TEXT_BYTES 4096

struct server_rig {
    uv_loop_t loop;
    struct pd_server *server; /* NULL: the test has closed it, by server_rig_on_closed */
    int requests;             /* for the test to count */
    int gone;                 /* likewise: what server_rig_on_gone told */
    bool closed;
};

/* On a free port of 127.0.0.1. `limits` and `arg` outlive the rig. */
void server_rig_open(struct server_rig *rig, const struct pd_server_limits *limits,
                     void (*on_request)(void *arg, struct pd_exchange *exchange), void *arg);
void server_rig_close(struct server_rig *rig);
/* Callbacks, with the rig as `arg`. */
void server_rig_on_closed(void *arg);
void server_rig_on_gone(void *arg);

/* Connect; the server has taken it in, or refused it. The caller closes. */
int server_rig_dial(struct server_rig *rig);
/* Send all of it, which must fit into the socket. */
void server_rig_ask(int fd, const char *text);
/* Read until `until` has come; "" stands for the end. Returns `out`: what came. */
const char *server_rig_hear(struct server_rig *rig, int fd, const char *until,
                            char out[static SERVER_RIG_TEXT_BYTES]);
/* Until something has been counted so often. */
void server_rig_await(struct server_rig *rig, const int *count, int wanted);

#endif
