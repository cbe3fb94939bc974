/* An attach and the stream that comes of it: what docker_attach.c (from resolving
 * to the answer's head) and docker_stream.c (bytes, TLS, closing) share. */
#ifndef PD_CONTROLLER_DOCKER_ATTACH_STATE_H
#define PD_CONTROLLER_DOCKER_ATTACH_STATE_H

#include "common/buf.h"
#include "common/time.h"
#include "common/tls.h"
#include "controller/docker_http.h"
#include "controller/docker_mux.h"
#include "controller/docker_stream.h"

#define PD_ATTACH_READ_BYTES                                                                       \
    (32u * 1024 + PD_DOCKER_MUX_HEADER_BYTES) /* one full frame of the engine's */
/* Of what came while nobody reads: one read's worth, a TLS record that was not
 * whole before it, and an answer's head. */
#define PD_ATTACH_HELD_BYTES_MAX                                                                   \
    (PD_ATTACH_READ_BYTES + PD_TLS_RECORD_BYTES_MAX + PD_DOCKER_HEAD_BYTES_MAX)

enum pd_docker_attach_phase {
    PD_ATTACH_CONNECTING, /* up to the request being sent */
    PD_ATTACH_HEAD,       /* the answer's head is awaited */
    PD_ATTACH_OPEN,       /* handed to its user */
    PD_ATTACH_ENDED,      /* the peer ended or failed; the user has yet to close */
    PD_ATTACH_CLOSING,
};

struct pd_docker_attach {
    struct pd_stream stream; /* what the user sees */
    union {
        uv_stream_t any;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } connection;
    uv_timer_t timer;
    union {
        uv_connect_t connect;
        uv_getaddrinfo_t resolve;
    } request;
    bool resolving;
    struct addrinfo *found;     /* tcp: all of the host's addresses */
    struct addrinfo *candidate; /* the one to be tried next */
    int handles;                /* not yet closed */
    enum pd_docker_attach_phase phase;
    bool reading;    /* the user wants data */
    bool delivering; /* on_data is on the stack */
    size_t queued_bytes;
    struct pd_tls *tls; /* NULL: the connection is plain */
    char *plain;        /* PD_TLS_RECORD_BYTES_MAX, with tls */
    struct pd_docker_mux mux;
    struct pd_buf held; /* the head while it comes; then what came while not reading */
    char *buffer;       /* PD_ATTACH_READ_BYTES */
    char *hello;        /* the request's text */
    char *socket_path;
    char *host;
    int port;
    char *name;
    pd_docker_attach_cb cb; /* NULL once it was called */
    void *arg;
    struct pd_err failure; /* what cb will get */
    void (*closed)(void *arg);
    void *closed_arg;
    struct {
        struct pd_time since;
        unsigned count;
    } diagnostics; /* rate limit */
};

/* ---- docker_stream.c ---- */

extern const struct pd_stream_ops pd_docker_stream_ops;

/* The connection stands: read, shake hands where it is protected, send the
 * request. */
void pd_docker_stream_connected(struct pd_docker_attach *attach);
/* Keep bytes that nobody wants yet. */
void pd_docker_stream_hold(struct pd_docker_attach *attach, const unsigned char *data, size_t len);
/* Before it was open: give up; cb is told when all is closed. */
void pd_docker_attach_fail(struct pd_docker_attach *attach, const struct pd_err *err);
void pd_docker_attach_fail_os(struct pd_docker_attach *attach, int rc, const char *what);
/* One handle or request less is open; with the last, who waits is told and
 * the attach is freed. */
void pd_docker_attach_maybe_closed(struct pd_docker_attach *attach);

/* ---- docker_attach.c ---- */

/* Bytes of the answer's head, and whatever follows it. */
void pd_docker_attach_take_head(struct pd_docker_attach *attach, const char *data, size_t len);

#endif
