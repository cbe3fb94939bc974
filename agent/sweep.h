/* Isolation `uid`: between two runs of one sandbox nothing of the first may be
 * left. Every process of its uid is killed, every file, shared memory segment,
 * message queue and semaphore of it removed, and that is checked. */
#ifndef PD_AGENT_SWEEP_H
#define PD_AGENT_SWEEP_H

#include <stdbool.h>
#include <sys/types.h>

struct agent;

/* Kill every process of `uid` (isolation uid; else nothing) and wait until none
 * is left but zombies. */
void sweep_processes(struct agent *agent, uid_t uid);

/* Empty the workspace and the temporary folders and make them `uid`'s, 0700.
 * Removes System V objects of any uid of the range. False: something is left. */
bool sweep_files(struct agent *agent, uid_t uid);

#endif
