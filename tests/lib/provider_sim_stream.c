#include "tests/lib/provider_sim_stream.h"

#include <assert.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/proto.h"

struct provider_sim_stream {
    struct pd_stream stream; /* first */
    struct provider_sim *sim;
    struct provider_sim_stream *next;
    char provider_id[PD_PROVIDER_ID_MAX];
    struct pd_buf to_agent;
    struct pd_buf from_agent;
    bool reading;
    bool ended; /* on_end is due */
    bool told;
    uint32_t epoch;
    uint32_t sequence;
    uv_idle_t closing;
    void (*closed)(void *arg);
    void *closed_arg;
    bool is_closing;
};

static struct provider_sim_instance *by_provider_id(struct provider_sim *sim, const char *id)
{
    return pd_strmap_get(&sim->by_provider_id, id);
}

/* ---- the agent ---- */

static void say(struct provider_sim_stream *stream, const struct pd_wire *wire)
{
    assert(pd_buf_add(&stream->from_agent, wire->data, wire->len, NULL) == 0);
}

static void say_fault(struct provider_sim_stream *stream, const char *why)
{
    uint8_t storage[256];
    struct pd_wire wire;

    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_FAULT, stream->epoch, stream->sequence++);
    pd_wire_text(&wire, PD_FIELD_TEXT, why);
    assert(pd_wire_end(&wire));
    say(stream, &wire);
}

static void say_hello(struct provider_sim_stream *stream, const struct pd_frame *attach)
{
    struct provider_sim_instance *instance = by_provider_id(stream->sim, stream->provider_id);
    uint8_t storage[512];
    struct pd_fields fields;
    struct pd_field field;
    struct pd_wire wire;

    assert(pd_buf_add(&stream->from_agent, PD_SYNC_MAGIC, 8, NULL) == 0);
    pd_fields_init(&fields, attach->payload, attach->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_NONCE)
            assert(pd_buf_add(&stream->from_agent, field.data, field.len, NULL) == 0);
    }
    stream->epoch = attach->epoch;
    if (attach->epoch <= instance->epoch) {
        say_fault(stream, "stale epoch");
        return;
    }
    instance->epoch = attach->epoch;
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_HELLO, stream->epoch, stream->sequence++);
    pd_wire_number(&wire, PD_FIELD_VERSION, PD_PROTO_VERSION);
    pd_wire_number(&wire, PD_FIELD_ISOLATION, stream->sim->isolation);
    if (stream->sim->isolation != PD_ISOLATION_CELL)
        pd_wire_text(&wire, PD_FIELD_TEXT, "the simulation says so");
    pd_wire_number(&wire, PD_FIELD_RUNS, instance->runs);
    pd_wire_text(&wire, PD_FIELD_NAME, "python");
    assert(pd_wire_end(&wire));
    say(stream, &wire);
}

static void hear(struct provider_sim_stream *stream)
{
    struct pd_frame frame;
    int64_t took;

    while ((took = pd_frame_parse(stream->to_agent.data, stream->to_agent.len, &frame)) > 0) {
        if (frame.type == PD_FRAME_ATTACH)
            say_hello(stream, &frame);
        pd_buf_consume(&stream->to_agent, (size_t)took);
    }
    assert(took == 0);
}

/* ---- streams ---- */

static int stream_write(struct pd_stream *base, const void *data, size_t len, struct pd_err *err)
{
    struct provider_sim_stream *stream = (struct provider_sim_stream *)base;

    if (stream->ended)
        return pd_err_set(err, PD_UNAVAILABLE, "the stream has ended");
    return pd_buf_add(&stream->to_agent, data, len, err);
}

static void stream_read(struct pd_stream *base, bool on)
{
    ((struct provider_sim_stream *)base)->reading = on;
}

static void on_stream_closed(uv_handle_t *handle)
{
    struct provider_sim_stream *stream = handle->data;
    void (*closed)(void *arg) = stream->closed;
    void *arg = stream->closed_arg;

    pd_buf_fini(&stream->to_agent);
    pd_buf_fini(&stream->from_agent);
    free(stream);
    if (closed)
        closed(arg);
}

static void stream_close(struct pd_stream *base, void (*closed)(void *arg), void *arg)
{
    struct provider_sim_stream *stream = (struct provider_sim_stream *)base;
    struct provider_sim_stream **at = &stream->sim->streams;
    struct provider_sim_instance *instance = by_provider_id(stream->sim, stream->provider_id);

    assert(!stream->is_closing);
    stream->is_closing = true;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    if (instance && instance->stream == stream)
        instance->stream = NULL;
    stream->closed = closed;
    stream->closed_arg = arg;
    uv_close((uv_handle_t *)&stream->closing, on_stream_closed);
}

static const struct pd_stream_ops stream_ops = {
    .write = stream_write,
    .read = stream_read,
    .close = stream_close,
};

struct pd_stream *provider_sim_stream_new(struct provider_sim *sim,
                                          struct provider_sim_instance *instance)
{
    struct provider_sim_stream *stream = PD_NEW(struct provider_sim_stream);

    stream->stream.ops = &stream_ops;
    stream->sim = sim;
    stream->next = sim->streams;
    sim->streams = stream;
    pd_strcpy(stream->provider_id, sizeof stream->provider_id, instance->instance.provider_id);
    pd_buf_init(&stream->to_agent, 1024 * 1024);
    pd_buf_init(&stream->from_agent, 1024 * 1024);
    uv_idle_init(sim->loop, &stream->closing);
    stream->closing.data = stream;
    instance->stream = stream;
    return &stream->stream;
}

static bool stream_has_news(const struct provider_sim_stream *stream)
{
    return stream->reading && !stream->told && (stream->from_agent.len > 0 || stream->ended);
}

/* What the agent has to say, and the end. The user may close it meanwhile. */
static void stream_deliver(struct provider_sim_stream *stream)
{
    if (stream->from_agent.len > 0) {
        size_t len = stream->from_agent.len;
        char *data = pd_buf_steal(&stream->from_agent);
        stream->stream.on_data(stream->stream.arg, data, len);
        free(data);
    } else {
        struct pd_err err;
        pd_err_set(&err, PD_UNAVAILABLE, "the stream to the agent broke");
        stream->told = true;
        stream->stream.on_end(stream->stream.arg, &err);
    }
}

bool provider_sim_streams_run(struct provider_sim *sim)
{
    bool any = false;

    for (struct provider_sim_stream *stream = sim->streams; stream; stream = stream->next) {
        struct provider_sim_instance *instance =
            stream->to_agent.len > 0 ? by_provider_id(sim, stream->provider_id) : NULL;
        if (instance && !stream->ended && !instance->mute)
            hear(stream);
    }
    for (struct provider_sim_stream *stream = sim->streams; stream;) {
        if (!stream_has_news(stream)) {
            stream = stream->next;
            continue;
        }
        stream_deliver(stream);
        any = true;
        stream = sim->streams; /* it may have been closed */
    }
    return any;
}

void provider_sim_stream_end(struct provider_sim_instance *instance)
{
    if (instance->stream)
        instance->stream->ended = true;
    instance->stream = NULL;
}
