/* What this machine lets the agent do, found out once at the first attach, and
 * the ground that cells are made on. */
#ifndef PD_AGENT_PLATFORM_H
#define PD_AGENT_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As enum pd_isolation in common/pool.h. */
enum isolation { ISOLATION_CELL, ISOLATION_UID, ISOLATION_CONTAINER };

#define MASKS_MAX 16

struct platform {
    enum isolation isolation; /* what it came to */
    char reason[160];         /* why that is weaker than asked, or "" */
    uid_t uid;
    gid_t gid;
    uid_t first_run_uid;     /* isolation uid: the first of a range of this sandbox's own */
    bool has_nproc_per_cell; /* RLIMIT_NPROC counts per user namespace (Linux 5.14) */
    bool has_cgroup2;
    int oom_fd;                   /* memory.oom_control or memory.events, -1 where unreadable */
    int cpu_fd;                   /* cpuacct.usage or cpu.stat, likewise */
    int pts_fd;                   /* the container's /dev/pts, which no cell sees; likewise */
    const char *masks[MASKS_MAX]; /* what a cell's own /proc hides; directories end in '/' */
    size_t n_masks;
};

/* For isolation `cell`: become the owner of a user and a mount namespace of our
 * own (so that cells can be its children and inherit what is prepared here): a
 * minimal /dev, nothing writable left but what every cell covers with its own.
 * Where that is refused the isolation becomes `container` and the reason says
 * which gate is closed. Must be called before any other process exists. */
void platform_enter(struct platform *platform, enum isolation asked);

/* A cell could not be made after all: isolation is `container` from now on. */
void platform_give_up_cells(struct platform *platform, int error);

/* Kills of the container's out-of-memory killer so far; -1 unknown. */
int64_t platform_oom_kills(const struct platform *platform);
/* CPU time of the container so far, microseconds; -1 unknown. */
int64_t platform_cpu_us(const struct platform *platform);

#endif
