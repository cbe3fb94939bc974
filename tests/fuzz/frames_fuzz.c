/* Frames and fields: whatever parses must be inside the input, and a frame made
 * from what was parsed must parse again. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/link_frames.h"
#include "common/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const uint8_t *payload, size_t len, int depth)
{
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, payload, len);
    while (pd_fields_next(&fields, &field)) {
        assert(field.data >= payload && field.data + field.len <= payload + len);
        (void)pd_field_number(&field);
        if (depth < 3)
            walk(field.data, field.len, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pd_run_result result;
    struct pd_hello hello;
    struct pd_frame frame;
    size_t at = 0;

    while (at < size) {
        int64_t took = pd_frame_parse(data + at, size - at, &frame);
        if (took <= 0)
            break;
        assert((size_t)took <= size - at && frame.payload + frame.payload_len <= data + size);
        walk(frame.payload, frame.payload_len, 0);
        pd_link_decode_hello(&frame, &hello);
        if (pd_link_decode_exit(&frame, &result))
            assert(result.cause <= PD_CAUSE_LOST && result.start <= PD_START_COLD);
        at += (size_t)took;
    }
    return 0;
}
