#include "common/link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/buf.h"
#include "common/direct.h"
#include "common/link_frames.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proto.h"
#include "common/time.h"

/* What an earlier attacher may have left in the stream before our sync marker. */
#define STALE_BYTES_MAX (4u * 1024 * 1024)
/* Consumed output is granted back in pieces of at least this. */
#define GRANT_BYTES_MIN (48u * 1024)
/* Code and stdin up to this travel inside the RUN frame. */
#define INLINE_BYTES_MAX 24000u
#define STDIN_BYTES_MAX (32u * 1024 * 1024)

enum link_state {
    LINK_SYNCING, /* looking for the marker that our ATTACH asked for */
    LINK_OPENING, /* found; HELLO must follow */
    LINK_MOVING,  /* the agent was asked to go on by its direct pipes */
    LINK_LEAVING, /* it does; it is awaited there */
    LINK_READY,
    LINK_DOWN,    /* failed; the owner is told, or about to be */
    LINK_CLOSING,
};

struct run {
    const struct pd_run_events *events; /* NULL: none under way */
    void *arg;
    size_t consumed;     /* output consumed, not granted yet */
    struct pd_buf stdin_wait;
    size_t stdin_credit; /* bytes that the agent will take now */
    bool stdin_eof;      /* to be sent when stdin_wait is empty */
    bool stdin_closed;
    bool stdin_full; /* more was offered than fits */
};

struct pd_link {
    uv_loop_t *loop;
    struct pd_stream *stream;
    char *direct_folder;           /* NULL: none */
    struct pd_direct *direct;      /* while the agent is awaited there */
    struct pd_stream *next_stream; /* the agent has come there, not left here yet */
    struct pd_pool_spec *spec;
    const struct pd_link_events *events;
    void *arg;
    enum link_state state;
    uint32_t epoch;
    uint32_t seq_out, seq_in;
    uint8_t sync[PD_SYNC_BYTES];
    size_t stale_bytes;
    struct pd_buf in; /* an incomplete frame, or what is searched for the marker */
    struct pd_hello hello;
    int spares[PD_LANGUAGES_MAX]; /* as hello.languages */
    struct run run;
    struct pd_err failure;
    uv_timer_t timer;   /* HELLO deadline, then pings; at once for a failure to be told */
    bool is_quiet;      /* nothing came since the last tick */
    struct pd_time heard;
    int open_handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

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

/* ---- failing ---- */

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

static void lose_run(struct pd_link *link, const char *why)
{
    struct pd_run_result lost = {
        .cause = PD_CAUSE_LOST,
        .exit_code = 255,
        .usage.memory_method = "rusage",
        .message = why,
    };

    end_run(link, &lost);
}

static void tell_down(struct pd_link *link)
{
    uv_timer_stop(&link->timer);
    lose_run(link, link->failure.msg);
    if (link->state == LINK_DOWN)
        link->events->down(link->arg, link, &link->failure);
}

static void on_tick(uv_timer_t *timer);

/* The owner hears of it from the loop, not from within its own call. */
static void fail(struct pd_link *link, int kind, const char *why)
{
    if (link->state >= LINK_DOWN)
        return;
    link->state = LINK_DOWN;
    pd_err_set(&link->failure, kind, "%s", why);
    link->stream->ops->read(link->stream, false);
    uv_timer_start(&link->timer, on_tick, 0, 0);
}

/* ---- speaking ---- */

static int send_frames(struct pd_link *link, const struct pd_wire *wire, struct pd_err *err)
{
    int result = link->stream->ops->write(link->stream, wire->data, wire->len, err);

    if (result < 0)
        fail(link, result, "the stream to the agent does not take more");
    return result;
}

static void begin(struct pd_link *link, struct pd_wire *wire, enum pd_frame_type type)
{
    pd_wire_begin(wire, type, link->epoch, link->seq_out++);
}

/* A frame with at most one field of data. */
static int send_data(struct pd_link *link, enum pd_frame_type type, const void *data, size_t len,
                     struct pd_err *err)
{
    uint8_t storage[PD_FRAME_DATA_MAX + 64];
    struct pd_wire wire;

    pd_wire_init(&wire, storage, sizeof storage);
    begin(link, &wire, type);
    if (data)
        pd_wire_bytes(&wire, PD_FIELD_DATA, data, len);
    pd_wire_end(&wire);
    return send_frames(link, &wire, err);
}

static void send_number(struct pd_link *link, enum pd_frame_type type, enum pd_field_tag tag,
                        uint64_t number)
{
    uint8_t storage[64];
    struct pd_wire wire;

    pd_wire_init(&wire, storage, sizeof storage);
    begin(link, &wire, type);
    pd_wire_number(&wire, tag, number);
    pd_wire_end(&wire);
    send_frames(link, &wire, NULL);
}

static void send_attach(struct pd_link *link, const struct pd_link_config *config)
{
    pd_autofree uint8_t *storage = pd_calloc(PD_FRAME_BYTES_MAX, 1);
    struct pd_wire wire;
    struct pd_err err;

    memcpy(link->sync, PD_SYNC_MAGIC, 8);
    if (getrandom(link->sync + 8, 8, 0) != 8)
        abort();
    pd_wire_init(&wire, storage, PD_FRAME_BYTES_MAX);
    if (pd_link_encode_attach(&wire, config, link->sync + 8, &err) < 0)
        fail(link, err.kind, err.msg);
    else
        send_frames(link, &wire, &err);
}

/* ---- stdin ---- */

static void pump_stdin(struct pd_link *link)
{
    struct run *run = &link->run;

    while (run->stdin_wait.len > 0 && run->stdin_credit > 0) {
        size_t len = run->stdin_wait.len;
        if (len > run->stdin_credit)
            len = run->stdin_credit;
        if (len > PD_FRAME_DATA_MAX)
            len = PD_FRAME_DATA_MAX;
        if (send_data(link, PD_FRAME_STDIN, run->stdin_wait.data, len, NULL) < 0)
            return;
        run->stdin_credit -= len;
        pd_buf_consume(&run->stdin_wait, len);
    }
    if (run->stdin_eof && run->stdin_wait.len == 0 && !run->stdin_closed) {
        run->stdin_closed = true;
        send_data(link, PD_FRAME_STDIN_EOF, NULL, 0, NULL);
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

/* ---- to the direct pipes ---- */

static void on_part_closed(void *arg);

static void become_ready(struct pd_link *link)
{
    link->state = LINK_READY;
    uv_timer_start(&link->timer, on_tick, PD_LINK_PING_INTERVAL_MS, PD_LINK_PING_INTERVAL_MS);
    link->events->ready(link->arg, link, &link->hello);
}

static void stop_listening(struct pd_link *link)
{
    if (link->direct)
        pd_direct_close(link->direct, on_part_closed, link);
    link->direct = NULL;
}

static void drop_next_stream(struct pd_link *link)
{
    if (link->next_stream)
        link->next_stream->ops->close(link->next_stream, NULL, NULL);
    link->next_stream = NULL;
}

static void use_stream(struct pd_link *link, struct pd_stream *stream);

/* The agent has both left here and come there. */
static void arrive(struct pd_link *link)
{
    struct pd_stream *old = link->stream;

    stop_listening(link);
    link->open_handles++;
    use_stream(link, link->next_stream);
    link->next_stream = NULL;
    old->ops->close(old, on_part_closed, link);
    become_ready(link);
    link->stream->ops->read(link->stream, true);
}

static void on_direct(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct pd_link *link = arg;

    if (err) {
        fail(link, err->kind, err->msg);
        return;
    }
    link->next_stream = stream;
    if (link->state == LINK_LEAVING)
        arrive(link);
}

static void on_moved(struct pd_link *link, const struct pd_frame *frame)
{
    struct pd_field why;
    char text[128];

    if (link->state != LINK_MOVING) {
        fail(link, PD_INVALID, "a MOVED that nobody asked for");
    } else if (pd_link_field(frame, PD_FIELD_ERROR, &why)) {
        snprintf(text, sizeof text, "%.*s", (int)(why.len & 0x7f), (const char *)why.data);
        pd_log(PD_LOG_DEBUG, "link", "the agent stays at the engine's stream", "why", text, NULL);
        stop_listening(link);
        drop_next_stream(link);
        become_ready(link);
    } else {
        link->state = LINK_LEAVING;
        if (link->next_stream)
            arrive(link);
    }
}

static bool ask_to_move(struct pd_link *link)
{
    uint8_t secret[PD_DIRECT_SECRET_BYTES];
    struct pd_err err;

    if (!link->direct_folder)
        return false;
    if (getrandom(secret, sizeof secret, 0) != sizeof secret)
        abort();
    if (pd_direct_open(link->loop, link->direct_folder, secret, on_direct, link,
                         &link->direct, &err) < 0) {
        pd_log(PD_LOG_DEBUG, "link", "no direct pipes", "err", err.msg, NULL);
        return false;
    }
    link->open_handles++;
    link->state = LINK_MOVING;
    send_data(link, PD_FRAME_MOVE, secret, sizeof secret, NULL);
    return true;
}

/* ---- hearing ---- */

static void on_hello(struct pd_link *link, const struct pd_frame *frame)
{
    if (link->state != LINK_OPENING || !pd_link_decode_hello(frame, &link->hello))
        fail(link, PD_INVALID, "a HELLO that is none");
    else if (!ask_to_move(link))
        become_ready(link);
}

static struct pd_hello_language *language_named(struct pd_link *link, const struct pd_field *name)
{
    for (size_t i = 0; i < link->hello.n_languages; i++) {
        struct pd_hello_language *language = &link->hello.languages[i];
        if (strlen(language->name) == name->len &&
            memcmp(language->name, name->data, name->len) == 0)
            return language;
    }
    return NULL;
}

static void tell_changed(struct pd_link *link)
{
    if (link->events->changed && link->state == LINK_READY)
        link->events->changed(link->arg, link);
}

static void on_spares(struct pd_link *link, const struct pd_frame *frame)
{
    struct pd_hello_language *language = NULL;
    struct pd_fields fields;
    struct pd_field field;

    memset(link->spares, 0, sizeof link->spares);
    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_NAME)
            language = language_named(link, &field);
        if (field.tag == PD_FIELD_COUNT && language)
            link->spares[language - link->hello.languages] = (int)(pd_field_number(&field) & 0xff);
    }
    tell_changed(link);
}

static void on_version(struct pd_link *link, const struct pd_frame *frame)
{
    struct pd_field name, text;
    struct pd_hello_language *language;

    if (!pd_link_field(frame, PD_FIELD_NAME, &name) || !pd_link_field(frame, PD_FIELD_TEXT, &text))
        return;
    language = language_named(link, &name);
    if (!language)
        return;
    snprintf(language->version, sizeof language->version, "%.*s", (int)(text.len & 0xff),
             (const char *)text.data);
    tell_changed(link);
}

static void on_started(struct pd_link *link, const struct pd_frame *frame)
{
    struct pd_field start;
    uint64_t number = PD_START_COLD;

    if (pd_link_field(frame, PD_FIELD_START, &start))
        number = pd_field_number(&start);
    if (link->run.events->started)
        link->run.events->started(link->run.arg, number < PD_START_COLD ? (enum pd_start)number
                                                                        : PD_START_COLD);
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
                               pd_link_field(frame, PD_FIELD_LAST, &last),
                               error[0] ? error : NULL);
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
        fail(link, PD_INVALID, "an EXIT that is none");
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

static void on_run_frame(struct pd_link *link, const struct pd_frame *frame)
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

static void on_fault(struct pd_link *link, const struct pd_frame *frame)
{
    char why[200] = "the agent gave up";
    struct pd_field text;

    if (pd_link_field(frame, PD_FIELD_TEXT, &text))
        snprintf(why, sizeof why, "the agent gave up: %.*s", (int)(text.len & 0x7f),
                 (const char *)text.data);
    fail(link, PD_UNAVAILABLE, why);
}

static void on_frame(struct pd_link *link, const struct pd_frame *frame)
{
    if (frame->type == PD_FRAME_FAULT) {
        on_fault(link, frame);
        return;
    }
    if (frame->epoch != link->epoch || frame->sequence != link->seq_in) {
        fail(link, PD_INVALID, "a gap in what the agent says, or a stale epoch");
        return;
    }
    link->seq_in++;
    if (frame->type == PD_FRAME_HELLO)
        on_hello(link, frame);
    else if (link->state == LINK_OPENING)
        fail(link, PD_INVALID, "a frame before the agent's HELLO");
    else if (frame->type == PD_FRAME_MOVED)
        on_moved(link, frame);
    else if (frame->type == PD_FRAME_SPARES)
        on_spares(link, frame);
    else if (frame->type == PD_FRAME_VERSION)
        on_version(link, frame);
    else if (frame->type < PD_FRAME_HELLO && frame->type != PD_FRAME_WINDOW)
        fail(link, PD_INVALID, "a frame that only services send");
    else
        on_run_frame(link, frame);
}

/* Bytes taken from the front of `data`. */
static size_t take_frames(struct pd_link *link, const char *data, size_t len)
{
    const struct pd_stream *stream = link->stream;
    size_t at = 0;

    while (link->stream == stream && (link->state == LINK_OPENING || link->state == LINK_MOVING ||
                                      link->state == LINK_READY)) {
        struct pd_frame frame;
        int64_t took = pd_frame_parse(data + at, len - at, &frame);
        if (took < 0)
            fail(link, PD_INVALID, "bytes from the agent that are no frame");
        if (took <= 0)
            break;
        at += (size_t)took;
        on_frame(link, &frame);
    }
    return at;
}

/* Skip what is left of an earlier attacher, up to our marker. */
static void find_sync(struct pd_link *link)
{
    const char *found = memmem(link->in.data, link->in.len, link->sync, PD_SYNC_BYTES);
    size_t skip = link->in.len < PD_SYNC_BYTES ? 0 : link->in.len - (PD_SYNC_BYTES - 1);

    if (found) {
        link->state = LINK_OPENING;
        skip = (size_t)(found - link->in.data) + PD_SYNC_BYTES;
    }
    link->stale_bytes += skip;
    pd_buf_consume(&link->in, skip);
    if (link->state == LINK_SYNCING && link->stale_bytes > STALE_BYTES_MAX)
        fail(link, PD_LIMIT, "no sign of the agent in what its stream brings");
}

static void take_whole(struct pd_link *link, const char *data, size_t len)
{
    size_t took = 0;

    if (link->state == LINK_READY && link->in.len == 0)
        took = take_frames(link, data, len);
    if (took == len || link->state >= LINK_DOWN)
        return;
    if (pd_buf_add(&link->in, data + took, len - took, NULL) < 0) {
        fail(link, PD_LIMIT, "more from the agent than a frame may have");
        return;
    }
    if (took > 0)
        return;
    if (link->state == LINK_SYNCING)
        find_sync(link);
    if (link->in.len > 0)
        pd_buf_consume(&link->in, take_frames(link, link->in.data, link->in.len));
}

static void on_data(void *arg, const void *data, size_t len)
{
    struct pd_link *link = arg;
    const struct pd_stream *stream = link->stream;

    link->is_quiet = false;
    take_whole(link, data, len);
    if (link->in.len > 0 && (link->stream != stream || link->state == LINK_LEAVING))
        fail(link, PD_INVALID, "more from the agent after it had left");
}

static void on_stream_end(void *arg, const struct pd_err *err)
{
    fail(arg, PD_UNAVAILABLE, err ? err->msg : "the stream to the agent ended");
}

/* ---- time ---- */

static void on_tick(uv_timer_t *timer)
{
    struct pd_link *link = timer->data;
    struct pd_time now = pd_time_now();

    if (link->state == LINK_DOWN) {
        tell_down(link);
    } else if (link->state < LINK_READY) {
        fail(link, PD_TIMEOUT,
             link->state < LINK_MOVING ? "no HELLO from the agent"
                                       : "the agent did not come to its direct pipes");
    } else if (!link->is_quiet) {
        link->is_quiet = true;
        link->heard = now;
    } else if (pd_time_ms_between(link->heard, now) > PD_LINK_PING_TIMEOUT_MS) {
        fail(link, PD_TIMEOUT, "the agent does not answer");
    } else {
        send_data(link, PD_FRAME_PING, NULL, 0, NULL);
    }
}

/* ---- life ---- */

static void use_stream(struct pd_link *link, struct pd_stream *stream)
{
    link->stream = stream;
    stream->on_data = on_data;
    stream->on_end = on_stream_end;
    stream->arg = link;
}

struct pd_link *pd_link_open(uv_loop_t *loop, struct pd_stream *stream,
                             const struct pd_link_config *config,
                             const struct pd_link_events *events, void *arg)
{
    struct pd_link *link = PD_NEW(struct pd_link);

    link->loop = loop;
    link->spec = pd_pool_spec_ref(config->spec);
    link->events = events;
    link->arg = arg;
    link->epoch = config->epoch;
    link->open_handles = 2;
    /* A stream delivers what it read at once, more than one frame at times. */
    pd_buf_init(&link->in, PD_FRAME_BYTES_MAX * 8);
    uv_timer_init(loop, &link->timer);
    link->timer.data = link;
    uv_timer_start(&link->timer, on_tick, PD_LINK_HELLO_TIMEOUT_MS, 0);
    link->direct_folder = stream->direct_folder ? pd_strdup(stream->direct_folder) : NULL;
    use_stream(link, stream);
    send_attach(link, config);
    link->seq_out = 0; /* the agent counts from its ATTACH on */
    if (link->state != LINK_DOWN)
        stream->ops->read(stream, true);
    return link;
}

static void on_part_closed(void *arg)
{
    struct pd_link *link = arg;
    void (*closed)(void *) = link->closed;
    void *closed_arg = link->closed_arg;

    if (--link->open_handles > 0)
        return;
    pd_pool_spec_unref(link->spec);
    pd_buf_fini(&link->in);
    free(link->direct_folder);
    free(link);
    if (closed)
        closed(closed_arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

void pd_link_close(struct pd_link *link, void (*closed)(void *arg), void *arg)
{
    if (link->state == LINK_CLOSING)
        return;
    link->state = LINK_CLOSING;
    link->closed = closed;
    link->closed_arg = arg;
    lose_run(link, link->failure.kind ? link->failure.msg : "the sandbox is being destroyed");
    stop_listening(link);
    drop_next_stream(link);
    uv_close((uv_handle_t *)&link->timer, on_timer_closed);
    link->stream->ops->close(link->stream, on_part_closed, link);
}

const struct pd_hello *pd_link_hello(const struct pd_link *link)
{
    return link->state == LINK_READY ? &link->hello : NULL;
}

bool pd_link_is_idle(const struct pd_link *link)
{
    return link->state == LINK_READY && !link->run.events;
}

int pd_link_spares(const struct pd_link *link, const char *language)
{
    for (size_t i = 0; i < link->hello.n_languages; i++) {
        if (strcmp(link->hello.languages[i].name, language) == 0)
            return link->spares[i];
    }
    return 0;
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
    begin(link, &wire, PD_FRAME_FILE);
    if (path)
        pd_wire_text(&wire, PD_FIELD_PATH, path);
    pd_wire_end(&wire);
    result = send_frames(link, &wire, err);
    for (size_t at = 0; at < len && result == 0; at += PD_FRAME_DATA_MAX) {
        size_t piece = len - at < PD_FRAME_DATA_MAX ? len - at : PD_FRAME_DATA_MAX;
        result = send_data(link, PD_FRAME_DATA, (const char *)data + at, piece, err);
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
    return result < 0 ? result : send_data(link, PD_FRAME_START, NULL, 0, err);
}

static int send_run(struct pd_link *link, const struct pd_run_request *request, bool code_inline,
                    bool stdin_inline, struct pd_err *err)
{
    uint8_t storage[PD_FRAME_BYTES_MAX];
    struct pd_wire wire;

    pd_wire_init(&wire, storage, sizeof storage);
    begin(link, &wire, PD_FRAME_RUN);
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
    return send_frames(link, &wire, err);
}

int pd_link_run(struct pd_link *link, const struct pd_run_request *request,
                const struct pd_run_events *events, void *arg, struct pd_err *err)
{
    struct run *run = &link->run;
    bool code_inline = request->code_len <= INLINE_BYTES_MAX;
    bool stdin_inline = !request->stdin_open && request->stdin_len <= INLINE_BYTES_MAX / 2;
    int result = check_request(link, request, err);

    if (result == 0)
        result = send_run(link, request, code_inline, stdin_inline, err);
    if (result == 0 && (!code_inline || request->n_files > 0))
        result = send_files(link, request, !code_inline, err);
    if (result < 0)
        return result;
    *run = (struct run){.events = events, .arg = arg, .stdin_credit = PD_RUN_STDIN_WINDOW_BYTES};
    pd_buf_init(&run->stdin_wait, STDIN_BYTES_MAX + PD_RUN_STDIN_WINDOW_BYTES);
    run->stdin_closed = stdin_inline;
    run->stdin_eof = !request->stdin_open;
    if (!stdin_inline && pd_buf_add(&run->stdin_wait, request->stdin_data, request->stdin_len, err) == 0)
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
    begin(link, &wire, PD_FRAME_RESIZE);
    pd_wire_number(&wire, PD_FIELD_ROWS, rows);
    pd_wire_number(&wire, PD_FIELD_COLS, cols);
    pd_wire_end(&wire);
    send_frames(link, &wire, NULL);
}

void pd_run_cancel(struct pd_link *link)
{
    if (link->run.events)
        send_data(link, PD_FRAME_CANCEL, NULL, 0, NULL);
}
