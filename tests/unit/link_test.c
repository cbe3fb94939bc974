/* common/link: handshake, runs, credit and every way a link can end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/link.h"
#include "common/mem.h"
#include "tests/lib/fake_stream.h"

static const char *const python_and_bash[] = {"python", "bash", NULL};

struct seen {
    uv_loop_t loop;
    struct fake_stream stream;
    struct pd_pool_spec spec;
    struct pd_languages languages;
    struct pd_link *link;
    int ready, changed, down, closed, started, ended;
    char down_message[128];
    struct pd_buf output;
    struct pd_run_result result;
    char message[128];
};

static void on_ready(void *arg, struct pd_link *link, const struct pd_hello *hello)
{
    (void)link;
    (void)hello;
    ((struct seen *)arg)->ready++;
}

static void on_changed(void *arg, struct pd_link *link)
{
    (void)link;
    ((struct seen *)arg)->changed++;
}

static void on_closed(void *arg)
{
    ((struct seen *)arg)->closed++;
}

static void on_down(void *arg, struct pd_link *link, const struct pd_err *err)
{
    struct seen *seen = arg;

    seen->down++;
    pd_strcpy(seen->down_message, sizeof seen->down_message, err->msg);
    pd_link_close(link, on_closed, seen);
}

static const struct pd_link_events link_events = {on_ready, on_changed, on_down};

static void on_started(void *arg, enum pd_start start)
{
    assert_int_equal(start, PD_START_COLD); /* what an agent does not say is not promised */
    ((struct seen *)arg)->started++;
}

static void on_output(void *arg, int stream, const void *data, size_t len)
{
    struct seen *seen = arg;

    (void)stream;
    assert_int_equal(pd_buf_add(&seen->output, data, len, NULL), 0);
}

static void on_ended(void *arg, const struct pd_run_result *result)
{
    struct seen *seen = arg;

    seen->ended++;
    seen->result = *result;
    pd_strcpy(seen->message, sizeof seen->message, result->message);
}

static const struct pd_run_events run_events = {
    .started = on_started, .output = on_output, .ended = on_ended};

static int set_up(void **state)
{
    struct seen *seen = PD_NEW(struct seen);
    struct pd_link_config config = {.epoch = 41};

    uv_loop_init(&seen->loop);
    fake_stream_init(&seen->stream, &seen->loop);
    pd_buf_init(&seen->output, 1 << 20);
    seen->spec.refs = 1000; /* never freed: it is not the heap's */
    seen->spec.run.max_output_bytes = 1 << 20;
    config.spec = &seen->spec;
    config.languages = &seen->languages;
    seen->link = pd_link_open(&seen->loop, &seen->stream.stream, &config, &link_events, seen);
    *state = seen;
    return 0;
}

static int tear_down(void **state)
{
    struct seen *seen = *state;

    if (!seen->closed)
        pd_link_close(seen->link, on_closed, seen);
    uv_run(&seen->loop, UV_RUN_DEFAULT);
    assert_int_equal(seen->closed, 1);
    assert_int_equal(uv_loop_close(&seen->loop), 0);
    fake_stream_fini(&seen->stream);
    pd_buf_fini(&seen->output);
    free(seen);
    return 0;
}

static void settle(struct seen *seen)
{
    for (int i = 0; i < 8; i++)
        uv_run(&seen->loop, UV_RUN_NOWAIT);
}

static void start_run(struct seen *seen)
{
    struct pd_run_request request = {
        .id = "r1",
        .language = "python",
        .timeout_ms = 1000,
        .output_max_bytes = 1 << 20,
        .code = "print(1)",
        .code_len = 8,
    };

    assert_int_equal(pd_link_run(seen->link, &request, &run_events, seen, NULL), 0);
}

static void test_what_an_earlier_attacher_left_is_skipped(void **state)
{
    struct seen *seen = *state;
    static char stale[100000];

    memset(stale, 0xfe, sizeof stale);
    fake_stream_feed(&seen->stream, stale, sizeof stale);
    fake_stream_feed(&seen->stream, PD_SYNC_MAGIC "12345678", 16); /* another's marker */
    fake_stream_hello(&seen->stream, python_and_bash);
    assert_int_equal(seen->ready, 1);
    assert_int_equal(pd_link_hello(seen->link)->n_languages, 2);
    assert_true(pd_link_is_idle(seen->link));
}

static void test_a_run_from_start_to_end(void **state)
{
    struct seen *seen = *state;
    struct pd_frame frame;

    fake_stream_hello(&seen->stream, python_and_bash);
    start_run(seen);
    assert_false(pd_link_is_idle(seen->link));
    assert_true(fake_stream_heard(&seen->stream, &frame));
    assert_int_equal(frame.type, PD_FRAME_RUN);
    assert_int_equal(frame.epoch, 41);
    assert_int_equal(frame.sequence, 0);
    fake_stream_say(&seen->stream, PD_FRAME_STARTED, 0, NULL, 0);
    fake_stream_say(&seen->stream, PD_FRAME_OUT, PD_FIELD_DATA, "1\n", 2);
    fake_stream_say_number(&seen->stream, PD_FRAME_EXIT, PD_FIELD_EXIT_CODE, 3);
    assert_int_equal(seen->started, 1);
    assert_int_equal(seen->ended, 1);
    assert_int_equal(seen->result.exit_code, 3);
    assert_int_equal(seen->result.cause, PD_CAUSE_EXITED);
    assert_string_equal(seen->output.data, "1\n");
    assert_true(pd_link_is_idle(seen->link));
    start_run(seen);
    assert_true(fake_stream_heard(&seen->stream, &frame));
    assert_int_equal(frame.sequence, 1);
}

static void test_a_compile_stage_is_told(void **state)
{
    struct seen *seen = *state;
    uint8_t storage[128];
    struct pd_wire wire;

    fake_stream_hello(&seen->stream, python_and_bash);
    start_run(seen);
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_EXIT, 41, 1);
    pd_wire_number(&wire, PD_FIELD_EXIT_CODE, 1);
    pd_wire_number(&wire, PD_FIELD_COMPILE_US, 1234567);
    pd_wire_flag(&wire, PD_FIELD_COMPILE_FAILED);
    pd_wire_end(&wire);
    fake_stream_feed(&seen->stream, storage, wire.len);
    assert_int_equal(seen->ended, 1);
    assert_int_equal(seen->result.compile_us, 1234567);
    assert_true(seen->result.compile_failed);
}

static void test_frames_byte_by_byte(void **state)
{
    struct seen *seen = *state;
    uint8_t storage[128];
    struct pd_wire wire;

    fake_stream_hello(&seen->stream, python_and_bash);
    start_run(seen);
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_OUT, 41, 1);
    pd_wire_text(&wire, PD_FIELD_DATA, "slow");
    pd_wire_end(&wire);
    pd_wire_begin(&wire, PD_FRAME_EXIT, 41, 2);
    pd_wire_end(&wire);
    for (size_t i = 0; i < wire.len; i++)
        fake_stream_feed(&seen->stream, storage + i, 1);
    assert_string_equal(seen->output.data, "slow");
    assert_int_equal(seen->ended, 1);
}

static void test_consumed_output_is_granted_back(void **state)
{
    struct seen *seen = *state;
    struct pd_frame frame;
    size_t granted = 0;

    fake_stream_hello(&seen->stream, python_and_bash);
    start_run(seen);
    assert_true(fake_stream_heard(&seen->stream, &frame));
    pd_run_grant(seen->link, 1000);
    assert_false(fake_stream_heard(&seen->stream, &frame)); /* not worth a frame */
    for (int i = 0; i < 10; i++)
        pd_run_grant(seen->link, 20000);
    while (fake_stream_heard(&seen->stream, &frame)) {
        struct pd_fields fields;
        struct pd_field field;
        assert_int_equal(frame.type, PD_FRAME_WINDOW);
        pd_fields_init(&fields, frame.payload, frame.payload_len);
        assert_true(pd_fields_next(&fields, &field));
        granted += pd_field_number(&field);
    }
    assert_true(granted > 150000 && granted <= 201000);
}

static void test_stdin_waits_for_credit(void **state)
{
    struct seen *seen = *state;
    static char data[PD_RUN_STDIN_WINDOW_BYTES];
    struct pd_run_request request = {.id = "r", .language = "python", .timeout_ms = 1,
                                     .code = "x", .code_len = 1, .stdin_open = true};
    struct pd_frame frame;
    size_t sent = 0;

    fake_stream_hello(&seen->stream, python_and_bash);
    assert_int_equal(pd_link_run(seen->link, &request, &run_events, seen, NULL), 0);
    assert_int_equal(pd_run_stdin(seen->link, data, sizeof data, NULL), 0);
    assert_int_equal(pd_run_stdin(seen->link, data, 1000, NULL), 0);
    assert_int_equal(pd_run_stdin(seen->link, data, sizeof data, NULL), PD_LIMIT);
    pd_run_stdin_eof(seen->link);
    while (fake_stream_heard(&seen->stream, &frame)) {
        assert_int_not_equal(frame.type, PD_FRAME_STDIN_EOF);
        if (frame.type == PD_FRAME_STDIN)
            sent += frame.payload_len - PD_FIELD_HEADER_BYTES;
    }
    assert_int_equal(sent, sizeof data);
    fake_stream_say_number(&seen->stream, PD_FRAME_WINDOW, PD_FIELD_CREDIT, 5000);
    assert_true(fake_stream_heard(&seen->stream, &frame));
    assert_int_equal(frame.payload_len - PD_FIELD_HEADER_BYTES, 1000);
    assert_true(fake_stream_heard(&seen->stream, &frame));
    assert_int_equal(frame.type, PD_FRAME_STDIN_EOF);
}

/* Code and files that do not fit into the RUN frame follow it. */
static void test_large_code_and_files(void **state)
{
    struct seen *seen = *state;
    static char code[200000];
    struct pd_run_file file = {"a/b.txt", "hello", 5};
    struct pd_run_request request = {.id = "r", .language = "python", .timeout_ms = 1,
                                     .code = code, .code_len = sizeof code,
                                     .files = &file, .n_files = 1};
    size_t files = 0, data = 0, starts = 0;
    struct pd_frame frame;
    uint32_t sequence = 0;

    fake_stream_hello(&seen->stream, python_and_bash);
    assert_int_equal(pd_link_run(seen->link, &request, &run_events, seen, NULL), 0);
    while (fake_stream_heard(&seen->stream, &frame)) {
        assert_int_equal(frame.sequence, sequence++);
        files += frame.type == PD_FRAME_FILE;
        starts += frame.type == PD_FRAME_START;
        if (frame.type == PD_FRAME_DATA)
            data += frame.payload_len - PD_FIELD_HEADER_BYTES;
    }
    assert_int_equal(files, 2);
    assert_int_equal(data, sizeof code + 5);
    assert_int_equal(starts, 1);
}

static void test_paths_that_leave_the_workspace_are_refused(void **state)
{
    static const char *const paths[] = {"/etc/passwd", "../x", "a/../b", "a//b", "", "a/", "./a",
                                        "a/."};
    struct seen *seen = *state;

    fake_stream_hello(&seen->stream, python_and_bash);
    for (size_t i = 0; i < PD_COUNT(paths); i++) {
        struct pd_run_file file = {paths[i], "", 0};
        struct pd_run_request request = {.id = "r", .language = "python", .timeout_ms = 1,
                                         .code = "", .files = &file, .n_files = 1};
        assert_int_equal(pd_link_run(seen->link, &request, &run_events, seen, NULL), PD_INVALID);
    }
    assert_true(pd_link_is_idle(seen->link));
    assert_int_equal(seen->ended, 0);
}

static void test_spares_are_counted_by_language(void **state)
{
    struct seen *seen = *state;
    uint8_t storage[128];
    struct pd_wire wire;

    fake_stream_hello(&seen->stream, python_and_bash);
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_SPARES, 41, 1);
    pd_wire_text(&wire, PD_FIELD_NAME, "bash");
    pd_wire_number(&wire, PD_FIELD_COUNT, 2);
    pd_wire_text(&wire, PD_FIELD_NAME, "cobol");
    pd_wire_number(&wire, PD_FIELD_COUNT, 9);
    pd_wire_end(&wire);
    fake_stream_feed(&seen->stream, storage, wire.len);
    assert_int_equal(pd_link_spares(seen->link, "bash"), 2);
    assert_int_equal(pd_link_spares(seen->link, "python"), 0);
    assert_int_equal(pd_link_spares(seen->link, "cobol"), 0);
    assert_int_equal(seen->changed, 1);
}

/* ---- every way to fail: the run is lost once, the owner told once ---- */

enum failure {
    FAIL_END,
    FAIL_GARBAGE,
    FAIL_GAP,
    FAIL_EPOCH,
    FAIL_OUR_OWN_TYPE,
    FAIL_FAULT,
    FAIL_SECOND_HELLO,
    FAIL_WRITE,
    FAIL_COUNT,
};

static void make_fail(struct seen *seen, enum failure failure)
{
    switch (failure) {
    case FAIL_END:
        fake_stream_end(&seen->stream);
        break;
    case FAIL_GARBAGE:
        fake_stream_feed(&seen->stream, "garbage!", 8);
        break;
    case FAIL_GAP:
        seen->stream.sequence++;
        fake_stream_say(&seen->stream, PD_FRAME_OUT, PD_FIELD_DATA, "x", 1);
        break;
    case FAIL_EPOCH:
        seen->stream.epoch--;
        fake_stream_say(&seen->stream, PD_FRAME_OUT, PD_FIELD_DATA, "x", 1);
        break;
    case FAIL_OUR_OWN_TYPE:
        fake_stream_say(&seen->stream, PD_FRAME_STDIN, 0, NULL, 0);
        break;
    case FAIL_FAULT:
        fake_stream_say(&seen->stream, PD_FRAME_FAULT, PD_FIELD_TEXT, "broken", 6);
        break;
    case FAIL_SECOND_HELLO:
        fake_stream_say(&seen->stream, PD_FRAME_HELLO, 0, NULL, 0);
        break;
    case FAIL_WRITE:
        seen->stream.write_answer = PD_LIMIT;
        pd_run_cancel(seen->link);
        break;
    case FAIL_COUNT:
        break;
    }
}

static void test_failures_end_run_and_link_once(void **state)
{
    for (int failure = 0; failure < FAIL_COUNT; failure++) {
        struct seen *seen;
        void *own = NULL;
        (void)state;
        set_up(&own);
        seen = own;
        fake_stream_hello(&seen->stream, python_and_bash);
        start_run(seen);
        make_fail(seen, (enum failure)failure);
        assert_int_equal(seen->down, 0); /* never from within the call */
        settle(seen);
        if (seen->down != 1 || seen->ended != 1 || seen->result.cause != PD_CAUSE_LOST)
            fail_msg("failure %d: down %d ended %d", failure, seen->down, seen->ended);
        assert_true(seen->message[0] != '\0');
        settle(seen);
        assert_int_equal(seen->down, 1);
        tear_down(&own);
    }
}

static void test_a_close_loses_the_run(void **state)
{
    struct seen *seen = *state;

    fake_stream_hello(&seen->stream, python_and_bash);
    start_run(seen);
    pd_link_close(seen->link, on_closed, seen);
    assert_int_equal(seen->ended, 1);
    assert_int_equal(seen->result.cause, PD_CAUSE_LOST);
    pd_link_close(seen->link, on_closed, seen);
    settle(seen);
    assert_int_equal(seen->closed, 1);
    assert_int_equal(seen->down, 0);
}

static void test_a_second_run_is_refused(void **state)
{
    struct seen *seen = *state;
    struct pd_run_request request = {.id = "r", .language = "python", .timeout_ms = 1, .code = ""};
    struct pd_err err;

    assert_int_equal(pd_link_run(seen->link, &request, &run_events, seen, &err), PD_CONFLICT);
    fake_stream_hello(&seen->stream, python_and_bash);
    start_run(seen);
    assert_int_equal(pd_link_run(seen->link, &request, &run_events, seen, &err), PD_CONFLICT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_an_earlier_attacher_left_is_skipped),
        TEST(test_a_run_from_start_to_end),
        TEST(test_a_compile_stage_is_told),
        TEST(test_frames_byte_by_byte),
        TEST(test_consumed_output_is_granted_back),
        TEST(test_stdin_waits_for_credit),
        TEST(test_large_code_and_files),
        TEST(test_paths_that_leave_the_workspace_are_refused),
        TEST(test_spares_are_counted_by_language),
        cmocka_unit_test(test_failures_end_run_and_link_once),
        TEST(test_a_close_loses_the_run),
        TEST(test_a_second_run_is_refused),
    };
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
