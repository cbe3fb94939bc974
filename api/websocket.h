/* WebSocket (RFC 6455), the server's side, over an exchange (api/server.h).
 * Framing is libwslay's: masks, fragments, UTF-8, pings and closes. No
 * extensions, so no compression. */
#ifndef PD_API_WEBSOCKET_H
#define PD_API_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/journal.h"
#include "api/server.h"

#define PD_WEBSOCKET_CLOSE_REASON_MAX 123 /* section 5.5 */

/* Of messages that have not arrived whole, together. */
#define PD_WEBSOCKETS_PARTIAL_BYTES_MAX (256u * 1024 * 1024)
struct pd_websocket_budget {
    size_t partial_bytes;
};

/* Status codes (section 7.4) that we close with ourselves. */
enum pd_close_code {
    PD_CLOSE_NORMAL = 1000,
    PD_CLOSE_GOING_AWAY = 1001,
    PD_CLOSE_UNSUPPORTED = 1003, /* a binary message */
    PD_CLOSE_INVALID = 1007,     /* no JSON, no UTF-8 */
    PD_CLOSE_POLICY = 1008,      /* a frame that may not come, or not now */
    PD_CLOSE_TOO_BIG = 1009,
    PD_CLOSE_INTERNAL = 1011,
    PD_CLOSE_TRY_LATER = 1013,
    PD_CLOSE_NEVER_BEGAN = 4000, /* the run was refused or failed: `error` has said why */
    PD_CLOSE_IDLE = 4001,
    PD_CLOSE_LIFE = 4002,
    PD_CLOSE_ELSEWHERE = 4003, /* how it ends is seen elsewhere, or by asking again */
};

struct pd_websocket;

struct pd_websocket_events {
    /* A whole text message; borrowed for the call, which may close the socket. */
    void (*message)(void *arg, const char *text, size_t len);
    void (*room)(void *arg); /* after pd_websocket_send returned false */
    void (*gone)(void *arg); /* the peer closed, broke the protocol, or hung up; not after
                                pd_websocket_close */
};

/* What a client offered in its handshake, and was found good: what 101 says to it. */
#define PD_WEBSOCKET_HEADERS_BYTES 256
struct pd_websocket_offer {
    char headers[PD_WEBSOCKET_HEADERS_BYTES];
};
/* From on_request: read the handshake. False: the exchange is answered with what is wrong
 * (400, 426). protocol: the one that is spoken; a client that names others only is refused. */
bool pd_websocket_read_offer(struct pd_exchange *exchange, const char *protocol,
                             struct pd_websocket_offer *ret_offer);
/* Answers 101 and hands the connection over; from on_request, or later. NULL: the client did
 * not wait for that answer (RFC 6455, section 4.1), and is answered 400; never from
 * on_request. `events` is static, `budget` outlives the socket. */
struct pd_websocket *pd_websocket_accept(struct pd_exchange *exchange,
                                         const struct pd_websocket_offer *offer,
                                         size_t message_bytes_max,
                                         struct pd_websocket_budget *budget,
                                         const struct pd_websocket_events *events, void *arg);
/* From the next message on. */
void pd_websocket_set_message_max(struct pd_websocket *socket, size_t bytes);
struct pd_exchange *pd_websocket_exchange(struct pd_websocket *socket);

/* Send an entry's JSON as a text message; takes a reference of its own. A long one goes
 * in fragments, as the peer reads. False: wait for `room` before the next. */
bool pd_websocket_send(struct pd_websocket *socket, struct pd_entry *entry);
/* A short text of our own, besides. Not more of them than the peer asks for. */
void pd_websocket_send_text(struct pd_websocket *socket, const char *text);
void pd_websocket_ping(struct pd_websocket *socket);
/* Whether anything came from the peer since this was last asked. */
bool pd_websocket_was_heard(struct pd_websocket *socket);
void pd_websocket_pause(struct pd_websocket *socket, bool paused);

/* Say goodbye, once what was sent before has gone out, and forget the socket. */
void pd_websocket_close(struct pd_websocket *socket, enum pd_close_code code, const char *reason);
/* Hang up, and forget it. */
void pd_websocket_abort(struct pd_websocket *socket);

#endif
