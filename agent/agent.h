/* The agent's parts and how they share one state. Everything is allocated at
 * start; nothing grows. See agent/main.c for the theory of operation. */
#ifndef PD_AGENT_AGENT_H
#define PD_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/cell.h"
#include "agent/confine.h"
#include "agent/platform.h"
#include "agent/proc.h"
#include "common/proto.h"

#define AGENT_VERSION 1

#define LANGS_MAX 32
#define ARGV_MAX 16      /* of a catalogue command */
#define RUN_ARGV_MAX 320 /* of a program: command and the run's args */
#define RUN_ENV_MAX 320
#define SLOTS_MAX 40
#define SPARES_PER_LANG_MAX 8
#define SPARE_IDLE_US INT64_C(600000000) /* a language unused for so long keeps no spares */
#define ZYGOTE_FORKS_MAX 2000 /* then a fresh one takes over */
#define OUT_BYTES_MAX (512 * 1024)
#define STDIN_BYTES_MAX (64 * 1024)
#define ARTIFACT_PATH_BYTES 256
#define ARTIFACT_GLOBS_BYTES 4096
#define OOM_SCORE_SPARE 500
#define OOM_SCORE_RUN 1000
#define COMPILE_US INT64_C(60000000) /* for a compiler, unless a run says otherwise */
#define GO_BYTES_MAX 60000           /* must fit into a pipe at once */

/* Output past the cap is counted and dropped; at this many times the cap the
 * program is killed. */
#define OUTPUT_KILL_FACTOR 64
#define OUTPUT_KILL_BYTES_MIN (64 * INT64_C(1024) * 1024)

/* As in common/link.h. */
enum cause {
    CAUSE_EXITED,
    CAUSE_SIGNALED,
    CAUSE_TIMED_OUT,
    CAUSE_CPU,
    CAUSE_MEMORY,
    CAUSE_OUTPUT,
    CAUSE_CANCELED
};
enum start { START_ZYGOTE, START_SPARE, START_CELL, START_COLD };

/* ---- languages (lang.c) ---- */

enum zygote_state { ZYGOTE_NONE, ZYGOTE_STARTING, ZYGOTE_READY, ZYGOTE_FAILED };

struct zygote {
    enum zygote_state state;
    pid_t pid;
    int sock;
    unsigned forks;
};

struct lang {
    const char *name;
    const char *file; /* the program's file name in the workspace */
    const char *hook; /* file below /paddock/spares, "" none */
    const char *compile[ARGV_MAX + 1];
    const char *run[ARGV_MAX + 1];
    const char *version[ARGV_MAX + 1];
    const char *spare[ARGV_MAX + 1];
    const char *env[ARGV_MAX + 1];
    const char *start_env[ARGV_MAX + 1]; /* names; a final '*' stands for any rest */
    bool spare_file;                     /* its file is there, an empty line, when a spare starts */
    bool zygote_wanted;
    bool found;        /* its commands are in the image */
    int64_t used_us;   /* last run, 0 never */
    int spares_failed; /* in a row; too many: none are kept */
    struct zygote zygote, next;
};

/* ---- slots: cells and what waits in them (slot.c) ---- */

enum slot_state {
    SLOT_FREE,
    SLOT_MAKING,  /* the cell's init is mounting */
    SLOT_BARE,    /* a cell with nothing in it */
    SLOT_JOINING, /* an interpreter is starting, or being forked, in it */
    SLOT_READY,   /* it waits for its program */
    SLOT_RUNNING, /* a run's */
    SLOT_PROBING, /* version.c's */
    SLOT_ENDING,  /* killed; processes still to be waited for */
};

struct slot {
    enum slot_state state;
    struct cell cell;
    struct lang *lang;     /* whose spare it is (to be); NULL a bare cell */
    enum start start;      /* how a run in it will have been started */
    struct zygote *zygote; /* that forked `prog` and will report its end, or NULL */
    uint32_t ticket;       /* of the request to fork it */
    pid_t prog;            /* 0 none */
    bool is_ready;         /* the spare has said so (its pid may follow) */
    int stdin_w, stdout_r, stderr_r, go_w, ready_r;
    struct proc proc; /* of a spare that is ready or running */
    uid_t uid; /* isolation uid: whom its program runs as */
    int64_t since_us;
};

/* ---- the run (run.c) ---- */

enum run_state {
    RUN_NONE,
    RUN_WAIT,    /* for its slot: input is not read meanwhile */
    RUN_FILES,   /* FILE and DATA frames until START */
    RUN_ACTIVE,  /* a stage's program is alive */
    RUN_DRAIN,   /* it ended; its pipes are not empty yet, or out of credit */
    RUN_COLLECT, /* artifacts */
};

struct end {
    bool known;
    bool by_signal;
    int status; /* exit code or signal */
    int64_t cpu_us;
    int64_t maxrss_bytes;
};

struct run {
    enum run_state state;
    struct slot *slot;
    struct lang *lang;
    bool more; /* files follow */
    bool stdin_open;
    bool tty; /* its program has a terminal (terminal.c) */
    uint16_t rows, cols;
    bool compiling;
    bool compile_failed;
    bool compile_truncated;
    int64_t compile_us, compile_took_us; /* its limit; what it took */
    bool wants_artifacts;
    int64_t timeout_us, cpu_us;
    int64_t output_max, out_bytes, err_bytes, delivered;
    int64_t window;   /* output that may still be sent */
    int file_fd;      /* being written by DATA */
    enum cause cause; /* why we killed it, or CAUSE_EXITED */
    bool killed;
    struct end end;
    int64_t received_us, started_us, first_output_us, ended_us, deadline_us;
    int64_t cpu_before_us, cpu_check_us;
    int64_t watch_at_us; /* from when on its output is looked at; 0: it is */
    bool has_output;
    size_t stdin_at, stdin_len;
    bool stdin_eof, stdin_polled, stdin_ended;
    char artifact_path[ARTIFACT_PATH_BYTES]; /* being forwarded */
    size_t frame_len;

    /* from here on not cleared for each run */
    uint8_t frame[PD_FRAME_PAYLOAD_MAX]; /* the RUN payload; fields point into it */
    uint8_t stdin_data[STDIN_BYTES_MAX];
};

/* ---- the question for a language's version (version.c) ---- */

struct probe {
    size_t lang;       /* whose turn it is; n_langs: all are done */
    struct slot *slot; /* where it runs, NULL when it does not */
    char text[60];
    size_t len;
    bool has_line;
};

/* ---- everything ---- */

struct agent {
    int epoll, signals, timer, hold_timer;
    pid_t front;  /* on ECS: carries our frames over TLS (agent/ecs); else 0 */
    bool leaving; /* the task is to stop */
    struct platform platform;
    struct pd_confine confine;

    /* frames (wire.c, direct.c) */
    int in_fd, out_fd;
    int direct_dir; /* the service's folder, -1 none */
    uint8_t in[PD_FRAME_BYTES_MAX * 2];
    size_t in_len;
    uint8_t out[OUT_BYTES_MAX];
    size_t out_at, out_len;
    bool out_polled, in_paused;
    bool out_is_urgent;     /* what is in `out` must not be held (hold.c) */
    int64_t held_output_us; /* since when output of the run waits, 0 none */
    int64_t held_spares_us; /* likewise the news of spares */
    int64_t timer_us, timer_armed_us; /* when it is wanted; for when it is armed; 0: not */
    int64_t hold_timer_us;            /* as armed */
    uint32_t epoch, seq_in, seq_out;
    bool attached;

    /* configuration, from the first ATTACH */
    bool configured;
    char strings[PD_FRAME_PAYLOAD_MAX + 4096];
    size_t strings_len;
    struct lang langs[LANGS_MAX];
    size_t n_langs;
    const char *preload[ARGV_MAX * 4 + 1];
    int spares_wanted;
    bool zygotes;
    struct cell_limits limits;
    uint64_t memory_bytes;

    struct slot slots[SLOTS_MAX];
    struct run run;
    struct probe probe;
    uint64_t runs;
    int64_t oom_kills; /* as last read */
    uid_t next_uid;
    uint32_t tickets; /* given out */
    bool spares_changed;
};

/* wire.c */
void wire_init(struct agent *agent);
void wire_on_readable(struct agent *agent); /* stdin: frames to run_on_frame, attach */
void wire_on_direct_readable(struct agent *agent);
bool wire_is_direct(const struct agent *agent);
void wire_use(struct agent *agent, int in, int out);
void wire_pause(struct agent *agent, bool pause);
void wire_process(struct agent *agent); /* frames already received, until paused */
void wire_flush(struct agent *agent);
size_t wire_room(const struct agent *agent);
struct pd_wire wire_begin(struct agent *agent, enum pd_frame_type type);
void wire_end(struct agent *agent, struct pd_wire *wire);
void wire_fault(struct agent *agent, const char *text);
void wire_tell_spares(struct agent *agent);

/* direct.c */
void direct_init(struct agent *agent); /* before the folder is covered */
void direct_on_move(struct agent *agent, const struct pd_frame *frame);
void direct_end(struct agent *agent); /* back to stdin and stdout */

/* hold.c */
void hold_output(struct agent *agent); /* output was added to what is to be sent */
void hold_spares(struct agent *agent); /* the number of spares has changed */
void hold_settle(struct agent *agent); /* send what need not wait, arm the timer for the rest */

/* lang.c */
void lang_configure(struct agent *agent, const struct pd_frame *attach);
struct lang *lang_find(struct agent *agent, const char *name, size_t len);
/* Whether an interpreter reads this entry ("NAME=value") of its environment as it
 * starts, so that a spare would not notice it. */
bool lang_reads_at_start(const struct lang *lang, const char *entry, size_t len);
void lang_env(struct agent *agent, const struct lang *lang, const char **env, size_t cap);

/* slot.c */
void slots_init(struct agent *agent);
struct slot *slot_make(struct agent *agent, struct lang *lang);
void slot_end(struct agent *agent, struct slot *slot);
bool slot_launch(struct agent *agent, struct slot *slot, const char *const *argv,
                 const char *const *env, bool on_terminal);
void slot_on_event(struct agent *agent, struct slot *slot, unsigned which);
void slot_watch_output(struct agent *agent, struct slot *slot, bool on);
bool slots_on_exit(struct agent *agent, pid_t pid);
bool slots_ending(const struct agent *agent);
/* Where runs and interpreters share a file system, one that is only starting
 * could find a run's files in the places where it looks for modules and settings,
 * and carry its code into a later run: it is ended, and started again later. */
void slots_stop_starting(struct agent *agent);
static inline unsigned slot_index(const struct agent *agent, const struct slot *slot)
{
    return (unsigned)(slot - agent->slots);
}

/* spare.c */
/* Start an interpreter in a slot whose cell is ready. False: the slot is the caller's to end. */
bool spare_start(struct agent *agent, struct slot *slot);
/* Its `ready_r` can be read: it waits for its program, or is done with it. */
void spare_on_readable(struct agent *agent, struct slot *slot);
/* It has said that it waits, and its pid is known: the two come on different ways. */
void spare_check_ready(struct agent *agent, struct slot *slot);
int spares_ready(const struct agent *agent, const struct lang *lang);
/* Keep, while no run is under way, `spares_wanted` interpreters waiting for the
 * first language of the pool and for each that was used lately, and one bare
 * cell for the rest. */
void spares_refill(struct agent *agent);

/* terminal.c */
/* A new one for the slot's program: 0 or -errno. */
int terminal_open(const struct platform *platform, const struct slot *slot, int *ret_master,
                  int *ret_slave);
void terminal_resize(int master, uint16_t rows, uint16_t cols);
/* As ^D does at the start of a line. False: not now, it is full. */
bool terminal_end_input(int master);

/* zygote.c */
void zygote_start(struct agent *agent, struct lang *lang, struct zygote *zygote);
void zygote_fork(struct agent *agent, struct slot *slot, const int *fds);
void zygote_on_readable(struct agent *agent, struct lang *lang, struct zygote *zygote);
/* Those that stand ready beside a worn one take its place; only between runs, so that
 * the end of no program is lost with the old one. */
void zygotes_take_over(struct agent *agent);
void zygotes_stop_starting(struct agent *agent);
bool zygotes_on_exit(struct agent *agent, pid_t pid);

/* request.c */
void request_read(struct run *run);
/* Copy the texts of one tag out of the frame, terminated, into `list`. */
size_t request_texts(struct run *run, int tag, char *store, size_t store_bytes, const char **list,
                     size_t cap);
/* Arguments and environment for a waiting interpreter; false where they do not
 * fit into its pipe. */
bool request_go(struct run *run, char *message, size_t *ret_len);
/* Whether a waiting interpreter can take this run as if it had been started for it. */
bool request_fits_spare(struct run *run);
/* Start a command for the run in its slot, with its environment. */
bool request_launch(struct agent *agent, const char *const *command, bool with_args);
void request_write_code(struct agent *agent);
void request_on_file(struct agent *agent, const struct pd_frame *frame);
void request_on_data(struct agent *agent, const struct pd_frame *frame);

/* output.c */
bool output_may_read(const struct agent *agent); /* there is credit, or all is dropped */
void output_on_readable(struct agent *agent, int stream);
void output_drain(struct agent *agent); /* what is in the pipes now, as far as credit goes */

/* input.c */
void input_on_frame(struct agent *agent, const struct pd_frame *frame);
void input_on_writable(struct agent *agent);

/* run.c */
void run_kill(struct agent *agent, enum cause cause);
/* Go on with what remains after a program's end, as far as that can be now. */
void run_advance(struct agent *agent);
void run_begin(struct agent *agent, const struct pd_frame *frame);
void run_start(struct agent *agent); /* its files have come */
void run_cancel(struct agent *agent);
void run_on_slot_ready(struct agent *agent, struct slot *slot);
void run_on_slot_lost(struct agent *agent, struct slot *slot);
void run_on_ctl(struct agent *agent);
void run_on_prog_end(struct agent *agent, const struct end *end);
/* It lives still, but has nothing left to do but to exit with this status. */
void run_on_prog_done(struct agent *agent, int status);
void run_on_timer(struct agent *agent);
void run_poke(struct agent *agent);    /* something that a waiting run waits for may have come */
void run_abandon(struct agent *agent); /* a new attacher: the old one's run dies */

/* run_report.c */
void run_report(struct agent *agent); /* send its EXIT */
bool run_is_truncated(const struct run *run);

/* run_frames.c */
void run_on_frame(struct agent *agent, const struct pd_frame *frame);

/* version.c: languages' versions, found out while nothing else is to be done */
void version_on_attach(struct agent *agent, const struct pd_frame *attach);
void version_poke(struct agent *agent);
void version_on_output(struct agent *agent, int *fd);
void version_on_timer(struct agent *agent);
void version_abandon(struct agent *agent); /* a run comes first */

/* collect.c: artifacts, the agent's side */
int artifact_ask(struct agent *agent, const char *request, size_t len); /* 0 or -errno */
bool artifact_forward(struct agent *agent); /* false: that was the last */
void artifact_resume(struct agent *agent);  /* credit has come */

/* main.c: epoll tags */
enum event_kind {
    EVENT_STDIN,
    EVENT_DIRECT,
    EVENT_STDOUT,
    EVENT_SIGNALS,
    EVENT_TIMER,
    EVENT_HOLD,
    EVENT_SLOT,
    EVENT_ZYGOTE,
};
enum slot_event { SLOT_CTL, SLOT_READY_FD, SLOT_STDIN, SLOT_OUT, SLOT_ERR };
void poll_change(struct agent *agent, int fd, unsigned events, enum event_kind kind, unsigned index,
                 unsigned which);
void timer_set(struct agent *agent, int64_t at_us); /* the run's; 0: off */
void hold_timer_set(struct agent *agent, int64_t at_us);

#endif
