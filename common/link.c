#include "common/link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/link_frames.h"
#include "common/link_state.h"
#include "common/mem.h"

/* What an earlier attacher may have left in the stream before our sync marker. */
#define STALE_BYTES_MAX (4u * 1024 * 1024)

/* ---- failing ---- */

static void tell_down(struct pd_link *link)
{
    uv_timer_stop(&link->timer);
    pd_link_lose_run(link, link->failure.msg);
    if (link->state == LINK_DOWN)
        link->events->down(link->arg, link, &link->failure);
}

static void on_tick(uv_timer_t *timer);

/* The owner hears of it from the loop, not from within its own call. */
void pd_link_fail(struct pd_link *link, int kind, const char *why)
{
    if (link->state >= LINK_DOWN)
        return;
    link->state = LINK_DOWN;
    pd_err_set(&link->failure, kind, "%s", why);
    link->stream->ops->read(link->stream, false);
    uv_timer_start(&link->timer, on_tick, 0, 0);
}

/* ---- speaking ---- */

int pd_link_send_frames(struct pd_link *link, const struct pd_wire *wire, struct pd_err *err)
{
    int result = link->stream->ops->write(link->stream, wire->data, wire->len, err);

    if (result < 0)
        pd_link_fail(link, result, "the stream to the agent does not take more");
    return result;
}

void pd_link_begin(struct pd_link *link, struct pd_wire *wire, enum pd_frame_type type)
{
    pd_wire_begin(wire, type, link->epoch, link->seq_out++);
}

/* A frame with at most one field of data. */
int pd_link_send_data(struct pd_link *link, enum pd_frame_type type, const void *data, size_t len,
                      struct pd_err *err)
{
    uint8_t storage[PD_FRAME_DATA_MAX + 64];
    struct pd_wire wire;

    pd_wire_init(&wire, storage, sizeof storage);
    pd_link_begin(link, &wire, type);
    if (data)
        pd_wire_bytes(&wire, PD_FIELD_DATA, data, len);
    pd_wire_end(&wire);
    return pd_link_send_frames(link, &wire, err);
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
        pd_link_fail(link, err.kind, err.msg);
    else
        pd_link_send_frames(link, &wire, &err);
}

/* ---- hearing ---- */

void pd_link_become_ready(struct pd_link *link)
{
    link->state = LINK_READY;
    uv_timer_start(&link->timer, on_tick, PD_LINK_PING_INTERVAL_MS, PD_LINK_PING_INTERVAL_MS);
    link->events->ready(link->arg, link, &link->hello);
}

static void on_hello(struct pd_link *link, const struct pd_frame *frame)
{
    if (link->state != LINK_OPENING || !pd_link_decode_hello(frame, &link->hello))
        pd_link_fail(link, PD_INVALID, "a HELLO that is none");
    else if (!pd_link_ask_to_move(link))
        pd_link_become_ready(link);
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

static void on_fault(struct pd_link *link, const struct pd_frame *frame)
{
    char why[200] = "the agent gave up";
    struct pd_field text;

    if (pd_link_field(frame, PD_FIELD_TEXT, &text))
        snprintf(why, sizeof why, "the agent gave up: %.*s", (int)(text.len & 0x7f),
                 (const char *)text.data);
    pd_link_fail(link, PD_UNAVAILABLE, why);
}

static void on_frame(struct pd_link *link, const struct pd_frame *frame)
{
    if (frame->type == PD_FRAME_FAULT) {
        on_fault(link, frame);
        return;
    }
    if (frame->epoch != link->epoch || frame->sequence != link->seq_in) {
        pd_link_fail(link, PD_INVALID, "a gap in what the agent says, or a stale epoch");
        return;
    }
    link->seq_in++;
    if (frame->type == PD_FRAME_HELLO)
        on_hello(link, frame);
    else if (link->state == LINK_OPENING)
        pd_link_fail(link, PD_INVALID, "a frame before the agent's HELLO");
    else if (frame->type == PD_FRAME_MOVED)
        pd_link_on_moved(link, frame);
    else if (frame->type == PD_FRAME_SPARES)
        on_spares(link, frame);
    else if (frame->type == PD_FRAME_VERSION)
        on_version(link, frame);
    else if (frame->type < PD_FRAME_HELLO && frame->type != PD_FRAME_WINDOW)
        pd_link_fail(link, PD_INVALID, "a frame that only services send");
    else
        pd_link_on_run_frame(link, frame);
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
            pd_link_fail(link, PD_INVALID, "bytes from the agent that are no frame");
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
        pd_link_fail(link, PD_LIMIT, "no sign of the agent in what its stream brings");
}

static void take_whole(struct pd_link *link, const char *data, size_t len)
{
    size_t took = 0;

    if (link->state == LINK_READY && link->in.len == 0)
        took = take_frames(link, data, len);
    if (took == len || link->state >= LINK_DOWN)
        return;
    if (pd_buf_add(&link->in, data + took, len - took, NULL) < 0) {
        pd_link_fail(link, PD_LIMIT, "more from the agent than a frame may have");
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
        pd_link_fail(link, PD_INVALID, "more from the agent after it had left");
}

static void on_stream_end(void *arg, const struct pd_err *err)
{
    pd_link_fail(arg, PD_UNAVAILABLE, err ? err->msg : "the stream to the agent ended");
}

void pd_link_use_stream(struct pd_link *link, struct pd_stream *stream)
{
    link->stream = stream;
    stream->on_data = on_data;
    stream->on_end = on_stream_end;
    stream->arg = link;
}

/* ---- time ---- */

static void on_tick(uv_timer_t *timer)
{
    struct pd_link *link = timer->data;
    struct pd_time now = pd_time_now();

    if (link->state == LINK_DOWN) {
        tell_down(link);
    } else if (link->state < LINK_READY) {
        pd_link_fail(link, PD_TIMEOUT,
                     link->state < LINK_MOVING ? "no HELLO from the agent"
                                               : "the agent did not come to its direct pipes");
    } else if (!link->is_quiet) {
        link->is_quiet = true;
        link->heard = now;
    } else if (pd_time_ms_between(link->heard, now) > PD_LINK_PING_TIMEOUT_MS) {
        pd_link_fail(link, PD_TIMEOUT, "the agent does not answer");
    } else {
        pd_link_send_data(link, PD_FRAME_PING, NULL, 0, NULL);
    }
}

/* ---- life ---- */

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
    pd_link_use_stream(link, stream);
    send_attach(link, config);
    link->seq_out = 0; /* the agent counts from its ATTACH on */
    if (link->state != LINK_DOWN)
        stream->ops->read(stream, true);
    return link;
}

void pd_link_part_closed(void *arg)
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
    pd_link_part_closed(handle->data);
}

void pd_link_close(struct pd_link *link, void (*closed)(void *arg), void *arg)
{
    if (link->state == LINK_CLOSING)
        return;
    link->state = LINK_CLOSING;
    link->closed = closed;
    link->closed_arg = arg;
    pd_link_lose_run(link,
                     link->failure.kind ? link->failure.msg : "the sandbox is being destroyed");
    pd_link_stop_moving(link);
    uv_close((uv_handle_t *)&link->timer, on_timer_closed);
    link->stream->ops->close(link->stream, pd_link_part_closed, link);
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
