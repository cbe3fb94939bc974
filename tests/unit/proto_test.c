/* common/proto: frames and fields, whole, cut and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "agent/agent.h"
#include "common/link.h"
#include "common/proto.h"

/* The agent, which links nothing of the service, has these enums of its own. */
_Static_assert((int)CAUSE_EXITED == (int)PD_CAUSE_EXITED, "cause");
_Static_assert((int)CAUSE_SIGNALED == (int)PD_CAUSE_SIGNALED, "cause");
_Static_assert((int)CAUSE_TIMED_OUT == (int)PD_CAUSE_TIMED_OUT, "cause");
_Static_assert((int)CAUSE_CPU == (int)PD_CAUSE_CPU_EXCEEDED, "cause");
_Static_assert((int)CAUSE_MEMORY == (int)PD_CAUSE_MEMORY_EXCEEDED, "cause");
_Static_assert((int)CAUSE_OUTPUT == (int)PD_CAUSE_OUTPUT_EXCEEDED, "cause");
_Static_assert((int)CAUSE_CANCELED == (int)PD_CAUSE_CANCELED, "cause");
_Static_assert((int)START_ZYGOTE == (int)PD_START_ZYGOTE, "start");
_Static_assert((int)START_SPARE == (int)PD_START_SPARE, "start");
_Static_assert((int)START_CELL == (int)PD_START_CELL, "start");
_Static_assert((int)START_COLD == (int)PD_START_COLD, "start");
_Static_assert((int)ISOLATION_CELL == (int)PD_ISOLATION_CELL, "isolation");
_Static_assert((int)ISOLATION_UID == (int)PD_ISOLATION_UID, "isolation");
_Static_assert((int)ISOLATION_CONTAINER == (int)PD_ISOLATION_CONTAINER, "isolation");

static void test_a_frame_comes_back(void **state)
{
    uint8_t storage[256];
    struct pd_wire wire;
    struct pd_frame frame;
    struct pd_fields fields;
    struct pd_field field;

    (void)state;
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_RUN, 7, 9);
    pd_wire_text(&wire, PD_FIELD_NAME, "python");
    pd_wire_number(&wire, PD_FIELD_TIMEOUT_MS, UINT64_C(0x0102030405060708));
    pd_wire_flag(&wire, PD_FIELD_MORE);
    assert_true(pd_wire_end(&wire));
    assert_int_equal(pd_frame_parse(storage, wire.len, &frame), wire.len);
    assert_int_equal(frame.type, PD_FRAME_RUN);
    assert_int_equal(frame.epoch, 7);
    assert_int_equal(frame.sequence, 9);
    pd_fields_init(&fields, frame.payload, frame.payload_len);
    assert_true(pd_fields_next(&fields, &field));
    assert_int_equal(field.tag, PD_FIELD_NAME);
    assert_memory_equal(field.data, "python", 6);
    assert_true(pd_fields_next(&fields, &field));
    assert_true(pd_field_number(&field) == UINT64_C(0x0102030405060708));
    assert_true(pd_fields_next(&fields, &field));
    assert_int_equal(field.len, 0);
    assert_false(pd_fields_next(&fields, &field));
    assert_false(fields.malformed);
}

/* The layout that docs/protocol.md writes down, byte by byte. */
static void test_the_layout_is_the_documented_one(void **state)
{
    static const uint8_t expected[] = {
        0, 0, 0, 17, 3, 0, 0, 0, 5, 0, 0, 0, 6, /* length, FILE, epoch, sequence */
        7, 0, 0, 0,  3, 'a', '/', 'b',          /* PATH */
    };
    uint8_t storage[64];
    struct pd_wire wire;

    (void)state;
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_FILE, 5, 6);
    pd_wire_text(&wire, PD_FIELD_PATH, "a/b");
    assert_true(pd_wire_end(&wire));
    assert_int_equal(wire.len, sizeof expected);
    assert_memory_equal(storage, expected, sizeof expected);
}

static void test_every_cut_asks_for_more(void **state)
{
    uint8_t storage[128];
    struct pd_wire wire;
    struct pd_frame frame;

    (void)state;
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_OUT, 1, 0);
    pd_wire_text(&wire, PD_FIELD_DATA, "some output");
    assert_true(pd_wire_end(&wire));
    for (size_t len = 0; len < wire.len; len++)
        assert_int_equal(pd_frame_parse(storage, len, &frame), 0);
}

static void test_what_is_no_frame_is_refused(void **state)
{
    static const struct {
        const char *what;
        uint8_t bytes[14];
        size_t len;
    } cases[] = {
        {"shorter than a header", {0, 0, 0, 8, 1}, 5},
        {"length zero", {0, 0, 0, 0, 1}, 5},
        {"longer than a frame may be", {0, 1, 0, 10, 1}, 5},
        {"length near 2^32", {0xff, 0xff, 0xff, 0xff, 1}, 5},
        {"unknown type", {0, 0, 0, 9, 200, 0, 0, 0, 1, 0, 0, 0, 0}, 13},
        {"type zero", {0, 0, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 13},
    };
    struct pd_frame frame;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (pd_frame_parse(cases[i].bytes, cases[i].len, &frame) != -1)
            fail_msg("accepted: %s", cases[i].what);
    }
}

static void test_malformed_fields_end_the_list(void **state)
{
    static const uint8_t cut_header[] = {1, 0, 0};
    static const uint8_t beyond_the_end[] = {1, 0, 0, 0, 2, 'x'};
    static const uint8_t huge[] = {1, 0xff, 0xff, 0xff, 0xff, 'x'};
    static const struct {
        const uint8_t *bytes;
        size_t len;
    } cases[] = {{cut_header, sizeof cut_header},
                 {beyond_the_end, sizeof beyond_the_end},
                 {huge, sizeof huge}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pd_fields fields;
        struct pd_field field;
        pd_fields_init(&fields, cases[i].bytes, cases[i].len);
        assert_false(pd_fields_next(&fields, &field));
        assert_true(fields.malformed);
        assert_false(pd_fields_next(&fields, &field));
    }
}

static void test_what_does_not_fit_is_taken_back(void **state)
{
    uint8_t storage[40];
    struct pd_wire wire;
    size_t before;

    (void)state;
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_PING, 1, 0);
    assert_true(pd_wire_end(&wire));
    before = wire.len;
    pd_wire_begin(&wire, PD_FRAME_RUN, 1, 1);
    pd_wire_text(&wire, PD_FIELD_NAME, "a name that is too long for what is left");
    pd_wire_number(&wire, PD_FIELD_COUNT, 1);
    assert_false(pd_wire_end(&wire));
    assert_int_equal(wire.len, before);
    pd_wire_begin(&wire, PD_FRAME_PING, 1, 1);
    assert_true(pd_wire_end(&wire));
}

static void test_nested_fields(void **state)
{
    uint8_t storage[128];
    struct pd_wire wire;
    struct pd_frame frame;
    struct pd_fields fields, nested;
    struct pd_field field;
    size_t handle;

    (void)state;
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_ATTACH, 1, 0);
    handle = pd_wire_open(&wire, PD_FIELD_LANGUAGE);
    pd_wire_text(&wire, PD_FIELD_NAME, "c");
    pd_wire_text(&wire, PD_FIELD_FILE_NAME, "main.c");
    pd_wire_close(&wire, handle);
    pd_wire_text(&wire, PD_FIELD_PRELOAD, "after");
    assert_true(pd_wire_end(&wire));
    assert_true(pd_frame_parse(storage, wire.len, &frame) > 0);
    pd_fields_init(&fields, frame.payload, frame.payload_len);
    assert_true(pd_fields_next(&fields, &field));
    pd_fields_init(&nested, field.data, field.len);
    assert_true(pd_fields_next(&nested, &field));
    assert_true(pd_fields_next(&nested, &field));
    assert_memory_equal(field.data, "main.c", 6);
    assert_false(pd_fields_next(&nested, &field));
    assert_true(pd_fields_next(&fields, &field));
    assert_int_equal(field.tag, PD_FIELD_PRELOAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_frame_comes_back),
        cmocka_unit_test(test_the_layout_is_the_documented_one),
        cmocka_unit_test(test_every_cut_asks_for_more),
        cmocka_unit_test(test_what_is_no_frame_is_refused),
        cmocka_unit_test(test_malformed_fields_end_the_list),
        cmocka_unit_test(test_what_does_not_fit_is_taken_back),
        cmocka_unit_test(test_nested_fields),
    };
    return cmocka_run_group_tests_name("proto", tests, NULL, NULL);
}
