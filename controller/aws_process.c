#include "controller/aws_process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "controller/aws_fetch.h"
#include "controller/aws_key.h"

#define WORDS_MAX 64

struct pd_aws_process {
    uv_process_t process;
    uv_pipe_t output;
    uv_timer_t timer;
    int handles;
    bool started, ended, at_eof, over_limit, overdue;
    int64_t status;
    int signal;
    struct pd_buf text;
    pd_aws_process_cb cb;
    void *arg;
};

/* ---- the command's words ---- */

/* Takes one word; 0, or negative at an open quote. */
static int take_word(const char **at, char *out)
{
    char quote = '\0';

    for (; **at && (quote || !strchr(" \t", **at)); (*at)++) {
        if (quote && **at == quote)
            quote = '\0';
        else if (!quote && (**at == '"' || **at == '\''))
            quote = **at;
        else
            *out++ = **at;
    }
    *out = '\0';
    return quote ? -1 : 0;
}

char **pd_aws_words(const char *command)
{
    char **words = pd_calloc(WORDS_MAX + 1, sizeof *words);
    pd_autofree char *word = pd_calloc(strlen(command) + 1, 1);
    size_t n = 0;
    int rc = 0;

    for (const char *at = command; rc == 0;) {
        at += strspn(at, " \t");
        if (!*at)
            break;
        rc = n == WORDS_MAX ? -1 : take_word(&at, word);
        if (rc == 0)
            words[n++] = pd_strdup(word);
    }
    if (rc == 0 && n > 0)
        return words;
    for (size_t i = 0; i < n; i++)
        free(words[i]);
    free(words);
    return NULL;
}

/* ---- the end ---- */

static void tell(struct pd_aws_process *process)
{
    struct pd_err err = {.kind = 0};

    if (!process->started)
        ; /* refused: nobody waits for an answer */
    else if (process->overdue)
        pd_err_set(&err, PD_TIMEOUT, "the credential process did not end");
    else if (process->over_limit)
        pd_err_set(&err, PD_LIMIT, "the credential process prints too much");
    else if (process->status != 0 || process->signal != 0)
        pd_err_set(&err, PD_DENIED, "the credential process ended with %d",
                   process->signal ? 128 + process->signal : (int)process->status);
    if (process->started)
        process->cb(process->arg, err.kind ? &err : NULL,
                    process->text.data ? process->text.data : "", process->text.len);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_aws_process *process = handle->data;

    if (--process->handles > 0)
        return;
    tell(process);
    if (process->text.data)
        pd_wipe(process->text.data, process->text.cap);
    pd_buf_fini(&process->text);
    free(process);
}

static void close_all(struct pd_aws_process *process)
{
    uv_close((uv_handle_t *)&process->process, on_handle_closed);
    uv_close((uv_handle_t *)&process->output, on_handle_closed);
    uv_close((uv_handle_t *)&process->timer, on_handle_closed);
}

/* Its output counts up to the end of file, and its status: both are waited for. */
static void check_end(struct pd_aws_process *process)
{
    if (process->ended && process->at_eof && !uv_is_closing((uv_handle_t *)&process->timer))
        close_all(process);
}

/* ---- while it runs ---- */

void pd_aws_process_kill(struct pd_aws_process *process)
{
    if (!process->ended)
        uv_process_kill(&process->process, SIGKILL);
}

static void on_exit_status(uv_process_t *handle, int64_t status, int signo)
{
    struct pd_aws_process *process = handle->data;

    process->ended = true;
    process->status = status;
    process->signal = signo;
    check_end(process);
}

static void on_overdue(uv_timer_t *timer)
{
    struct pd_aws_process *process = timer->data;

    process->overdue = true;
    pd_aws_process_kill(process);
    process->at_eof = true; /* what it left behind may keep the pipe open */
    check_end(process);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    struct pd_aws_process *process = handle->data;
    char *room = pd_buf_reserve(&process->text, 4096, NULL);

    (void)wanted;
    process->over_limit |= !room;
    *buf = uv_buf_init(room, room ? 4096 : 0);
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct pd_aws_process *process = stream->data;

    (void)buf;
    if (n >= 0) {
        process->text.len += (size_t)n;
        process->text.data[process->text.len] = '\0';
        return;
    }
    if (process->over_limit)
        pd_aws_process_kill(process);
    uv_read_stop(stream);
    process->at_eof = true;
    check_end(process);
}

int pd_aws_process_begin(uv_loop_t *loop, char **argv, pd_aws_process_cb cb, void *arg,
                         struct pd_aws_process **ret_process, struct pd_err *err)
{
    struct pd_aws_process *process = PD_NEW(struct pd_aws_process);
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&process->output},
        {.flags = UV_IGNORE},
    };
    const uv_process_options_t options = {
        .file = argv[0], .args = argv, .exit_cb = on_exit_status, .stdio = stdio, .stdio_count = 3};
    int rc;

    process->cb = cb;
    process->arg = arg;
    process->handles = 3;
    pd_buf_init(&process->text, PD_AWS_ANSWER_BYTES_MAX);
    uv_pipe_init(loop, &process->output, 0);
    uv_timer_init(loop, &process->timer);
    process->process.data = process->output.data = process->timer.data = process;
    rc = uv_spawn(loop, &process->process, &options);
    if (rc < 0) {
        close_all(process);
        return pd_err_set(err, PD_INVALID, "credential_process '%.100s': %s", argv[0],
                          uv_strerror(rc));
    }
    process->started = true;
    uv_timer_start(&process->timer, on_overdue, PD_AWS_PROCESS_TIMEOUT_MS, 0);
    uv_read_start((uv_stream_t *)&process->output, on_alloc, on_output);
    *ret_process = process;
    return 0;
}
