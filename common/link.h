/* The link to one sandbox's agent: frames (common/proto.h, docs/protocol.md)
 * over a stream (common/stream.h), one run at a time, with credit both ways.
 *
 * A link has one owner, who opened it; a sandbox has one link. Every frame
 * carries the link's epoch and a sequence number; a gap, a stale epoch, a
 * malformed frame or silence past a deadline ends the link, and its run, if
 * one was under way, ends with cause `lost`. The owner then destroys the
 * sandbox. */
#ifndef PD_COMMON_LINK_H
#define PD_COMMON_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/err.h"
#include "common/languages.h"
#include "common/pool.h"
#include "common/stream.h"

#define PD_LINK_HELLO_TIMEOUT_MS 15000
#define PD_LINK_PING_INTERVAL_MS 5000
#define PD_LINK_PING_TIMEOUT_MS 15000
#define PD_RUN_OUTPUT_WINDOW_BYTES (192u * 1024) /* unconsumed output in flight, at most */
#define PD_RUN_STDIN_WINDOW_BYTES (64u * 1024)   /* unread stdin in flight, at most */

/* What the agent says of itself once configured. */
struct pd_hello_language {
    char name[PD_LANGUAGE_NAME_MAX];
    char version[64]; /* "" where not asked or not known yet */
};
struct pd_hello {
    uint32_t agent_version;
    enum pd_isolation
        isolation;              /* what the sandbox can do; weaker than asked: `isolation_reason` */
    char isolation_reason[160]; /* "" when as asked */
    uint64_t runs;              /* done before this attach */
    struct pd_hello_language languages[PD_LANGUAGES_MAX]; /* found in the image */
    size_t n_languages;
};

struct pd_link;

struct pd_link_events {
    /* Once, when the agent has answered; `hello` is borrowed for the call. */
    void (*ready)(void *arg, struct pd_link *link, const struct pd_hello *hello);
    /* The number of started interpreters waiting has changed (pd_link_spares),
     * or a language's version became known. May be NULL. */
    void (*changed)(void *arg, struct pd_link *link);
    /* Once, when the link has failed; after the run's `ended`. The owner calls
     * pd_link_close. */
    void (*down)(void *arg, struct pd_link *link, const struct pd_err *err);
};

struct pd_link_config {
    struct pd_pool_spec *spec;            /* referenced for the link's life */
    const struct pd_languages *languages; /* outlives the link */
    uint32_t epoch;                       /* greater than any earlier link's to this sandbox */
    bool want_versions;                   /* ask each language's version once */
};

/* Takes the stream over, starts the handshake. `events` is static. Always
 * succeeds; failure comes through `down`. */
struct pd_link *pd_link_open(uv_loop_t *loop, struct pd_stream *stream,
                             const struct pd_link_config *config,
                             const struct pd_link_events *events, void *arg);

/* Idempotent; ends a run as lost first. `closed` (may be NULL) fires once from
 * the loop; the link is gone then. */
void pd_link_close(struct pd_link *link, void (*closed)(void *arg), void *arg);

const struct pd_hello *pd_link_hello(const struct pd_link *link); /* NULL before ready */
bool pd_link_is_idle(const struct pd_link *link);                 /* ready and no run under way */
/* Started interpreters waiting for this language, as last reported. */
int pd_link_spares(const struct pd_link *link, const char *language);

/* ---- runs ---- */

enum pd_cause {
    PD_CAUSE_EXITED,
    PD_CAUSE_SIGNALED,
    PD_CAUSE_TIMED_OUT,
    PD_CAUSE_CPU_EXCEEDED,
    PD_CAUSE_MEMORY_EXCEEDED,
    PD_CAUSE_OUTPUT_EXCEEDED,
    PD_CAUSE_CANCELED,
    PD_CAUSE_LOST,
};
const char *pd_cause_name(enum pd_cause cause); /* "exited", "timed_out", ... */

/* How the run was started, best first. */
enum pd_start {
    PD_START_ZYGOTE, /* forked from a running interpreter, ahead of the request */
    PD_START_SPARE,  /* an interpreter started ahead of the request */
    PD_START_CELL,   /* a cell made ahead, the interpreter started for the request */
    PD_START_COLD,   /* everything for the request */
};
const char *pd_start_name(enum pd_start start); /* "zygote", ... */

struct pd_run_file {
    const char *path; /* relative, no "..", at most 255 bytes */
    const void *data;
    size_t len;
};

/* All pointers are borrowed until pd_link_run returns. */
struct pd_run_request {
    const char *id;       /* for logs, at most 63 bytes */
    const char *language; /* canonical name */
    int64_t timeout_ms;   /* 1..; wall time of the run stage */
    int64_t compile_ms;   /* wall time of the compile stage; 0: a minute */
    int64_t cpu_ms;       /* summed over the cell; 0 for no limit of its own */
    int64_t output_max_bytes;
    const void *code;
    size_t code_len;
    struct pd_strings args;
    struct pd_strings env; /* "NAME=value" */
    const struct pd_run_file *files;
    size_t n_files;
    struct pd_strings artifacts; /* globs below the workspace */
    const void *stdin_data;
    size_t stdin_len;
    bool stdin_open; /* more stdin follows; else end of file comes after stdin_data */
    bool tty;        /* stdin, stdout and stderr are one pseudo-terminal */
    uint16_t rows, cols;
};

struct pd_run_usage {
    int64_t wall_us; /* of the last stage */
    int64_t cpu_us;  /* user and system, whole cell */
    int64_t memory_peak_bytes;
    const char *memory_method; /* "cgroup" or "rusage"; static */
    int64_t stage_us[4];       /* agent's own stages: received to started, started to first output,
                                  first output to program's end, program's end to reported */
};

struct pd_run_result {
    enum pd_cause cause;
    int exit_code; /* the program's; 128 + signal when killed */
    int signal;    /* 0 when it exited */
    enum pd_start start;
    int64_t compile_us;   /* what the compile stage took; 0: there was none */
    bool compile_failed;  /* the cause, exit code and wall time are the compiler's */
    int64_t stdout_bytes; /* printed in the last stage, delivered or not */
    int64_t stderr_bytes;
    bool truncated; /* output beyond the cap was dropped */
    struct pd_run_usage usage;
    const char *message; /* why, for lost; else "" */
};

struct pd_run_events {
    void (*started)(void *arg, enum pd_start start); /* may be NULL */
    void (*stage)(void *arg, const char *name);      /* "compile", "run"; may be NULL */
    /* stream: 1 stdout, 2 stderr. Consume, then pd_run_grant as many bytes. */
    void (*output)(void *arg, int stream, const void *data, size_t len);
    /* A piece of an artifact; last piece: last=true. error: not collected,
     * why (else NULL). May be NULL when no artifacts are asked for. */
    void (*artifact)(void *arg, const char *path, const void *data, size_t len, bool last,
                     const char *error);
    /* After pd_run_stdin said PD_LIMIT: there is room again. May be NULL. */
    void (*stdin_room)(void *arg);
    /* Exactly once, nothing afterwards. */
    void (*ended)(void *arg, const struct pd_run_result *result);
};

/* Start a run on an idle link. 0: `ended` fires exactly once, from the loop;
 * negative: it never does. PD_CONFLICT when not idle. PD_INVALID for what the
 * agent could not take (paths, sizes). */
int pd_link_run(struct pd_link *link, const struct pd_run_request *request,
                const struct pd_run_events *events, void *arg, struct pd_err *err);

/* The following act on the link's run and do nothing when none is under way. */
void pd_run_grant(struct pd_link *link, size_t bytes);
/* Queue stdin, PD_RUN_STDIN_WINDOW_BYTES at a time at most. 0, or PD_LIMIT when it does
 * not fit with what waits: `stdin_room` fires when nothing waits any more. */
int pd_run_stdin(struct pd_link *link, const void *data, size_t len, struct pd_err *err);
void pd_run_stdin_eof(struct pd_link *link);
void pd_run_signal(struct pd_link *link, int signo);
void pd_run_resize(struct pd_link *link, uint16_t rows, uint16_t cols);
void pd_run_cancel(struct pd_link *link); /* ends as canceled */

#endif
