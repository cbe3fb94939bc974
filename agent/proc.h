/* What proc(5) tells of one program, and what it is told there: its files held open, so
 * that a look at them costs the run a single call and no search for names. */
#ifndef PD_AGENT_PROC_H
#define PD_AGENT_PROC_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct proc {
    clockid_t clock; /* of the processor time that it used */
    int oom_score, stat, status; /* -1: not open */
};

/* Nothing open. */
void proc_init(struct proc *proc);

/* Of a process that lives; what cannot be opened is left out. */
void proc_open(struct proc *proc, pid_t pid);
void proc_close(struct proc *proc);

/* It dies first where memory runs out, and so does what it forks from now on
 * (oom_score_adj, -1000 to 1000). */
void proc_set_oom_score(const struct proc *proc, int score);

/* Processor time so far, that of children waited for included, and the peak of what was
 * resident. 0; -ESRCH where the process is gone or nothing is open: nothing is set. */
int proc_usage(const struct proc *proc, int64_t *ret_cpu_us, int64_t *ret_peak_bytes);

#endif
