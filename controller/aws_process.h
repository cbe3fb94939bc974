/* A credential process ("Process credential provider"): a command of the
 * profile's, run without a shell, whose standard output is the answer. */
#ifndef PD_CONTROLLER_AWS_PROCESS_H
#define PD_CONTROLLER_AWS_PROCESS_H

#include <stddef.h>
#include <uv.h>

#include "common/err.h"

#define PD_AWS_PROCESS_TIMEOUT_MS 60000

/* The whole output of a process that ended with 0, borrowed and wiped afterwards;
 * else why not. */
typedef void (*pd_aws_process_cb)(void *arg, const struct pd_err *err, const char *text,
                                  size_t len);

struct pd_aws_process;

/* 0: cb fires once, from the loop. PD_INVALID: it cannot be started. Its standard
 * input and error are nothing. */
int pd_aws_process_begin(uv_loop_t *loop, char **argv, pd_aws_process_cb cb, void *arg,
                         struct pd_aws_process **ret_process, struct pd_err *err);
void pd_aws_process_kill(struct pd_aws_process *process);

#endif
