/* A cell: what one run lives and dies in.
 *
 * With isolation `cell` an init is forked into new user, pid, mount, ipc and
 * uts namespaces. It mounts what is the cell's own, hands out descriptors of
 * its workspace and its namespaces, drops every capability, and then only
 * waits: for the agent's word, or for its death, at which the kernel kills all
 * that is in the cell. Programs are put in by whoever forks them
 * (agent/confine.h). With `uid` and `container` there is no init: the cell is
 * the container itself, and emptying it is the agent's work (agent/sweep.h). */
#ifndef PD_AGENT_CELL_H
#define PD_AGENT_CELL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/confine.h"
#include "agent/platform.h"

#define CELL_WORKSPACE "/workspace"

struct cell_limits {
    uint64_t disk_bytes;
    uint64_t inodes;
};

struct cell {
    pid_t init;              /* 0: none */
    int ctl;                 /* socket to the init, -1 none */
    int dirfd;               /* the workspace; -1 until ready */
    int ns[PD_JOIN_UTS + 1]; /* namespaces by enum pd_join; -1 without */
};

void cell_init(struct cell *cell);
/* 0 or -errno. Without namespaces it is ready at once; else cell_on_ctl tells. */
int cell_make(struct cell *cell, const struct platform *platform, const struct cell_limits *limits);
/* Make one, put a process into it as a program would be, and end both; blocks.
 * 0 or -errno: cells cannot be had here. Only before anything else runs. */
int cell_try(const struct platform *platform, const struct cell_limits *limits,
             const struct pd_confine *confine);
/* ctl is readable: 1 the cell has become ready, 0 nothing yet, -errno it failed. */
int cell_on_ctl(struct cell *cell);
/* SIGKILL to the init, and so to everything in the cell. The init is still to be
 * waited for: its pid stays until the caller clears it. */
void cell_kill(struct cell *cell);
/* Let go of the descriptors. */
void cell_close(struct cell *cell);

#endif
