/* All of common/link.h without an agent: a run does what its code says. Include
 * it in one source of a test program; the real link is not linked in then.
 *
 * Code is one instruction:
 *   print TEXT        TEXT to stdout
 *   both              "out1 err1 out2 err2" on the two streams in turn
 *   echo              arguments, environment, files and stdin, one a line
 *   exit N            exits so
 *   kill N            dies of signal N
 *   cause NAME        ends with that cause (timed_out, ...)
 *   flood N           N bytes of "x", as far as credit is granted
 *   bytes             bytes that are no UTF-8
 *   artifact          leaves "a.txt" with "hello", and "b" which could not be read
 *   sleep MS          ends after so long
 *   cat               stdin to stdout, until its end
 *   hold              ends when it is canceled
 *   lose              its sandbox dies after it has begun
 *   lose early        its sandbox dies before
 *   refuse            the link does not take it (PD_UNAVAILABLE)
 *   invalid           the agent could not take it (PD_INVALID) */
#ifndef PD_TESTS_LIB_FAKE_LINK_H
#define PD_TESTS_LIB_FAKE_LINK_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/link.h"
#include "common/mem.h"

#define FAKE_OUTPUT_PIECE 32768

struct pd_link {
    uv_timer_t timer;
    struct pd_hello hello;
    const struct pd_run_events *events; /* NULL: idle */
    void *arg;
    char code[256];
    char *echo;
    bool canceled;
    bool closing;
    bool started;
    size_t flood_left;
    size_t granted; /* bytes that came back as credit */
    size_t window;  /* bytes that may still be sent */
    void (*closed)(void *arg);
    void *closed_arg;
    /* for tests to look at */
    int runs;
    int cancels;
    char last_code[256];
    int last_signal;
    uint16_t rows, cols;
    bool stdin_full; /* set by a test: no more is taken */
};

static struct pd_link *fake_link_new(uv_loop_t *loop)
{
    struct pd_link *link = PD_NEW(struct pd_link);

    uv_timer_init(loop, &link->timer);
    link->timer.data = link;
    return link;
}

static void fake_on_closed(uv_handle_t *handle)
{
    struct pd_link *link = handle->data;

    if (link->closed)
        link->closed(link->closed_arg);
    free(link->echo);
    free(link);
}

static void fake_end(struct pd_link *link, enum pd_cause cause, int exit_code, int signo)
{
    const struct pd_run_events *events = link->events;
    const struct pd_run_result result = {
        .cause = cause,
        .exit_code = exit_code,
        .signal = signo,
        .start = PD_START_ZYGOTE,
        .usage = {.wall_us = 1500,
                  .cpu_us = 700,
                  .memory_peak_bytes = 4096,
                  .memory_method = "rusage",
                  .stage_us = {10, 20, 30, 40}},
        .message = cause == PD_CAUSE_LOST ? "the sandbox died" : "",
    };

    uv_timer_stop(&link->timer);
    link->events = NULL;
    events->ended(link->arg, &result);
}

static void fake_output(struct pd_link *link, int stream, const char *text)
{
    link->events->output(link->arg, stream, text, strlen(text));
}

static void fake_flood(struct pd_link *link)
{
    static char piece[FAKE_OUTPUT_PIECE];

    memset(piece, 'x', sizeof piece);
    while (link->flood_left > 0 && link->window > 0) {
        size_t len = link->flood_left < sizeof piece ? link->flood_left : sizeof piece;
        len = len < link->window ? len : link->window;
        link->flood_left -= len;
        link->window -= len;
        link->events->output(link->arg, 1, piece, len);
    }
    if (link->flood_left == 0)
        fake_end(link, PD_CAUSE_EXITED, 0, 0);
}

static void fake_cause(struct pd_link *link, const char *name)
{
    for (int cause = PD_CAUSE_EXITED; cause <= PD_CAUSE_LOST; cause++) {
        if (strcmp(pd_cause_name((enum pd_cause)cause), name) == 0) {
            fake_end(link, (enum pd_cause)cause, 128 + SIGKILL, SIGKILL);
            return;
        }
    }
    abort();
}

static void fake_both(struct pd_link *link)
{
    fake_output(link, 1, "out1 ");
    fake_output(link, 2, "err1 ");
    fake_output(link, 1, "out2 ");
    fake_output(link, 2, "err2 ");
}

static void fake_artifacts(struct pd_link *link)
{
    link->events->artifact(link->arg, "a.txt", "hel", 3, false, NULL);
    link->events->artifact(link->arg, "a.txt", "lo", 2, true, NULL);
    link->events->artifact(link->arg, "b", NULL, 0, true, "permission denied");
}

static void fake_on_timer(uv_timer_t *timer)
{
    struct pd_link *link = timer->data;
    const char *code = link->code;

    if (link->canceled) {
        fake_end(link, PD_CAUSE_CANCELED, 128 + SIGKILL, SIGKILL);
        return;
    }
    if (strcmp(code, "lose early") == 0) {
        fake_end(link, PD_CAUSE_LOST, 0, 0);
        return;
    }
    if (!link->started)
        link->events->started(link->arg, PD_START_ZYGOTE);
    link->started = true;
    if (strcmp(code, "hold") == 0 || strcmp(code, "cat") == 0)
        return;
    if (strncmp(code, "flood ", 6) == 0) {
        fake_flood(link);
        return;
    }
    if (strncmp(code, "print ", 6) == 0)
        fake_output(link, 1, code + 6);
    else if (strcmp(code, "both") == 0)
        fake_both(link);
    else if (strcmp(code, "echo") == 0)
        fake_output(link, 1, link->echo);
    else if (strcmp(code, "bytes") == 0)
        fake_output(link, 1, "a\xff\xc3(\xe2\x82z");
    else if (strcmp(code, "artifact") == 0)
        fake_artifacts(link);
    if (strncmp(code, "cause ", 6) == 0)
        fake_cause(link, code + 6);
    else if (strncmp(code, "kill ", 5) == 0)
        fake_end(link, PD_CAUSE_SIGNALED, 128 + atoi(code + 5), atoi(code + 5));
    else if (strcmp(code, "lose") == 0)
        fake_end(link, PD_CAUSE_LOST, 0, 0);
    else
        fake_end(link, PD_CAUSE_EXITED, strncmp(code, "exit ", 5) == 0 ? atoi(code + 5) : 0, 0);
}

static char *fake_echo(const struct pd_run_request *request)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    for (size_t i = 0; i < request->args.count; i++)
        fprintf(out, "arg %s\n", request->args.items[i]);
    for (size_t i = 0; i < request->env.count; i++)
        fprintf(out, "env %s\n", request->env.items[i]);
    for (size_t i = 0; i < request->n_files; i++)
        fprintf(out, "file %s %.*s\n", request->files[i].path, (int)request->files[i].len,
                (const char *)request->files[i].data);
    fprintf(out, "stdin %.*s\nlanguage %s\ntimeout %lld\n", (int)request->stdin_len,
            (const char *)request->stdin_data, request->language, (long long)request->timeout_ms);
    fclose(out);
    return text;
}

int pd_link_run(struct pd_link *link, const struct pd_run_request *request,
                const struct pd_run_events *events, void *arg, struct pd_err *err)
{
    int delay_ms = 0;

    if (link->events)
        return pd_err_set(err, PD_CONFLICT, "a run is under way");
    snprintf(link->code, sizeof link->code, "%.*s", (int)request->code_len,
             (const char *)request->code);
    pd_strcpy(link->last_code, sizeof link->last_code, link->code);
    if (strcmp(link->code, "invalid") == 0)
        return pd_err_set(err, PD_INVALID, "the agent cannot take this");
    if (strcmp(link->code, "refuse") == 0)
        return pd_err_set(err, PD_UNAVAILABLE, "the link is down");
    if (strncmp(link->code, "sleep ", 6) == 0)
        delay_ms = atoi(link->code + 6);
    if (strncmp(link->code, "flood ", 6) == 0)
        link->flood_left = (size_t)atol(link->code + 6);
    free(link->echo);
    link->echo = fake_echo(request);
    link->events = events;
    link->arg = arg;
    link->canceled = false;
    link->started = false;
    link->window = PD_RUN_OUTPUT_WINDOW_BYTES;
    link->runs++;
    uv_timer_start(&link->timer, fake_on_timer, (uint64_t)delay_ms, 0);
    return 0;
}

void pd_run_grant(struct pd_link *link, size_t bytes)
{
    link->granted += bytes;
    link->window += bytes;
    if (link->events && link->started && link->flood_left > 0)
        uv_timer_start(&link->timer, fake_on_timer, 0, 0);
}

int pd_run_stdin(struct pd_link *link, const void *data, size_t len, struct pd_err *err)
{
    if (link->stdin_full)
        return pd_err_set(err, PD_LIMIT, "full");
    if (link->events && strcmp(link->code, "cat") == 0)
        link->events->output(link->arg, 1, data, len);
    return 0;
}

void pd_run_stdin_eof(struct pd_link *link)
{
    if (link->events && strcmp(link->code, "cat") == 0)
        fake_end(link, PD_CAUSE_EXITED, 0, 0);
}

void pd_run_signal(struct pd_link *link, int signo)
{
    link->last_signal = signo;
}

void pd_run_resize(struct pd_link *link, uint16_t rows, uint16_t cols)
{
    link->rows = rows;
    link->cols = cols;
}

void pd_run_cancel(struct pd_link *link)
{
    if (!link->events)
        return;
    link->cancels++;
    link->canceled = true;
    uv_timer_start(&link->timer, fake_on_timer, 0, 0);
}

void pd_link_close(struct pd_link *link, void (*closed)(void *arg), void *arg)
{
    if (link->closing)
        return;
    link->closing = true;
    if (link->events)
        fake_end(link, PD_CAUSE_LOST, 0, 0);
    link->closed = closed;
    link->closed_arg = arg;
    uv_close((uv_handle_t *)&link->timer, fake_on_closed);
}

const struct pd_hello *pd_link_hello(const struct pd_link *link)
{
    return &link->hello;
}

bool pd_link_is_idle(const struct pd_link *link)
{
    return !link->events;
}

int pd_link_spares(const struct pd_link *link, const char *language)
{
    (void)link;
    (void)language;
    return 1;
}

const char *pd_cause_name(enum pd_cause cause)
{
    static const char *const names[] = {
        "exited",          "signaled",        "timed_out", "cpu_exceeded",
        "memory_exceeded", "output_exceeded", "canceled",  "lost"};
    return names[cause];
}

const char *pd_start_name(enum pd_start start)
{
    static const char *const names[] = {"zygote", "spare", "cell", "cold"};
    return names[start];
}

#endif
