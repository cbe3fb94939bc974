/* What viewer.c and viewer_*.c share of a viewer; nobody else's.
 *
 *   viewer.c        coming and going, and time
 *   viewer_send.c   what a client is sent
 *   viewer_hear.c   what a client says */
#ifndef PD_API_VIEWER_STATE_H
#define PD_API_VIEWER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/context.h"
#include "api/deadline.h"
#include "api/execution.h"
#include "api/server.h"
#include "api/viewer.h"
#include "api/websocket.h"

struct pd_viewers {
    struct pd_api_context *api;
    uv_loop_t *loop;
    struct pd_viewer_limits limits;
    struct pd_deadlines beats;
    struct pd_websocket_budget budget;
    size_t count;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct pd_viewer {
    struct pd_viewers *all;
    struct pd_exchange *exchange;
    struct pd_websocket *socket;    /* NULL: SSE */
    struct pd_execution *execution; /* NULL: none yet */
    struct pd_watch *watch;
    struct pd_deadline beat;
    uint64_t since_ms;  /* on the loop's clock */
    bool awaits_answer; /* to a ping */
    bool blocked;       /* until there is room */
    bool unread;        /* not read from, until its program takes stdin */
    bool owner;
    bool counts_stdin; /* its client sends what it has credit for, and is always read from */
    size_t credit;     /* that it has not used */
    bool detach;       /* its run goes on without it */
    bool failed;       /* an `error` was sent */
    char key_id[PD_KEY_ID_MAX];
    struct pd_entry *entry; /* SSE: on its way */
    size_t entry_at;
};

/* ---- viewer.c ---- */

/* Say goodbye; the viewer is gone. */
void pd_viewer_leave(struct pd_viewer *viewer, enum pd_close_code code, const char *reason);

/* ---- viewer_send.c ---- */

/* As much as there is room for; at the end of it the viewer leaves. */
void pd_viewer_pump(struct pd_viewer *viewer);
/* A watch says that there is more; the client, that there is room. `arg` is the viewer. */
void pd_viewer_on_more(void *arg);
void pd_viewer_on_room(void *arg);
/* Say what is wrong, of its journal or besides it (without a number), and leave. */
void pd_viewer_refuse(struct pd_viewer *viewer, const struct pd_problem_details *details);

/* ---- viewer_hear.c ---- */

extern const struct pd_watch_events pd_viewer_watch_events;
/* A message of its client; `arg` is the viewer. */
void pd_viewer_on_message(void *arg, const char *text, size_t len);

#endif
