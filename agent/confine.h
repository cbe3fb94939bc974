/* What every program is put under between fork and its first instruction. Used
 * by the agent and, compiled into agent/spares/pdspare.so, by zygotes: so only
 * raw system calls, no libc. Plain data, sent over a socket as it is. */
#ifndef PD_AGENT_CONFINE_H
#define PD_AGENT_CONFINE_H

#include <linux/filter.h>
#include <stdint.h>

#include "agent/filter.h"

/* Descriptors of a spare before its program is there (agent/spare.c). */
#define PD_SPARE_GO_FD 3    /* read: arguments and environment, then end of file */
#define PD_SPARE_READY_FD 4 /* write one byte: waiting */
#define PD_ZYGOTE_FD 3      /* a zygote's socket to the agent */

/* A spare may keep the write end of its READY pipe, out of its program's way, and
 * say by a struct pd_spare_done that nothing is left of the program but the
 * process's own end, which takes the kernel longer than a small program runs. The
 * agent then kills the cell: to say so is to exit with that status, no more. */
struct pd_spare_done {
    uint32_t magic; /* PD_SPARE_DONE */
    int32_t status; /* the exit status, 0..255 */
};
#define PD_SPARE_DONE 0x454e4f44u
#define PD_SPARE_DONE_FD 1000

struct pd_confine {
    uint32_t uid;            /* isolation uid: become this user; 0: stay */
    uint32_t has_cell;       /* join the namespaces of a cell */
    uint64_t pids_max;       /* RLIMIT_NPROC; 0: none of our own */
    uint64_t file_bytes_max; /* RLIMIT_FSIZE */
    uint32_t filter_len;
    uint32_t
        oom_score; /* in hundreds, up to 1000: a run dies before a spare, both before the agent */
    struct sock_filter filter[PD_FILTER_INSNS_MAX];
};
#define PD_CONFINE_BYTES(c)                                                                        \
    (offsetof(struct pd_confine, filter) + (c)->filter_len * sizeof(struct sock_filter))

/* Descriptors handed over, in this order: the cell's namespaces (absent, -1,
 * without a cell), then what the program gets. */
enum pd_join {
    PD_JOIN_PID,
    PD_JOIN_USER,
    PD_JOIN_MNT,
    PD_JOIN_IPC,
    PD_JOIN_UTS,
    PD_JOIN_STDIN,
    PD_JOIN_STDOUT,
    PD_JOIN_STDERR,
    PD_JOIN_GO,    /* a spare's, else -1 */
    PD_JOIN_READY, /* likewise */
    PD_JOIN_COUNT,
};

/* In the forking process: children from here on belong to the cell's pid
 * namespace. 0 or -errno. */
int pd_confine_aim(int pid_namespace);

/* In the new process: enter the cell's other namespaces, take over the
 * descriptors (the rest is closed; go and ready become 3 and 4, or are absent:
 * -1), new session, working directory /workspace, limits, no capabilities, the
 * filter. `fds` in the order above. 0 or -errno: then the process must exit. */
int pd_confine_enter(const struct pd_confine *confine, const int *fds);

/* No capability left or to be had again: bounding, ambient, permitted,
 * effective and inheritable sets empty. 0 or negative. */
int pd_confine_drop_capabilities(void);

#endif
