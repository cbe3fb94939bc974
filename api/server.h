/* HTTP/1.1 connections (RFC 9112) on the shared loop.
 *
 * An exchange is one request and its answer. When its head has arrived,
 * `on_request` is called and either replies, or asks for the body, or replies
 * later. Every exchange is replied to exactly once, unless its client hangs up
 * first (`gone`). A client that shuts down its sending side while an answer is
 * due counts as hung up: over TCP the two look alike. */
#ifndef PD_API_SERVER_H
#define PD_API_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "api/problem.h"
#include "api/route.h"
#include "api/trace.h"
#include "common/buf.h"
#include "common/err.h"

/* What a connection may cost. All durations in milliseconds. */
struct pd_server_limits {
    int connections_max;   /* one more takes the place of the one that is idle longest */
    size_t bodies_bytes;   /* of all bodies that are on their way; then 503 */
    int64_t head_ms;       /* from accept, or a head's first byte, to its end */
    int64_t idle_ms;       /* between requests */
    int64_t body_idle_ms;  /* between two pieces of a body: then 408 */
    int64_t body_total_ms; /* for a whole body: then 408 */
    int64_t write_ms;      /* without progress in sending an answer */
    int64_t linger_ms;     /* for the peer to read our last answer */
};
extern const struct pd_server_limits pd_server_limits_default;

struct pd_server;
struct pd_exchange;

struct pd_server_config {
    uv_loop_t *loop;
    const char *address;                   /* numeric */
    int port;                              /* 0: any free one */
    const struct pd_server_limits *limits; /* copied */
    void (*on_request)(void *arg, struct pd_exchange *exchange);
    /* The head of an answer is about to be sent; may be NULL. */
    void (*on_answer)(void *arg, const struct pd_exchange *exchange, int status);
    void *arg;
};

/* See pd_listener_open for the errors. */
int pd_server_open(const struct pd_server_config *config, struct pd_server **ret_server,
                   struct pd_err *err);
int pd_server_port(const struct pd_server *server);
/* A client who came in by another door: a non-blocking stream socket, taken over. */
void pd_server_adopt(struct pd_server *server, int fd);
size_t pd_server_connections(const struct pd_server *server);
/* How many answers are still on their way out. */
size_t pd_server_writing(const struct pd_server *server);
/* Tells every begun and upgraded exchange that asked (pd_exchange_on_drain). */
void pd_server_drain(struct pd_server *server);
/* Begun and upgraded exchanges that have not ended. */
size_t pd_server_streaming(const struct pd_server *server);
/* Hangs up on everybody (`gone` fires where an answer was due); `closed` fires
 * once from the loop; NULL: nobody asks. */
void pd_server_close(struct pd_server *server, void (*closed)(void *arg), void *arg);

/* ---- the request ---- */

enum pd_method pd_exchange_method(const struct pd_exchange *exchange);
const char *pd_exchange_path(const struct pd_exchange *exchange); /* decoded, without the query */
const struct pd_trace *pd_exchange_trace(const struct pd_exchange *exchange);
/* Copy a header's value, by its name in any case; false when it is absent, there
 * more than once, or longer than fits. Only until on_request returns. */
bool pd_exchange_header(const struct pd_exchange *exchange, const char *name, char *out,
                        size_t out_bytes);
/* Whether it is there at all, however often and long. Only until on_request returns. */
bool pd_exchange_has_header(const struct pd_exchange *exchange, const char *name);
/* Likewise the first parameter of this name in the query, decoded. */
bool pd_exchange_query(const struct pd_exchange *exchange, const char *name, char *out,
                       size_t out_bytes);
/* Whether the client asks to go on in this protocol (RFC 9110, section 7.8; "websocket"),
 * with a GET without a body. Only until on_request returns. */
bool pd_exchange_asks_upgrade(const struct pd_exchange *exchange, const char *protocol);

/* How the peer reaches us: by a loopback address, from elsewhere, or by TLS, which a
 * listener of ours has ended (tls_listener.h; its bytes come over a socket pair). */
enum pd_way { PD_WAY_LOOPBACK, PD_WAY_NETWORK, PD_WAY_TLS };
enum pd_way pd_exchange_way(const struct pd_exchange *exchange);
/* Its address: IPv6, or IPv4 mapped; zeroes where it has none of its own (PD_WAY_TLS). */
void pd_exchange_peer(const struct pd_exchange *exchange, unsigned char ret_address[static 16]);

/* Whose request it is: set once it is known, borrowed for the server's life. */
void pd_exchange_set_key_id(struct pd_exchange *exchange, const char *key_id);
const char *pd_exchange_key_id(const struct pd_exchange *exchange);
/* Which route it took, for figures and logs: static; NULL until it is known. */
void pd_exchange_set_route(struct pd_exchange *exchange, const char *route);
const char *pd_exchange_route(const struct pd_exchange *exchange);
/* Since its head had arrived. */
int64_t pd_exchange_age_us(const struct pd_exchange *exchange);

/* What a handler keeps about a request until its body has come: released (once)
 * when the exchange ends, however it does. */
void pd_exchange_set_note(struct pd_exchange *exchange, void *note, void (*release)(void *note));
void *pd_exchange_note(const struct pd_exchange *exchange); /* NULL: none */

/* Header lines, each ended by CRLF, that go with whatever is answered (copied; all
 * together PD_MORE_HEADERS_BYTES_MAX at most). */
#define PD_MORE_HEADERS_BYTES_MAX 512
void pd_exchange_add_headers(struct pd_exchange *exchange, const char *lines);

/* ---- what a handler may do ---- */

/* Ask for the body, from on_request: `ready` fires once with all of it
 * (borrowed for the call), never before this returns. A longer one is
 * answered 413, one that does not come 408, without the handler; nor does it
 * hear of a client that hangs up before its body is complete. */
void pd_exchange_want_body(struct pd_exchange *exchange, size_t max_bytes,
                           void (*ready)(void *arg, struct pd_exchange *exchange, const char *body,
                                         size_t len),
                           void *arg);

/* Who is told when the client hangs up before the reply; the exchange is gone
 * then. Must be set before control returns to the loop without a reply. */
void pd_exchange_on_gone(struct pd_exchange *exchange, void (*gone)(void *arg), void *arg);

/* From on_request: not now. The request is as if it had not come yet, until go_on, which is
 * called from the loop: then on_request is called with it again. `gone` as above. */
void pd_exchange_put_off(struct pd_exchange *exchange, void (*gone)(void *arg), void *arg);
void pd_exchange_go_on(struct pd_exchange *exchange);

/* Reply. `body` is taken over (emptied); it may be NULL. `headers`: further
 * header lines, each ended by CRLF, or NULL. The exchange is not the handler's
 * any more. */
void pd_exchange_reply(struct pd_exchange *exchange, int status, const char *content_type,
                       const char *headers, struct pd_buf *body);
/* Likewise with problem details; request_id is filled in. */
void pd_exchange_problem(struct pd_exchange *exchange, const struct pd_problem_details *details);

/* ---- answers that come piece by piece (flow.c) ----
 *
 * Between begin and end the exchange stays the handler's. `gone` tells of a
 * client that hung up, that takes nothing for write_ms, or that is lost (nothing
 * was acknowledged for as long); it fires from the loop, never from one of these
 * calls. What the client sends ahead is kept for afterwards. */

#define PD_SEND_HIGH_BYTES (64u * 1024)  /* unsent: then the handler should wait */
#define PD_SEND_BYTES_MAX (1024u * 1024) /* unsent: more, and the client is hung up on */
#define PD_SEND_PIECE_MAX (PD_SEND_BYTES_MAX - PD_SEND_HIGH_BYTES) /* always taken after `true` */

/* Begin an answer whose length is not known: in chunks (RFC 9112, section 7.1), to
 * HTTP/1.0 ended by closing. `headers` as with pd_exchange_reply. `gone` must have
 * been set, or be set before control returns to the loop. */
void pd_exchange_begin(struct pd_exchange *exchange, int status, const char *content_type,
                       const char *headers);
/* Send a piece (copied as far as the socket does not take it at once). Pieces that
 * go together should be one: each is a write(2). False: enough is waiting; send
 * no more until `writable`. */
bool pd_exchange_send(struct pd_exchange *exchange, const void *data, size_t len);
/* `cb` fires from the loop, once after each pd_exchange_send that returned false, when
 * all that waited is with the kernel. */
void pd_exchange_on_writable(struct pd_exchange *exchange, void (*cb)(void *arg), void *arg);
/* Bytes that were sent by the handler, and not by the kernel's word. */
size_t pd_exchange_unsent(const struct pd_exchange *exchange);
/* That was all: the exchange is not the handler's any more. */
void pd_exchange_end(struct pd_exchange *exchange);
/* Hang up in the middle, so that the client can tell that more was to come. Not the
 * handler's any more; `gone` does not fire. */
void pd_exchange_abort(struct pd_exchange *exchange);
/* When the server is drained (pd_server_drain), `drain` is told once; the handler
 * then comes to an end of its own. For begun and upgraded exchanges. */
void pd_exchange_on_drain(struct pd_exchange *exchange, void (*drain)(void *arg), void *arg);

/* ---- connections that are handed over ---- */

/* What arrives: `data` is borrowed for the call, which may end or abort the exchange. */
struct pd_raw_events {
    void (*data)(void *arg, struct pd_exchange *exchange, const void *data, size_t len);
    void (*gone)(void *arg); /* the peer hung up, or was hung up on; takes on_gone's place */
};

/* Only where pd_exchange_asks_upgrade; from on_request, or later, and then not where
 * pd_exchange_has_more: answer 101 with `headers` (the Upgrade header among them;
 * Connection is added) and hand the bytes over, both ways. `data` never fires before this returns. pd_exchange_send, _on_writable, _unsent,
 * _on_drain and _abort work as above, bytes being sent as they are; _end shuts down the
 * sending side once all is sent, and throws away what still comes, for linger_ms. */
void pd_exchange_upgrade(struct pd_exchange *exchange, const char *headers,
                         const struct pd_raw_events *events, void *arg);
/* Whether a client has sent ahead, after on_request has returned, what comes after its request. */
bool pd_exchange_has_more(const struct pd_exchange *exchange);
/* Read no more for a while (backpressure), or go on. */
void pd_exchange_pause(struct pd_exchange *exchange, bool paused);

#endif
