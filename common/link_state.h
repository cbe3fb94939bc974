/* What link.c, link_run.c and link_move.c share of a link; nobody else's. */
#ifndef PD_COMMON_LINK_STATE_H
#define PD_COMMON_LINK_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/buf.h"
#include "common/direct.h"
#include "common/link.h"
#include "common/proto.h"
#include "common/time.h"

enum link_state {
    LINK_SYNCING, /* looking for the marker that our ATTACH asked for */
    LINK_OPENING, /* found; HELLO must follow */
    LINK_MOVING,  /* the agent was asked to go on by its direct pipes */
    LINK_LEAVING, /* it does; it is awaited there */
    LINK_READY,
    LINK_DOWN, /* failed; the owner is told, or about to be */
    LINK_CLOSING,
};

struct pd_link_run {
    const struct pd_run_events *events; /* NULL: none under way */
    void *arg;
    size_t consumed; /* output consumed, not granted yet */
    struct pd_buf stdin_wait;
    size_t stdin_credit; /* bytes that the agent will take now */
    bool stdin_eof;      /* to be sent when stdin_wait is empty */
    bool stdin_closed;
    bool stdin_full; /* more was offered than fits */
};

struct pd_link {
    uv_loop_t *loop;
    struct pd_stream *stream;
    char *direct_folder;           /* NULL: none */
    struct pd_direct *direct;      /* while the agent is awaited there */
    struct pd_stream *next_stream; /* the agent has come there, not left here yet */
    struct pd_pool_spec *spec;
    const struct pd_link_events *events;
    void *arg;
    enum link_state state;
    uint32_t epoch;
    uint32_t seq_out, seq_in;
    uint8_t sync[PD_SYNC_BYTES];
    size_t stale_bytes;
    struct pd_buf in; /* an incomplete frame, or what is searched for the marker */
    struct pd_hello hello;
    int spares[PD_LANGUAGES_MAX]; /* as hello.languages */
    struct pd_link_run run;
    struct pd_err failure;
    uv_timer_t timer; /* HELLO deadline, then pings; at once for a failure to be told */
    bool is_quiet;    /* nothing came since the last tick */
    struct pd_time heard;
    int open_handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* link.c. The owner hears of a failure from the loop, not from within its own call. */
void pd_link_fail(struct pd_link *link, int kind, const char *why);
void pd_link_use_stream(struct pd_link *link, struct pd_stream *stream);
void pd_link_become_ready(struct pd_link *link);
void pd_link_part_closed(void *arg); /* one of open_handles */

/* link.c: speaking. */
int pd_link_send_frames(struct pd_link *link, const struct pd_wire *wire, struct pd_err *err);
void pd_link_begin(struct pd_link *link, struct pd_wire *wire, enum pd_frame_type type);
/* A frame with at most one field of data. */
int pd_link_send_data(struct pd_link *link, enum pd_frame_type type, const void *data, size_t len,
                      struct pd_err *err);

/* link_run.c */
void pd_link_on_run_frame(struct pd_link *link, const struct pd_frame *frame);
void pd_link_lose_run(struct pd_link *link, const char *why);

/* link_move.c: to the direct pipes (common/direct.h). */
bool pd_link_ask_to_move(struct pd_link *link); /* false: there are none */
void pd_link_on_moved(struct pd_link *link, const struct pd_frame *frame);
void pd_link_stop_moving(struct pd_link *link); /* whatever of it is under way */

#endif
