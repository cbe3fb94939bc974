/* Isolation `uid`: between two runs of one sandbox nothing of the first may be
 * left. Every process of its uid is killed, every file, shared memory segment,
 * message queue and semaphore of it removed, and that is checked. */
#ifndef PD_AGENT_SWEEP_H
#define PD_AGENT_SWEEP_H

#include <stdbool.h>
#include <sys/types.h>

struct agent;

/* Kill every process of `uid` (isolation uid), remove what it left in System V
 * memory, queues and semaphores, and wait until it runs nowhere any more; with
 * isolation container kill everything but the agent. False: someone lives. */
bool sweep_processes(struct agent *agent, uid_t uid) __attribute__((warn_unused_result));

/* Isolation uid: empty every folder that a run can write to and make it `uid`'s
 * alone, 0700; 0: nobody's. False: something is left. */
bool sweep_files(struct agent *agent, uid_t uid) __attribute__((warn_unused_result));

#endif
