/* Viewers: clients that are sent an execution's events as they come, by WebSocket
 * (paddock.v1) or by server-sent events, and heartbeats while there are none.
 *
 * A viewer pulls from the journal as fast as its client reads, holds one event at
 * most of its own, and is hung up on when the client is lost or has been idle, or
 * there, for too long. */
#ifndef PD_API_VIEWER_H
#define PD_API_VIEWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "api/execution.h"
#include "api/server.h"
#include "api/websocket.h"

/* How long clients may be quiet, or there at all. Looked at with each beat. */
struct pd_viewer_limits {
    int64_t beat_ms; /* from one ping, or comment, to the next; unanswered by then: it is lost */
    int64_t idle_ms; /* a socket that asks for no run */
    int64_t life_ms; /* then it must come again */
};
extern const struct pd_viewer_limits pd_viewer_limits_default;

#define PD_RUN_FRAME_BYTES_MAX (16u * 1024 * 1024)

struct pd_api_context;
struct pd_viewers;

/* `limits` are copied. */
struct pd_viewers *pd_viewers_new(uv_loop_t *loop, struct pd_api_context *api,
                                  const struct pd_viewer_limits *limits);
/* After the server is closed, and with it every viewer. `closed` fires from the loop. */
void pd_viewers_close(struct pd_viewers *viewers, void (*closed)(void *arg), void *arg);
size_t pd_viewers_count(const struct pd_viewers *viewers);

/* From on_request: a WebSocket on which the client may start one run of its own. */
void pd_viewer_await_run(struct pd_viewers *viewers, struct pd_exchange *exchange);
/* From on_request: what is offered by a client that asks for a WebSocket (see
 * pd_websocket_read_offer). */
bool pd_viewer_read_offer(struct pd_exchange *exchange, struct pd_websocket_offer *ret_offer);
/* An onlooker, by WebSocket with the offer, else (NULL) by SSE; from on_request, or later. */
void pd_viewer_watch(struct pd_viewers *viewers, struct pd_exchange *exchange,
                     const struct pd_websocket_offer *offer, struct pd_execution *execution,
                     uint64_t from_seq);
/* Answer a request with the events of its own run (SSE): the owner. */
void pd_viewer_own(struct pd_viewers *viewers, struct pd_exchange *exchange,
                   struct pd_execution *execution);

#endif
