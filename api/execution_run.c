/* The run of an execution: what it tells, and what it is told. */
#include <assert.h>
#include <string.h>

#include "api/execution_state.h"
#include "api/problem.h"
#include "common/mem.h"

#define MEMBERS_BYTES_MAX (1024u * 1024) /* of an event; artifacts have their own */
#define STDIN_HIGH_BYTES (PD_EXECUTION_STDIN_BYTES_MAX / 2)
#define STDIN_PIECE_BYTES PD_RUN_STDIN_WINDOW_BYTES
#define EXIT_CODE_NEVER_RUN 255

/* ---- what the run tells ---- */

static enum pd_entry_type type_of(int stream)
{
    return stream == 1 ? PD_ENTRY_STDOUT : PD_ENTRY_STDERR;
}

static void flush_text(struct pd_execution *execution)
{
    for (int stream = 1; stream <= 2; stream++) {
        pd_autobuf struct pd_buf members;
        size_t len;
        pd_buf_init(&members, MEMBERS_BYTES_MAX);
        len = pd_text_stream_flush(&execution->text[stream - 1], &members);
        if (len > 0)
            pd_execution_add_event(execution, type_of(stream), &members, len);
    }
}

static void push_stdin(struct pd_execution *execution);

static void on_about(void *arg, struct pd_job *job)
{
    struct pd_execution *execution = arg;
    struct pd_executions *all = execution->all;

    (void)job;
    assert(all->observer && all->observer->about);
    all->observer->about(all->observer_arg, execution);
}

static void on_started(void *arg, enum pd_start start)
{
    struct pd_execution *execution = arg;
    bool warm = start == PD_START_ZYGOTE || start == PD_START_SPARE;

    execution->started = true;
    if (execution->rows)
        pd_job_resize(execution->job, execution->rows, execution->cols);
    pd_execution_add_eventf(execution, PD_ENTRY_STARTED, "\"start\":\"%s\",\"warm\":%s",
                            pd_start_name(start), warm ? "true" : "false");
    push_stdin(execution);
}

static void on_stage(void *arg, const char *name)
{
    struct pd_execution *execution = arg;

    flush_text(execution);
    if (execution->keep_outcome)
        pd_outcome_stage(&execution->outcome, name);
    pd_execution_add_eventf(execution, PD_ENTRY_STAGE, "\"name\":\"%.32s\"",
                            strcmp(name, "run") == 0 ? "run" : "compile");
}

static void on_output(void *arg, int stream, const void *data, size_t len)
{
    struct pd_execution *execution = arg;
    pd_autobuf struct pd_buf members;
    size_t ready;

    if (execution->keep_outcome)
        pd_outcome_output(&execution->outcome, stream, data, len);
    if (execution->owner)
        execution->ungranted += len;
    else
        pd_job_grant(execution->job, len);
    pd_buf_init(&members, MEMBERS_BYTES_MAX);
    ready = pd_text_stream_put(&execution->text[stream - 1], data, len, &members);
    if (ready > 0)
        pd_execution_add_event(execution, type_of(stream), &members, ready);
}

static void on_artifact(void *arg, const char *path, const void *data, size_t len, bool last,
                        const char *error)
{
    struct pd_execution *execution = arg;
    struct pd_artifact *artifact;
    pd_autobuf struct pd_buf members = {.data = NULL}; /* freed on the early way out, too */

    pd_job_grant(execution->job, len);
    artifact = pd_outcome_artifact(&execution->outcome, path, data, len, last, error);
    if (!artifact)
        return;
    pd_buf_init(&members, artifact->data.len * 2 + MEMBERS_BYTES_MAX);
    if (pd_artifact_format(artifact, &members, NULL) == 0)
        pd_execution_add_event(execution, PD_ENTRY_ARTIFACT, &members, 0);
    if (!execution->keep_outcome)
        pd_buf_fini(&artifact->data);
}

/* ---- the end ---- */

static void tell_exit(struct pd_execution *execution, const struct pd_run_result *result,
                      const struct pd_job_times *times)
{
    pd_autobuf struct pd_buf members;

    flush_text(execution);
    pd_buf_init(&members, MEMBERS_BYTES_MAX);
    if (pd_outcome_format_exit(execution->id, result, times, execution->outcome.cut, &members,
                               NULL) == 0)
        pd_execution_add_event(execution, PD_ENTRY_EXIT, &members, 0);
}

static void on_ended(void *arg, const struct pd_run_result *result,
                     const struct pd_job_times *times)
{
    struct pd_execution *execution = arg;

    tell_exit(execution, result, times);
    pd_execution_finish(execution, &(struct pd_execution_end){.result = result, .times = times});
}

static void tell_error(struct pd_execution *execution, const struct pd_err *err, int retry_after_s)
{
    struct pd_problem_details details;
    pd_autobuf struct pd_buf members;
    pd_autobuf struct pd_buf object;

    pd_failure_details(err, retry_after_s, &details);
    pd_buf_init(&object, PD_PROBLEM_BYTES_MAX);
    pd_buf_init(&members, PD_PROBLEM_BYTES_MAX);
    if (pd_problem_details_format(&details, &object, NULL) < 0 ||
        pd_buf_addf(&members, NULL, "\"problem\":") < 0 ||
        pd_buf_add(&members, object.data, object.len - 1, NULL) < 0)
        return; /* cannot be: it has a bound of its own */
    pd_execution_add_event(execution, PD_ENTRY_ERROR, &members, 0);
}

static void on_failed(void *arg, const struct pd_err *err, int retry_after_s)
{
    struct pd_execution *execution = arg;

    tell_error(execution, err, retry_after_s);
    pd_execution_finish(execution,
                        &(struct pd_execution_end){.err = err, .retry_after_s = retry_after_s});
}

/* It was given up before it began. */
static void finish_canceled(struct pd_execution *execution)
{
    const struct pd_run_result result = {
        .cause = PD_CAUSE_CANCELED,
        .exit_code = EXIT_CODE_NEVER_RUN,
        .start = PD_START_COLD,
        .usage.memory_method = "none",
        .message = "",
    };
    const struct pd_job_times times = {
        .queue_us = (pd_time_now().ns - execution->accepted.ns) / 1000,
    };

    on_ended(execution, &result, &times);
}

static void on_stdin_room(void *arg)
{
    push_stdin(arg);
}

const struct pd_job_events pd_execution_job_events = {
    .started = on_started,
    .stage = on_stage,
    .output = on_output,
    .artifact = on_artifact,
    .stdin_room = on_stdin_room,
    .ended = on_ended,
    .failed = on_failed,
};
const struct pd_job_events pd_execution_held_job_events = {
    .about = on_about,
    .started = on_started,
    .stage = on_stage,
    .output = on_output,
    .artifact = on_artifact,
    .stdin_room = on_stdin_room,
    .ended = on_ended,
    .failed = on_failed,
};

/* ---- control ---- */

/* Hand on as much of the waiting stdin as the link takes. */
static void push_stdin(struct pd_execution *execution)
{
    struct pd_buf *wait = &execution->stdin_wait;

    if (!execution->started || execution->done)
        return;
    while (wait->len > 0) {
        size_t len = wait->len < STDIN_PIECE_BYTES ? wait->len : STDIN_PIECE_BYTES;
        if (pd_job_stdin(execution->job, wait->data, len, NULL) < 0)
            break; /* on_stdin_room follows */
        pd_buf_consume(wait, len);
    }
    if (execution->stdin_full && wait->len < STDIN_HIGH_BYTES) {
        execution->stdin_full = false;
        if (execution->owner && execution->owner->events->room)
            execution->owner->events->room(execution->owner->arg);
    }
    if (!execution->done && wait->len == 0 && execution->stdin_eof)
        pd_job_stdin_eof(execution->job); /* of which it may end */
}

int pd_execution_stdin(struct pd_execution *execution, const void *data, size_t len)
{
    if (execution->done || execution->stdin_eof)
        return 0;
    if (pd_buf_add(&execution->stdin_wait, data, len, NULL) < 0)
        return PD_LIMIT;
    push_stdin(execution);
    if (execution->stdin_wait.len < STDIN_HIGH_BYTES)
        return 0;
    execution->stdin_full = true;
    return PD_THROTTLED;
}

size_t pd_execution_stdin_room(struct pd_execution *execution)
{
    execution->stdin_full = execution->stdin_wait.len > 0;
    return PD_EXECUTION_STDIN_BYTES_MAX - execution->stdin_wait.len;
}

void pd_execution_stdin_eof(struct pd_execution *execution)
{
    if (execution->done || execution->stdin_eof)
        return;
    execution->stdin_eof = true;
    push_stdin(execution);
}

void pd_execution_signal(struct pd_execution *execution, int signo)
{
    if (!execution->done && execution->started)
        pd_job_signal(execution->job, signo);
}

void pd_execution_resize(struct pd_execution *execution, uint16_t rows, uint16_t cols)
{
    execution->rows = rows;
    execution->cols = cols;
    if (!execution->done && execution->started)
        pd_job_resize(execution->job, rows, cols);
}

void pd_execution_cancel(struct pd_execution *execution)
{
    if (execution->done || execution->canceled)
        return;
    execution->canceled = true;
    if (pd_job_stop(execution->job))
        return; /* its end follows */
    pd_job_cancel(execution->job);
    finish_canceled(execution);
}
