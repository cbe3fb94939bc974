/* A program's way into a slot's cell: what it reads and writes, and its process.
 *
 * The agent's ends are the slot's (stdin_w, stdout_r, stderr_r; with a spare also go_w,
 * ready_r): they do not block, and slot_end closes them. The program's ends live only
 * until it has been forked. */
#ifndef PD_AGENT_PROGRAM_H
#define PD_AGENT_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/confine.h"

struct agent;
struct slot;

struct program_ends {
    int stdin_r, stdout_w, stderr_w;
    int go_r, ready_w; /* a spare's: its program comes, it says that it waits; else -1 */
};

/* Replace the slot's ends by new ones. False: not all could be made; the caller closes `ends`
 * (again does no harm) and ends the slot. */
bool program_make_pipes(struct slot *slot, struct program_ends *ends, bool spare);
/* A terminal of the run's size instead: the slot has its master twice, for what is typed and for
 * what is printed. */
bool program_make_terminal(struct agent *agent, struct slot *slot, struct program_ends *ends);
void program_close_ends(struct program_ends *ends);

/* The cell's namespaces and the program's ends, as pd_confine_enter takes them; borrowed. */
void program_join_fds(const struct slot *slot, const struct program_ends *ends,
                      int fds[PD_JOIN_COUNT]);
/* Fork a process that enters the cell and becomes argv; both lists end with NULL. Its pid (it is
 * the agent's child), or 0 or less: there is none. What fails later is printed on its standard
 * error and ends it with 126, or 127 where there is no such command. */
pid_t program_fork(const struct agent *agent, const struct slot *slot, const int *fds,
                   const char *const *argv, const char *const *env);

#endif
