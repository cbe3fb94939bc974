/* One run over a link: what is sent for it, and what comes of it. */
#include <stdio.h>
#include <string.h>

#include "common/link_frames.h"
#include "common/link_state.h"
#include "common/mem.h"

/* Consumed output is granted back in pieces of at least this. */
#define GRANT_BYTES_MIN (48u * 1024)
/* Code and stdin up to this travel inside the RUN frame. */
#define INLINE_BYTES_MAX 24000u
#define STDIN_BYTES_MAX (32u * 1024 * 1024)

static const char *const cause_names[] = {
    [PD_CAUSE_EXITED] = "exited",
    [PD_CAUSE_SIGNALED] = "signaled",
    [PD_CAUSE_TIMED_OUT] = "timed_out",
    [PD_CAUSE_CPU_EXCEEDED] = "cpu_exceeded",
    [PD_CAUSE_MEMORY_EXCEEDED] = "memory_exceeded",
    [PD_CAUSE_OUTPUT_EXCEEDED] = "output_exceeded",
    [PD_CAUSE_CANCELED] = "canceled",
    [PD_CAUSE_LOST] = "lost",
};
static const char *const start_names[] = {
    [PD_START_ZYGOTE] = "zygote",
    [PD_START_SPARE] = "spare",
    [PD_START_CELL] = "cell",
    [PD_START_COLD] = "cold",
};

const char *pd_cause_name(enum pd_cause cause)
{
    return cause_names[cause];
}

const char *pd_start_name(enum pd_start start)
{
    return start_names[start];
}

/* ---- its end ---- */

static void end_run(struct pd_link *link, const struct pd_run_result *result)
{
    const struct pd_run_events *events = link->run.events;
    void *arg = link->run.arg;

    if (!events)
        return;
    link->run.events = NULL;
    pd_buf_fini(&link->run.stdin_wait);
    events->ended(arg, result);
}

void pd_link_lose_run(struct pd_link *link, const char *why)
{
    struct pd_run_result lost = {
        .cause = PD_CAUSE_LOST,
        .exit_code = 255,
        .usage.memory_method = "rusage",
        .message = why,
    };

    end_run(link, &lost);
}

/* ---- speaking ---- */

static void send_number(struct pd_link *link, enum pd_frame_type type, enum pd_field_tag tag,
                        uint64_t number)
{
    uint8_t storage[64];
    struct pd_wire wire;

    pd_wire_init(&wire, storage, sizeof storage);
    pd_link_begin(link, &wire, type);
    pd_wire_number(&wire, tag, number);
    pd_wire_end(&wire);
    pd_link_send_frames(link, &wire, NULL);
}

/* ---- stdin ---- */

static void pump_stdin(struct pd_link *link)
{
    struct pd_link_run *run = &link->run;

    while (run->stdin_wait.len > 0 && run->stdin_credit > 0) {
        size_t len = run->stdin_wait.len;
        if (len > run->stdin_credit)
            len = run->stdin_credit;
        if (len > PD_FRAME_DATA_MAX)
            len = PD_FRAME_DATA_MAX;
        if (pd_link_send_data(link, PD_FRAME_STDIN, run->stdin_wait.data, len, NULL) < 0)
            return;
        run->stdin_credit -= len;
        pd_buf_consume(&run->stdin_wait, len);
    }
    if (run->stdin_eof && run->stdin_wait.len == 0 && !run->stdin_closed) {
        run->stdin_closed = true;
        pd_link_send_data(link, PD_FRAME_STDIN_EOF, NULL, 0, NULL);
    }
}

int pd_run_stdin(struct pd_link *link, const void *data, size_t len, struct pd_err *err)
{
    if (!link->run.events || link->run.stdin_eof)
        return 0;
    if (link->run.stdin_wait.len + len > PD_RUN_STDIN_WINDOW_BYTES) {
        link->run.stdin_full = true;
        return pd_err_set(err, PD_LIMIT, "more stdin than the program reads");
    }
    if (pd_buf_add(&link->run.stdin_wait, data, len, err) < 0)
        return PD_LIMIT;
    pump_stdin(link);
    return 0;
}

void pd_run_stdin_eof(struct pd_link *link)
{
    if (!link->run.events)
        return;
    link->run.stdin_eof = true;
    pump_stdin(link);
}

/* ---- hearing ---- */

static void on_started(struct pd_link *link, const struct pd_frame *frame)
{
    struct pd_field start;
    uint64_t number = PD_START_COLD;

    if (pd_link_field(frame, PD_FIELD_START, &start))
        number = pd_field_number(&start);
    if (link->run.events->started)
        link->run.events->started(link->run.arg,
                                  number < PD_START_COLD ? (enum pd_start)number : PD_START_COLD);
}

static void on_stage(struct pd_link *link, const struct pd_frame *frame)
{
    char name[32];
    struct pd_field field;

    if (!link->run.events->stage || !pd_link_field(frame, PD_FIELD_NAME, &field))
        return;
    snprintf(name, sizeof name, "%.*s", (int)(field.len & 0x1f), (const char *)field.data);
    link->run.events->stage(link->run.arg, name);
}

static void on_artifact(struct pd_link *link, const struct pd_frame *frame)
{
    char path[256] = "", error[160] = "";
    struct pd_field field, data = {.data = (const uint8_t *)""}, last;

    if (!link->run.events->artifact)
        return;
    if (pd_link_field(frame, PD_FIELD_PATH, &field))
        snprintf(path, sizeof path, "%.*s", (int)(field.len & 0xff), (const char *)field.data);
    if (pd_link_field(frame, PD_FIELD_ERROR, &field))
        snprintf(error, sizeof error, "%.*s", (int)(field.len & 0xff), (const char *)field.data);
    pd_link_field(frame, PD_FIELD_DATA, &data);
    link->run.events->artifact(link->run.arg, path, data.data, data.len,
                               pd_link_field(frame, PD_FIELD_LAST, &last), error[0] ? error : NULL);
}

static void on_output(struct pd_link *link, const struct pd_frame *frame)
{
    struct pd_field field;

    if (pd_link_field(frame, PD_FIELD_DATA, &field))
        link->run.events->output(link->run.arg, frame->type == PD_FRAME_OUT ? 1 : 2, field.data,
                                 field.len);
}

static void on_exit_frame(struct pd_link *link, const struct pd_frame *frame)
{
    struct pd_run_result result;

    if (pd_link_decode_exit(frame, &result))
        end_run(link, &result);
    else
        pd_link_fail(link, PD_INVALID, "an EXIT that is none");
}

static void on_window(struct pd_link *link, const struct pd_frame *frame)
{
    struct pd_field credit;

    if (pd_link_field(frame, PD_FIELD_CREDIT, &credit))
        link->run.stdin_credit += (size_t)(pd_field_number(&credit) & 0xfffff);
    pump_stdin(link);
    if (link->run.stdin_full && link->run.stdin_wait.len == 0) {
        link->run.stdin_full = false;
        if (link->run.events->stdin_room)
            link->run.events->stdin_room(link->run.arg);
    }
}

void pd_link_on_run_frame(struct pd_link *link, const struct pd_frame *frame)
{
    if (!link->run.events)
        return; /* the tail of a run that was given up */
    switch (frame->type) {
    case PD_FRAME_STARTED:
        on_started(link, frame);
        break;
    case PD_FRAME_STAGE:
        on_stage(link, frame);
        break;
    case PD_FRAME_OUT:
    case PD_FRAME_ERR:
        on_output(link, frame);
        break;
    case PD_FRAME_ARTIFACT:
        on_artifact(link, frame);
        break;
    case PD_FRAME_EXIT:
        on_exit_frame(link, frame);
        break;
    case PD_FRAME_WINDOW:
        on_window(link, frame);
        break;
    default:
        break;
    }
}

/* ---- runs ---- */

static int check_request(const struct pd_link *link, const struct pd_run_request *request,
                         struct pd_err *err)
{
    if (!pd_link_is_idle(link))
        return pd_err_set(err, PD_CONFLICT, "the sandbox is not idle");
    if (request->timeout_ms < 1 || request->output_max_bytes < 0)
        return pd_err_set(err, PD_INVALID, "a timeout or an output limit out of range");
    if (request->stdin_len > STDIN_BYTES_MAX)
        return pd_err_set(err, PD_INVALID, "more than %u bytes of stdin", STDIN_BYTES_MAX);
    for (size_t i = 0; i < request->n_files; i++) {
        int result = pd_link_check_path(request->files[i].path, err);
        if (result < 0)
            return result;
    }
    return 0;
}

static int send_file(struct pd_link *link, const char *path, const void *data, size_t len,
                     struct pd_err *err)
{
    uint8_t storage[512];
    struct pd_wire wire;
    int result;

    pd_wire_init(&wire, storage, sizeof storage);
    pd_link_begin(link, &wire, PD_FRAME_FILE);
    if (path)
        pd_wire_text(&wire, PD_FIELD_PATH, path);
    pd_wire_end(&wire);
    result = pd_link_send_frames(link, &wire, err);
    for (size_t at = 0; at < len && result == 0; at += PD_FRAME_DATA_MAX) {
        size_t piece = len - at < PD_FRAME_DATA_MAX ? len - at : PD_FRAME_DATA_MAX;
        result = pd_link_send_data(link, PD_FRAME_DATA, (const char *)data + at, piece, err);
    }
    return result;
}

static int send_files(struct pd_link *link, const struct pd_run_request *request, bool with_code,
                      struct pd_err *err)
{
    int result = 0;

    if (with_code)
        result = send_file(link, NULL, request->code, request->code_len, err);
    for (size_t i = 0; i < request->n_files && result == 0; i++)
        result = send_file(link, request->files[i].path, request->files[i].data,
                           request->files[i].len, err);
    return result < 0 ? result : pd_link_send_data(link, PD_FRAME_START, NULL, 0, err);
}

static int send_run(struct pd_link *link, const struct pd_run_request *request, bool code_inline,
                    bool stdin_inline, struct pd_err *err)
{
    uint8_t storage[PD_FRAME_BYTES_MAX];
    struct pd_wire wire;

    pd_wire_init(&wire, storage, sizeof storage);
    pd_link_begin(link, &wire, PD_FRAME_RUN);
    pd_link_encode_run(&wire, request);
    if (code_inline)
        pd_wire_bytes(&wire, PD_FIELD_CODE, request->code, request->code_len);
    if (!code_inline || request->n_files > 0)
        pd_wire_flag(&wire, PD_FIELD_MORE);
    if (stdin_inline)
        pd_wire_bytes(&wire, PD_FIELD_DATA, request->stdin_data, request->stdin_len);
    else
        pd_wire_flag(&wire, PD_FIELD_STDIN_OPEN);
    if (!pd_wire_end(&wire)) {
        link->seq_out--;
        return pd_err_set(err, PD_INVALID, "arguments and environment are too large together");
    }
    return pd_link_send_frames(link, &wire, err);
}

int pd_link_run(struct pd_link *link, const struct pd_run_request *request,
                const struct pd_run_events *events, void *arg, struct pd_err *err)
{
    struct pd_link_run *run = &link->run;
    bool code_inline = request->code_len <= INLINE_BYTES_MAX;
    bool stdin_inline = !request->stdin_open && request->stdin_len <= INLINE_BYTES_MAX / 2;
    int result = check_request(link, request, err);

    if (result == 0)
        result = send_run(link, request, code_inline, stdin_inline, err);
    if (result == 0 && (!code_inline || request->n_files > 0))
        result = send_files(link, request, !code_inline, err);
    if (result < 0)
        return result;
    *run = (struct pd_link_run){
        .events = events, .arg = arg, .stdin_credit = PD_RUN_STDIN_WINDOW_BYTES};
    pd_buf_init(&run->stdin_wait, STDIN_BYTES_MAX + PD_RUN_STDIN_WINDOW_BYTES);
    run->stdin_closed = stdin_inline;
    run->stdin_eof = !request->stdin_open;
    if (!stdin_inline &&
        pd_buf_add(&run->stdin_wait, request->stdin_data, request->stdin_len, err) == 0)
        pump_stdin(link);
    return 0;
}

void pd_run_grant(struct pd_link *link, size_t bytes)
{
    if (!link->run.events)
        return;
    link->run.consumed += bytes;
    if (link->run.consumed >= GRANT_BYTES_MIN) {
        send_number(link, PD_FRAME_WINDOW, PD_FIELD_CREDIT, link->run.consumed);
        link->run.consumed = 0;
    }
}

void pd_run_signal(struct pd_link *link, int signo)
{
    if (link->run.events)
        send_number(link, PD_FRAME_SIGNAL, PD_FIELD_SIGNO, (uint64_t)signo);
}

void pd_run_resize(struct pd_link *link, uint16_t rows, uint16_t cols)
{
    uint8_t storage[64];
    struct pd_wire wire;

    if (!link->run.events)
        return;
    pd_wire_init(&wire, storage, sizeof storage);
    pd_link_begin(link, &wire, PD_FRAME_RESIZE);
    pd_wire_number(&wire, PD_FIELD_ROWS, rows);
    pd_wire_number(&wire, PD_FIELD_COLS, cols);
    pd_wire_end(&wire);
    pd_link_send_frames(link, &wire, NULL);
}

void pd_run_cancel(struct pd_link *link)
{
    if (link->run.events)
        pd_link_send_data(link, PD_FRAME_CANCEL, NULL, 0, NULL);
}
