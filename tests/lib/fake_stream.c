#include "tests/lib/fake_stream.h"

#include <assert.h>
#include <string.h>

static int fake_write(struct pd_stream *stream, const void *data, size_t len, struct pd_err *err)
{
    struct fake_stream *fake = (struct fake_stream *)stream;

    if (fake->write_answer < 0)
        return pd_err_set(err, fake->write_answer, "refused by the test");
    return pd_buf_add(&fake->written, data, len, err);
}

static void fake_read(struct pd_stream *stream, bool on)
{
    ((struct fake_stream *)stream)->reading = on;
}

static void on_idle(uv_idle_t *idle)
{
    struct fake_stream *fake = idle->data;

    uv_idle_stop(idle);
    uv_close((uv_handle_t *)idle, NULL);
    if (fake->closed)
        fake->closed(fake->closed_arg);
}

static void fake_close(struct pd_stream *stream, void (*closed)(void *arg), void *arg)
{
    struct fake_stream *fake = (struct fake_stream *)stream;

    if (fake->is_closed)
        return;
    fake->is_closed = true;
    fake->closed = closed;
    fake->closed_arg = arg;
    uv_idle_init(fake->loop, &fake->closer);
    fake->closer.data = fake;
    uv_idle_start(&fake->closer, on_idle);
}

static const struct pd_stream_ops fake_ops = {
    .write = fake_write,
    .read = fake_read,
    .close = fake_close,
};

void fake_stream_init(struct fake_stream *fake, uv_loop_t *loop)
{
    *fake = (struct fake_stream){.stream.ops = &fake_ops, .loop = loop};
    pd_buf_init(&fake->written, 64u * 1024 * 1024);
}

void fake_stream_fini(struct fake_stream *fake)
{
    pd_buf_fini(&fake->written);
}

void fake_stream_feed(struct fake_stream *fake, const void *data, size_t len)
{
    if (fake->reading && !fake->is_closed)
        fake->stream.on_data(fake->stream.arg, data, len);
}

void fake_stream_end(struct fake_stream *fake)
{
    if (!fake->is_closed)
        fake->stream.on_end(fake->stream.arg, NULL);
}

bool fake_stream_heard(struct fake_stream *fake, struct pd_frame *ret_frame)
{
    static uint8_t copy[PD_FRAME_BYTES_MAX];
    int64_t took = pd_frame_parse(fake->written.data, fake->written.len, ret_frame);

    assert(took >= 0);
    if (took == 0)
        return false;
    memcpy(copy, fake->written.data, (size_t)took);
    pd_frame_parse(copy, (size_t)took, ret_frame);
    pd_buf_consume(&fake->written, (size_t)took);
    return true;
}

void fake_stream_hello(struct fake_stream *fake, const char *const *languages)
{
    uint8_t sync[PD_SYNC_BYTES], storage[4096];
    struct pd_frame attach;
    struct pd_fields fields;
    struct pd_field field;
    struct pd_wire wire;

    assert(fake_stream_heard(fake, &attach) && attach.type == PD_FRAME_ATTACH);
    memcpy(sync, PD_SYNC_MAGIC, 8);
    pd_fields_init(&fields, attach.payload, attach.payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_NONCE)
            memcpy(sync + 8, field.data, 8);
    }
    fake->epoch = attach.epoch;
    fake->sequence = 0;
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_HELLO, fake->epoch, fake->sequence++);
    for (size_t i = 0; languages[i]; i++)
        pd_wire_text(&wire, PD_FIELD_NAME, languages[i]);
    assert(pd_wire_end(&wire));
    fake_stream_feed(fake, sync, sizeof sync);
    fake_stream_feed(fake, storage, wire.len);
}

void fake_stream_say(struct fake_stream *fake, enum pd_frame_type type, int tag, const void *data,
                     size_t len)
{
    static uint8_t storage[PD_FRAME_BYTES_MAX];
    struct pd_wire wire;

    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, type, fake->epoch, fake->sequence++);
    if (tag)
        pd_wire_bytes(&wire, (enum pd_field_tag)tag, data, len);
    assert(pd_wire_end(&wire));
    fake_stream_feed(fake, storage, wire.len);
}

void fake_stream_say_number(struct fake_stream *fake, enum pd_frame_type type, int tag,
                            uint64_t number)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    fake_stream_say(fake, type, tag, bytes, sizeof bytes);
}
