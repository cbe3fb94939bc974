/* Theory of operation.
 *
 * libwslay does no I/O: it asks for bytes and is given what has just been read,
 * and hands out bytes, which are collected and sent in one piece. It is told that
 * sending would block when enough is waiting, and asked again when there is room.
 *
 * Whoever closes: the owner is told first, or has told; from then on the socket
 * belongs to nobody and goes on by itself until its goodbye is sent. The exchange
 * then lingers for the peer's own close frame, and for no longer than that. */
#include "api/websocket.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <wslay/wslay.h>

#include "api/base64.h"
#include "api/head.h"
#include "common/log.h"
#include "common/mem.h"

#define KEY_BYTES 24 /* base64 of 16 */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define PROTOCOLS_BYTES 256
#define COLLECT_BYTES (64u * 1024)    /* sent at once */
#define WHOLE_BYTES_MAX (256u * 1024) /* a longer message goes in fragments */

struct pd_websocket {
    struct pd_exchange *exchange;
    wslay_event_context_ptr context;
    const struct pd_websocket_events *events; /* NULL: nobody owns it any more */
    void *arg;
    struct pd_websocket_budget *budget;
    size_t partial_bytes;
    const uint8_t *data; /* just read, and not used yet */
    size_t data_len;
    struct pd_buf out;           /* collected, in a call of libwslay's */
    struct pd_entry *long_entry; /* on its way in fragments */
    size_t long_at;
    bool no_room;
    bool heard;
    uint16_t close_code; /* to be closed with, once all that is queued has been sent; 0: no */
    char close_reason[PD_WEBSOCKET_CLOSE_REASON_MAX + 1];
    bool busy; /* libwslay is on the stack */
    bool over; /* the exchange has ended, or is gone */
    bool over_budget;
};

/* ---- life ---- */

static void socket_free(struct pd_websocket *socket)
{
    if (socket->busy)
        return; /* when libwslay returns */
    socket->budget->partial_bytes -= socket->partial_bytes;
    wslay_event_context_free(socket->context);
    pd_entry_unref(socket->long_entry);
    pd_buf_fini(&socket->out);
    free(socket);
}

static void tell_gone(struct pd_websocket *socket)
{
    const struct pd_websocket_events *events = socket->events;

    socket->events = NULL;
    if (events)
        events->gone(socket->arg);
}

/* All is said: shut down, and wait for the peer's end. */
static void end(struct pd_websocket *socket)
{
    socket->over = true;
    pd_exchange_end(socket->exchange);
    tell_gone(socket);
    socket_free(socket);
}

/* ---- sending ---- */

static ssize_t on_send(wslay_event_context_ptr context, const uint8_t *data, size_t len, int flags,
                       void *arg)
{
    struct pd_websocket *socket = arg;

    (void)flags;
    if (socket->no_room || socket->out.len > COLLECT_BYTES) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (pd_buf_add(&socket->out, data, len, NULL) < 0) {
        wslay_event_set_error(context, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    return (ssize_t)len;
}

static void flush(struct pd_websocket *socket)
{
    if (socket->out.len > 0 &&
        !pd_exchange_send(socket->exchange, socket->out.data, socket->out.len))
        socket->no_room = true;
    pd_buf_fini(&socket->out);
}

/* libwslay sends a close frame before all that waits: so it is given one at the end only. */
static void queue_goodbye(struct pd_websocket *socket)
{
    if (!socket->close_code || wslay_event_get_queued_msg_count(socket->context) > 0)
        return;
    wslay_event_queue_close(socket->context, socket->close_code,
                            (const uint8_t *)socket->close_reason, strlen(socket->close_reason));
    socket->close_code = 0;
}

/* Send what there is, as far as there is room. Returns false when the socket is gone. */
static bool push(struct pd_websocket *socket)
{
    bool was_busy = socket->busy;
    int rc = 0;

    if (was_busy)
        return true; /* whoever is at it goes on with this, too */
    socket->busy = true;
    queue_goodbye(socket);
    while (rc == 0 && !socket->no_room && wslay_event_want_write(socket->context)) {
        rc = wslay_event_send(socket->context);
        flush(socket);
        queue_goodbye(socket);
    }
    socket->busy = false;
    if (rc == 0 && wslay_event_get_close_sent(socket->context)) {
        end(socket);
        return false;
    }
    return true;
}

static void on_writable(void *arg)
{
    struct pd_websocket *socket = arg;

    socket->no_room = false;
    if (push(socket) && !socket->no_room && !socket->long_entry && socket->events)
        socket->events->room(socket->arg);
}

static ssize_t read_long(wslay_event_context_ptr context, uint8_t *buf, size_t len,
                         const union wslay_event_msg_source *source, int *eof, void *arg)
{
    struct pd_websocket *socket = arg;
    struct pd_entry *entry = socket->long_entry;
    size_t left = entry->len - socket->long_at;
    size_t piece = left < len ? left : len;

    (void)context;
    (void)source;
    memcpy(buf, entry->json + socket->long_at, piece);
    socket->long_at += piece;
    *eof = piece == left;
    if (*eof)
        pd_entry_unref(PD_STEAL(socket->long_entry));
    return (ssize_t)piece;
}

bool pd_websocket_send(struct pd_websocket *socket, struct pd_entry *entry)
{
    const struct wslay_event_msg whole = {
        .opcode = WSLAY_TEXT_FRAME,
        .msg = (const uint8_t *)entry->json,
        .msg_length = entry->len,
    };
    const struct wslay_event_fragmented_msg pieces = {
        .opcode = WSLAY_TEXT_FRAME,
        .read_callback = read_long,
    };

    assert(!socket->long_entry);
    if (entry->len <= WHOLE_BYTES_MAX) {
        wslay_event_queue_msg(socket->context, &whole);
    } else {
        pd_entry_ref(entry);
        socket->long_entry = entry;
        socket->long_at = 0;
        wslay_event_queue_fragmented_msg(socket->context, &pieces);
    }
    push(socket); /* it can only be gone after a close, and there was none */
    return !socket->no_room && !socket->long_entry;
}

void pd_websocket_send_text(struct pd_websocket *socket, const char *text)
{
    const struct wslay_event_msg message = {
        .opcode = WSLAY_TEXT_FRAME,
        .msg = (const uint8_t *)text,
        .msg_length = strlen(text),
    };

    wslay_event_queue_msg(socket->context, &message);
    push(socket);
}

void pd_websocket_ping(struct pd_websocket *socket)
{
    const struct wslay_event_msg ping = {.opcode = WSLAY_PING};

    wslay_event_queue_msg(socket->context, &ping);
    push(socket);
}

/* ---- receiving ---- */

static ssize_t on_recv(wslay_event_context_ptr context, uint8_t *buf, size_t len, int flags,
                       void *arg)
{
    struct pd_websocket *socket = arg;
    size_t piece = socket->data_len < len ? socket->data_len : len;

    (void)flags;
    if (piece == 0) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, socket->data, piece);
    socket->data += piece;
    socket->data_len -= piece;
    return (ssize_t)piece;
}

static void on_chunk(wslay_event_context_ptr context,
                     const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *arg)
{
    struct pd_websocket *socket = arg;

    socket->partial_bytes += chunk->data_length;
    socket->budget->partial_bytes += chunk->data_length;
    if (socket->budget->partial_bytes <= PD_WEBSOCKETS_PARTIAL_BYTES_MAX || socket->over_budget)
        return;
    socket->over_budget = true;
    wslay_event_shutdown_read(context);
    wslay_event_queue_close(context, PD_CLOSE_TRY_LATER, (const uint8_t *)"busy", 4);
}

static void on_message(wslay_event_context_ptr context,
                       const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
    static const char binary[] = "messages are text";
    struct pd_websocket *socket = arg;

    socket->budget->partial_bytes -= socket->partial_bytes;
    socket->partial_bytes = 0;
    if (wslay_is_ctrl_frame(message->opcode))
        return; /* answered by libwslay */
    if (message->opcode == WSLAY_BINARY_FRAME) {
        wslay_event_queue_close(context, PD_CLOSE_UNSUPPORTED, (const uint8_t *)binary,
                                sizeof binary - 1);
        return;
    }
    if (socket->events && !wslay_event_get_close_received(context))
        socket->events->message(socket->arg, (const char *)message->msg, message->msg_length);
}

static void on_data(void *arg, struct pd_exchange *exchange, const void *data, size_t len)
{
    struct pd_websocket *socket = arg;
    int rc;

    (void)exchange;
    socket->heard = true;
    socket->data = data;
    socket->data_len = len;
    socket->busy = true;
    rc = wslay_event_recv(socket->context);
    socket->busy = false;
    socket->data = NULL;
    socket->data_len = 0;
    if (socket->over) {
        socket_free(socket);
        return;
    }
    if (rc < 0 && rc != WSLAY_ERR_CALLBACK_FAILURE)
        pd_log(PD_LOG_DEBUG, "websocket", "bytes that are no frames", NULL);
    if (!push(socket))
        return;
    if (rc < 0 ||
        (!wslay_event_want_read(socket->context) && !wslay_event_want_write(socket->context)))
        end(socket);
}

static void on_gone(void *arg)
{
    struct pd_websocket *socket = arg;

    socket->over = true;
    tell_gone(socket);
    socket_free(socket);
}

static const struct pd_raw_events raw_events = {.data = on_data, .gone = on_gone};

bool pd_websocket_was_heard(struct pd_websocket *socket)
{
    bool heard = socket->heard;

    socket->heard = false;
    return heard;
}

void pd_websocket_pause(struct pd_websocket *socket, bool paused)
{
    pd_exchange_pause(socket->exchange, paused);
}

void pd_websocket_set_message_max(struct pd_websocket *socket, size_t bytes)
{
    wslay_event_config_set_max_recv_msg_length(socket->context, bytes);
}

struct pd_exchange *pd_websocket_exchange(struct pd_websocket *socket)
{
    return socket->exchange;
}

/* ---- closing ---- */

void pd_websocket_close(struct pd_websocket *socket, enum pd_close_code code, const char *reason)
{
    socket->events = NULL;
    socket->close_code = (uint16_t)code;
    pd_strcpy(socket->close_reason, sizeof socket->close_reason, reason);
    wslay_event_shutdown_read(socket->context);
    push(socket);
}

void pd_websocket_abort(struct pd_websocket *socket)
{
    socket->events = NULL;
    socket->over = true;
    pd_exchange_abort(socket->exchange);
    socket_free(socket);
}

/* ---- the handshake (section 4.2) ---- */

static void accept_of(const char *key, char out[static 32])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    pd_autofree char *text = pd_asprintf("%s" GUID, key);
    pd_autobuf struct pd_buf encoded;

    pd_buf_init(&encoded, 32);
    if (EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL) != 1 ||
        pd_base64_encode(digest, len, &encoded, NULL) < 0)
        abort();
    pd_strcpy(out, 32, encoded.data);
}

static bool is_key(const char *key)
{
    uint8_t bytes[KEY_BYTES];
    size_t len;

    return strlen(key) == KEY_BYTES && pd_base64_decode(key, KEY_BYTES, bytes, &len) == 0 &&
           len == 16;
}

static bool lists(const char *list, const char *name)
{
    const struct pd_header header = {.value = list, .value_len = strlen(list)};

    return pd_header_has_token(&header, name);
}

static void refuse(struct pd_exchange *exchange, int status, const char *detail)
{
    const struct pd_problem_details details = {
        .status = status,
        .detail = detail,
        .request_id = pd_exchange_trace(exchange)->request_id,
    };
    struct pd_buf body;

    pd_buf_init(&body, PD_PROBLEM_BYTES_MAX);
    if (pd_problem_details_format(&details, &body, NULL) < 0)
        pd_buf_clear(&body);
    pd_exchange_reply(exchange, status, PD_PROBLEM_CONTENT_TYPE,
                      status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" : NULL,
                      &body);
}

static struct pd_websocket *socket_new(struct pd_exchange *exchange, size_t message_bytes_max,
                                       struct pd_websocket_budget *budget,
                                       const struct pd_websocket_events *events, void *arg)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .on_frame_recv_chunk_callback = on_chunk,
        .on_msg_recv_callback = on_message,
    };
    struct pd_websocket *socket = PD_NEW(struct pd_websocket);

    socket->exchange = exchange;
    socket->budget = budget;
    socket->events = events;
    socket->arg = arg;
    pd_buf_init(&socket->out, PD_SEND_PIECE_MAX);
    if (wslay_event_context_server_init(&socket->context, &callbacks, socket) < 0)
        abort(); /* out of memory */
    pd_websocket_set_message_max(socket, message_bytes_max);
    return socket;
}

bool pd_websocket_read_offer(struct pd_exchange *exchange, const char *protocol,
                             struct pd_websocket_offer *ret_offer)
{
    char key[KEY_BYTES + 1];
    char version[8];
    char protocols[PROTOCOLS_BYTES];
    char accept[32];
    bool has_protocols =
        pd_exchange_header(exchange, "sec-websocket-protocol", protocols, sizeof protocols);

    if (!pd_exchange_asks_upgrade(exchange, "websocket") ||
        !pd_exchange_header(exchange, "sec-websocket-version", version, sizeof version) ||
        strcmp(version, "13") != 0) {
        refuse(exchange, 426, "this resource speaks WebSocket, version 13");
        return false;
    }
    if (!pd_exchange_header(exchange, "sec-websocket-key", key, sizeof key) || !is_key(key)) {
        refuse(exchange, 400, "the Sec-WebSocket-Key is none");
        return false;
    }
    if (has_protocols && !lists(protocols, protocol)) {
        refuse(exchange, 400, "of subprotocols, paddock.v1 is spoken here");
        return false;
    }
    accept_of(key, accept);
    snprintf(ret_offer->headers, sizeof ret_offer->headers,
             "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n%s%s%s", accept,
             has_protocols ? "Sec-WebSocket-Protocol: " : "", has_protocols ? protocol : "",
             has_protocols ? "\r\n" : "");
    return true;
}

struct pd_websocket *pd_websocket_accept(struct pd_exchange *exchange,
                                         const struct pd_websocket_offer *offer,
                                         size_t message_bytes_max,
                                         struct pd_websocket_budget *budget,
                                         const struct pd_websocket_events *events, void *arg)
{
    struct pd_websocket *socket;

    if (pd_exchange_has_more(exchange)) {
        refuse(exchange, 400, "the upgrade was not waited for");
        return NULL;
    }
    socket = socket_new(exchange, message_bytes_max, budget, events, arg);
    pd_exchange_upgrade(exchange, offer->headers, &raw_events, socket);
    pd_exchange_on_writable(exchange, on_writable, socket);
    return socket;
}
