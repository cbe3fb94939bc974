#include "common/proto.h"

#include <string.h>

static void put_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

void pd_wire_init(struct pd_wire *wire, void *storage, size_t bytes)
{
    *wire = (struct pd_wire){.data = storage, .cap = bytes};
}

static uint8_t *reserve(struct pd_wire *wire, size_t len)
{
    uint8_t *at = wire->data + wire->len;

    if (wire->overflow || len > wire->cap - wire->len) {
        wire->overflow = true;
        return NULL;
    }
    wire->len += len;
    return at;
}

void pd_wire_begin(struct pd_wire *wire, enum pd_frame_type type, uint32_t epoch,
                   uint32_t sequence)
{
    uint8_t *at;

    wire->frame_at = wire->len;
    wire->overflow = false;
    at = reserve(wire, PD_FRAME_HEADER_BYTES);
    if (!at)
        return;
    at[4] = (uint8_t)type;
    put_u32(at + 5, epoch);
    put_u32(at + 9, sequence);
}

bool pd_wire_end(struct pd_wire *wire)
{
    size_t length = wire->len - wire->frame_at;

    if (wire->overflow || length > PD_FRAME_BYTES_MAX) {
        wire->len = wire->frame_at;
        wire->overflow = false;
        return false;
    }
    put_u32(wire->data + wire->frame_at, (uint32_t)(length - 4));
    return true;
}

void pd_wire_bytes(struct pd_wire *wire, enum pd_field_tag tag, const void *data, size_t len)
{
    uint8_t *at;

    if (len > PD_FRAME_PAYLOAD_MAX) {
        wire->overflow = true;
        return;
    }
    at = reserve(wire, PD_FIELD_HEADER_BYTES + len);
    if (!at)
        return;
    at[0] = (uint8_t)tag;
    put_u32(at + 1, (uint32_t)len);
    if (len)
        memcpy(at + PD_FIELD_HEADER_BYTES, data, len);
}

void pd_wire_text(struct pd_wire *wire, enum pd_field_tag tag, const char *text)
{
    pd_wire_bytes(wire, tag, text, strlen(text));
}

void pd_wire_number(struct pd_wire *wire, enum pd_field_tag tag, uint64_t value)
{
    uint8_t bytes[8];

    put_u32(bytes, (uint32_t)(value >> 32));
    put_u32(bytes + 4, (uint32_t)value);
    pd_wire_bytes(wire, tag, bytes, sizeof bytes);
}

void pd_wire_flag(struct pd_wire *wire, enum pd_field_tag tag)
{
    pd_wire_bytes(wire, tag, "", 0);
}

size_t pd_wire_open(struct pd_wire *wire, enum pd_field_tag tag)
{
    size_t handle = wire->len;

    pd_wire_flag(wire, tag);
    return handle;
}

void pd_wire_close(struct pd_wire *wire, size_t handle)
{
    if (!wire->overflow)
        put_u32(wire->data + handle + 1, (uint32_t)(wire->len - handle - PD_FIELD_HEADER_BYTES));
}

static bool is_known(int type)
{
    return (type >= PD_FRAME_ATTACH && type <= PD_FRAME_MOVE) ||
           (type >= PD_FRAME_HELLO && type <= PD_FRAME_MOVED);
}

int64_t pd_frame_parse(const void *data, size_t len, struct pd_frame *ret_frame)
{
    const uint8_t *at = data;
    uint32_t length;

    if (len < 4)
        return 0;
    length = get_u32(at);
    if (length < PD_FRAME_HEADER_BYTES - 4 || length > PD_FRAME_BYTES_MAX - 4)
        return -1;
    if (len >= 5 && !is_known(at[4]))
        return -1;
    if (len - 4 < length)
        return 0;
    *ret_frame = (struct pd_frame){
        .type = at[4],
        .epoch = get_u32(at + 5),
        .sequence = get_u32(at + 9),
        .payload = at + PD_FRAME_HEADER_BYTES,
        .payload_len = length + 4 - PD_FRAME_HEADER_BYTES,
    };
    return (int64_t)length + 4;
}

void pd_fields_init(struct pd_fields *fields, const void *payload, size_t len)
{
    *fields = (struct pd_fields){.at = payload, .left = len};
}

bool pd_fields_next(struct pd_fields *fields, struct pd_field *ret_field)
{
    uint32_t len;

    if (fields->left == 0 || fields->malformed)
        return false;
    if (fields->left < PD_FIELD_HEADER_BYTES) {
        fields->malformed = true;
        return false;
    }
    len = get_u32(fields->at + 1);
    if (len > fields->left - PD_FIELD_HEADER_BYTES) {
        fields->malformed = true;
        return false;
    }
    *ret_field = (struct pd_field){
        .tag = fields->at[0],
        .data = fields->at + PD_FIELD_HEADER_BYTES,
        .len = len,
    };
    fields->at += PD_FIELD_HEADER_BYTES + len;
    fields->left -= PD_FIELD_HEADER_BYTES + len;
    return true;
}

uint64_t pd_field_number(const struct pd_field *field)
{
    uint64_t value = 0;

    for (size_t i = 0; i < field->len && i < 8; i++)
        value = value << 8 | field->data[i];
    return value;
}
