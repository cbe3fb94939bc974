/* One client's connection, and the exchange that it carries: between server.c,
 * which has all of them, conn.c, which reads, and exchange.c, which answers. */
#ifndef PD_API_CONN_H
#define PD_API_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <uv.h>

#include "api/chunks.h"
#include "api/deadline.h"
#include "api/head.h"
#include "api/server.h"
#include "common/time.h"

#define PD_READ_BYTES (64u * 1024)

enum pd_conn_clock {
    PD_CLOCK_HEAD,   /* a head is on its way */
    PD_CLOCK_IDLE,   /* the next request is awaited */
    PD_CLOCK_BODY,   /* the next piece of a body is */
    PD_CLOCK_WRITE,  /* the peer takes its answer, or not */
    PD_CLOCK_LINGER, /* it has all of it */
    PD_CLOCK_PAUSED, /* a look at a peer that is not read from */
    PD_CLOCKS,
};

enum pd_conn_state {
    PD_CONN_HEAD,      /* a head is awaited */
    PD_CONN_BODY,      /* a body is awaited */
    PD_CONN_RUNNING,   /* the handler has the exchange */
    PD_CONN_STREAMING, /* the handler has it, and answers piece by piece */
    PD_CONN_RAW,       /* the handler has it, and all that comes */
    PD_CONN_WRITING,   /* the answer does not fit the socket at once */
    PD_CONN_LINGERING, /* answered and shut for writing; what still comes is thrown away */
    PD_CONN_CLOSING,
};

struct pd_exchange {
    uv_tcp_t tcp;
    struct pd_server *server;
    struct pd_exchange *next, *prev; /* in the server's list */
    enum pd_conn_state state;
    struct pd_deadline deadline;
    struct pd_buf in; /* received and not used yet: the beginning of a head, or what a
                         client sends ahead of its turn */
    size_t head_from; /* where to look on for the head's end */
    bool processing;  /* process() is on the stack */
    bool paused;      /* not read from: too much came ahead of its turn */
    bool replied;
    bool put_off; /* its head is still in `in` */
    bool keep_alive;

    /* the request */
    const struct pd_head *head; /* while on_request runs */
    enum pd_method method;
    bool http10;
    bool expects; /* waits for "100 Continue" before it sends its body */
    bool chunked;
    uint64_t body_left; /* of a body with a length */
    uint64_t body_since_ms;
    struct pd_chunks chunks;
    struct pd_buf body;
    char *path;
    struct pd_trace trace;
    const char *key_id;
    char *more_headers; /* NULL: none */
    void *note; /* the handler's own */
    void (*release_note)(void *note);
    const char *route;    /* for figures and logs */
    struct pd_time begun; /* its head had arrived */
    void (*ready)(void *arg, struct pd_exchange *exchange, const char *body, size_t len);
    void *ready_arg;
    void (*gone)(void *arg);
    void *gone_arg;

    /* the answer, while it does not fit */
    uv_write_t write;
    char *reply_head;
    struct pd_buf reply;
    size_t queued;        /* bytes that were still waiting at the last look */
    uint64_t sent;        /* likewise, of a flow: bytes that had been sent */
    bool broken;          /* sending failed; shut down, and about to be closed */
    bool lingers;         /* after the answer, whatever the client still sends is thrown away */
    struct pd_flow *flow; /* of an answer piece by piece, or a connection handed over */
};

struct pd_listener;

struct pd_server {
    uv_loop_t *loop;
    struct pd_server_limits limits;
    struct pd_listener *listener;
    struct pd_deadlines deadlines;
    struct pd_exchange *conns; /* all of them */
    size_t n_conns;
    size_t n_open; /* of those, not closing */
    size_t n_writing;
    size_t n_streaming;
    size_t conns_max;
    size_t bodies_bytes; /* held by bodies that are not complete yet */
    void (*on_request)(void *arg, struct pd_exchange *exchange);
    void (*on_answer)(void *arg, const struct pd_exchange *exchange, int status);
    void *arg;
    time_t date_of;
    char date[40];
    bool closing;
    unsigned open_parts; /* listener, deadlines */
    void (*closed)(void *arg);
    void *closed_arg;
    char scratch[PD_READ_BYTES]; /* what was just read, from whomever */
};

/* Takes the descriptor over and begins to read. */
void pd_conn_open(struct pd_server *server, int fd);
/* Hang up; `gone` fires where an answer is due. Idempotent. */
void pd_conn_close(struct pd_exchange *conn);
void pd_conn_on_deadline(struct pd_exchange *conn, enum pd_conn_clock clock);

/* What the handler kept is not wanted any more. */
void pd_conn_drop_note(struct pd_exchange *conn);

/* The answer is with the kernel: on to the next request, or the end. */
void pd_conn_finish(struct pd_exchange *conn);
void pd_conn_set_clock(struct pd_exchange *conn, enum pd_conn_clock clock);
/* Whether more of the request's body is to come. */
bool pd_conn_is_body_unread(const struct pd_exchange *conn);

int pd_conn_fd(const struct pd_exchange *conn);
/* Stop reading, or go on; a peer that is not read from is looked at now and then. */
void pd_conn_pause(struct pd_exchange *conn);
void pd_conn_resume(struct pd_exchange *conn);

/* flow.c */
void pd_flow_free(struct pd_flow *flow); /* NULL is fine */
void pd_flow_on_data(struct pd_exchange *conn, const char *data, size_t len);
void pd_flow_drain(struct pd_exchange *conn);
/* Bytes that the kernel has taken so far. */
uint64_t pd_flow_sent(const struct pd_exchange *conn);

/* exchange.c: an answer's head, with these lines for its body's framing. */
#define PD_REPLY_HEAD_BYTES 2048
size_t pd_exchange_format_head(struct pd_exchange *conn, int status, const char *content_type,
                               const char *framing, const char *headers,
                               char out[static PD_REPLY_HEAD_BYTES]);
/* exchange.c: whether the connection can go on after this answer. */
void pd_exchange_decide_keep_alive(struct pd_exchange *conn);
/* exchange.c: a problem that ends the connection, too. */
void pd_exchange_refuse(struct pd_exchange *conn, int status, const char *detail);

/* server.c: a connection's memory is about to go. */
void pd_server_forget(struct pd_server *server, struct pd_exchange *conn);

#endif
