/* The slice of processor time that the scheduler gives this thread at a time.
 *
 * Who only passes messages on (the service's loop, the agent) needs little time, but at
 * once. Under EEVDF (Linux 6.12) a thread that asks for a short slice gets an earlier
 * deadline and is run soon after it wakes, for no larger share of the processor
 * (sched(7), sched_setattr(2), "sched_runtime" of SCHED_OTHER). */
#ifndef PD_COMMON_SLICE_H
#define PD_COMMON_SLICE_H

/* Ask for the shortest slice that Linux gives, for this thread alone: what it forks, and
 * its other threads, have the usual one. An older kernel takes no notice; where it is
 * not allowed, nothing changes: no one depends on it. */
void pd_slice_be_short(void);

#endif
