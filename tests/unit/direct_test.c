/* common/direct: who gets in, who does not; and a link that moves there. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/direct.h"
#include "common/link.h"
#include "common/mem.h"
#include "tests/lib/fake_stream.h"
#include "tests/lib/loop_until.h"

#define WAIT_MS 10000

static const uint8_t secret[PD_DIRECT_SECRET_BYTES] = "0123456789abcde";

struct seen {
    uv_loop_t loop;
    char dir[64], folder[192];
    struct pd_direct *direct;
    struct pd_stream *stream;
    char heard[65536];
    size_t heard_len;
    enum pd_err_kind refusal;
    bool arrived, ended, closed, got_data;

    struct fake_stream attach;
    struct pd_pool_spec spec;
    struct pd_languages languages;
    struct pd_link *link;
    bool ready, down;
    char down_message[160];
};

static void on_data(void *arg, const void *data, size_t len)
{
    struct seen *seen = arg;

    assert_true(seen->heard_len + len <= sizeof seen->heard);
    memcpy(seen->heard + seen->heard_len, data, len);
    seen->heard_len += len;
    seen->got_data = true;
}

static void on_end(void *arg, const struct pd_err *err)
{
    assert_non_null(err);
    ((struct seen *)arg)->ended = true;
}

static void on_arrived(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct seen *seen = arg;

    assert_null(err);
    seen->stream = stream;
    stream->on_data = on_data;
    stream->on_end = on_end;
    stream->arg = seen;
    seen->arrived = true;
}

static void on_closed(void *arg)
{
    ((struct seen *)arg)->closed = true;
}

static int set_up(void **state)
{
    struct seen *seen = PD_NEW(struct seen);
    struct pd_err err;

    uv_loop_init(&seen->loop);
    pd_strcpy(seen->dir, sizeof seen->dir, "/tmp/pd-direct-XXXXXX");
    assert_non_null(mkdtemp(seen->dir));
    assert_int_equal(pd_direct_folder_make(seen->dir, "one", &err), 0);
    snprintf(seen->folder, sizeof seen->folder, "%s/one", seen->dir);
    *state = seen;
    return 0;
}

static int tear_down(void **state)
{
    struct seen *seen = *state;

    assert_true(pd_loop_finish(&seen->loop, WAIT_MS));
    pd_direct_sweep(seen->dir, 0);
    assert_int_equal(rmdir(seen->dir), 0); /* nothing is left in it */
    free(seen);
    return 0;
}

static void wait_there(struct seen *seen)
{
    struct pd_err err;

    assert_int_equal(
        pd_direct_open(&seen->loop, seen->folder, secret, on_arrived, seen, &seen->direct, &err),
        0);
}

/* Both ends, as the agent opens them; in.fd is -1 where there are none. */
struct ends {
    int in, out;
};

static struct ends open_there(const struct seen *seen)
{
    char path[256];
    struct ends ends;

    snprintf(path, sizeof path, "%s/" PD_DIRECT_TO_AGENT, seen->folder);
    ends.in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/" PD_DIRECT_TO_SERVICE, seen->folder);
    ends.out = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return ends;
}

static void close_ends(struct ends *ends)
{
    close(ends->in);
    close(ends->out);
}

static void say(const struct ends *ends, const void *data, size_t len)
{
    assert_int_equal(write(ends->out, data, len), (ssize_t)len);
}

static void test_who_knows_the_secret_gets_in(void **state)
{
    struct seen *seen = *state;
    struct ends ends;

    wait_there(seen);
    ends = open_there(seen);
    say(&ends, secret, 5); /* in pieces */
    pd_loop_for(&seen->loop, 20);
    assert_false(seen->arrived);
    say(&ends, secret + 5, sizeof secret - 5);
    say(&ends, "hello", 5); /* ahead of its turn */
    assert_true(pd_loop_until(&seen->loop, &seen->arrived, WAIT_MS));
    assert_int_equal(access(seen->folder, F_OK), -1); /* nobody else does */
    seen->stream->ops->read(seen->stream, true);
    assert_true(pd_loop_until(&seen->loop, &seen->got_data, WAIT_MS));
    assert_memory_equal(seen->heard, "hello", 5);
    close_ends(&ends);
    assert_true(pd_loop_until(&seen->loop, &seen->ended, WAIT_MS));
    assert_int_equal(seen->stream->ops->write(seen->stream, "x", 1, NULL), PD_UNAVAILABLE);
    seen->stream->ops->close(seen->stream, NULL, NULL);
    pd_direct_close(seen->direct, on_closed, seen);
    assert_true(pd_loop_until(&seen->loop, &seen->closed, WAIT_MS));
}

static void on_refused(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct seen *seen = arg;

    assert_int_equal(err->kind, seen->refusal);
    assert_null(stream);
    seen->arrived = true;
}

static void refused_for(struct seen *seen, enum pd_err_kind kind, const char *said)
{
    struct ends ends;
    struct pd_err err;

    seen->refusal = kind;
    assert_int_equal(pd_direct_open(&seen->loop, seen->folder, secret, on_refused, seen,
                                    &seen->direct, &err),
                     0);
    ends = open_there(seen);
    say(&ends, said, strlen(said));
    if (kind == PD_UNAVAILABLE)
        close_ends(&ends);
    assert_true(pd_loop_until(&seen->loop, &seen->arrived, WAIT_MS));
    assert_int_equal(access(seen->folder, F_OK), -1);
    if (kind != PD_UNAVAILABLE)
        close_ends(&ends);
    pd_direct_close(seen->direct, NULL, NULL);
}

static void test_who_does_not_ends_it(void **state)
{
    refused_for(*state, PD_DENIED, "0123456789abcdeX and more");
}

static void test_who_goes_before_it_has_spoken(void **state)
{
    refused_for(*state, PD_UNAVAILABLE, "0123");
}

static void test_a_peer_that_does_not_read_is_bounded(void **state)
{
    struct seen *seen = *state;
    static char block[1 << 20];
    size_t taken = 0;
    struct ends ends;
    int rc;

    wait_there(seen);
    ends = open_there(seen);
    say(&ends, secret, sizeof secret);
    assert_true(pd_loop_until(&seen->loop, &seen->arrived, WAIT_MS));
    do {
        rc = seen->stream->ops->write(seen->stream, block, sizeof block, NULL);
        taken += rc == 0 ? sizeof block : 0;
    } while (rc == 0);
    assert_int_equal(rc, PD_LIMIT);
    assert_true(taken <= PD_STREAM_QUEUE_BYTES_MAX + 2 * sizeof block);
    while (taken > 0) { /* all of it comes, when it reads */
        ssize_t n;
        pd_loop_for(&seen->loop, 1);
        n = read(ends.in, block, sizeof block);
        taken -= n > 0 ? (size_t)n : 0;
    }
    seen->stream->ops->close(seen->stream, NULL, NULL);
    pd_direct_close(seen->direct, NULL, NULL);
    close_ends(&ends);
}

static void test_only_old_folders_are_swept(void **state)
{
    struct seen *seen = *state;

    pd_direct_sweep(seen->dir, 3600);
    assert_int_equal(access(seen->folder, F_OK), 0);
    pd_direct_sweep(seen->dir, 0);
    assert_int_equal(access(seen->folder, F_OK), -1);
    pd_direct_sweep("/nonexistent", 0);
}

/* ---- a link ---- */

static void on_ready(void *arg, struct pd_link *link, const struct pd_hello *hello)
{
    (void)link;
    (void)hello;
    ((struct seen *)arg)->ready = true;
}

static void on_down(void *arg, struct pd_link *link, const struct pd_err *err)
{
    struct seen *seen = arg;

    (void)link;
    pd_strcpy(seen->down_message, sizeof seen->down_message, err->msg);
    seen->down = true;
}

static const struct pd_link_events link_events = {.ready = on_ready, .down = on_down};

static void open_link(struct seen *seen)
{
    struct pd_link_config config = {
        .epoch = 7, .spec = &seen->spec, .languages = &seen->languages};
    static const char *const python[] = {"python", NULL};

    seen->spec.refs = 1000;
    fake_stream_init(&seen->attach, &seen->loop);
    seen->attach.stream.direct_folder = seen->folder;
    seen->link =
        pd_link_open(&seen->loop, &seen->attach.stream, &config, &link_events, seen);
    seen->attach.stream.direct_folder = NULL; /* no longer than that */
    fake_stream_hello(&seen->attach, python);
    assert_false(seen->ready);
}

/* The MOVE that was written; the secret in it. */
static void hear_move(struct seen *seen, uint8_t said[static PD_DIRECT_SECRET_BYTES])
{
    struct pd_frame frame;
    struct pd_fields fields;
    struct pd_field field;

    do
        assert_true(fake_stream_heard(&seen->attach, &frame));
    while (frame.type != PD_FRAME_MOVE);
    pd_fields_init(&fields, frame.payload, frame.payload_len);
    assert_true(pd_fields_next(&fields, &field));
    assert_int_equal(field.len, PD_DIRECT_SECRET_BYTES);
    memcpy(said, field.data, field.len);
}

static void close_link(struct seen *seen)
{
    pd_link_close(seen->link, on_closed, seen);
    assert_true(pd_loop_until(&seen->loop, &seen->closed, WAIT_MS));
    fake_stream_fini(&seen->attach);
}

static struct ends come(struct seen *seen)
{
    uint8_t said[PD_DIRECT_SECRET_BYTES];
    struct ends ends;

    hear_move(seen, said);
    ends = open_there(seen);
    say(&ends, said, sizeof said);
    return ends;
}

static void check_moved(struct seen *seen, struct ends *ends)
{
    char bytes[256];
    uint32_t sequence = seen->attach.sequence;
    struct pd_wire wire;
    uint8_t storage[64];

    assert_true(pd_loop_until(&seen->loop, &seen->ready, WAIT_MS));
    assert_true(seen->attach.is_closed);
    assert_true(pd_link_is_idle(seen->link));
    /* Frames go on in sequence, there. */
    pd_wire_init(&wire, storage, sizeof storage);
    pd_wire_begin(&wire, PD_FRAME_SPARES, 7, sequence);
    pd_wire_text(&wire, PD_FIELD_NAME, "python");
    pd_wire_number(&wire, PD_FIELD_COUNT, 2);
    pd_wire_end(&wire);
    say(ends, storage, wire.len);
    for (int i = 0; i < 100 && pd_link_spares(seen->link, "python") == 0; i++)
        pd_loop_for(&seen->loop, 10);
    assert_int_equal(pd_link_spares(seen->link, "python"), 2);
    assert_int_equal(read(ends->in, bytes, sizeof bytes), -1);
    close_ends(ends);
    assert_true(pd_loop_until(&seen->loop, &seen->down, WAIT_MS));
}

static void test_a_link_moves(void **state)
{
    struct seen *seen = *state;
    struct ends ends;

    open_link(seen);
    ends = come(seen);
    pd_loop_for(&seen->loop, 20); /* it has come before it has left */
    assert_false(seen->ready);
    fake_stream_say(&seen->attach, PD_FRAME_MOVED, 0, NULL, 0);
    check_moved(seen, &ends);
    close_link(seen);
}

static void test_a_link_moves_the_other_way_round(void **state)
{
    struct seen *seen = *state;
    struct ends ends;

    open_link(seen);
    fake_stream_say(&seen->attach, PD_FRAME_MOVED, 0, NULL, 0);
    pd_loop_for(&seen->loop, 20);
    assert_false(seen->ready);
    ends = come(seen);
    check_moved(seen, &ends);
    close_link(seen);
}

static void test_an_agent_may_stay(void **state)
{
    struct seen *seen = *state;

    open_link(seen);
    fake_stream_say(&seen->attach, PD_FRAME_MOVED, PD_FIELD_ERROR, "no such file", 12);
    assert_true(seen->ready);
    assert_true(pd_link_is_idle(seen->link));
    assert_false(seen->attach.is_closed);
    assert_int_equal(access(seen->folder, F_OK), -1);
    close_link(seen);
}

static void test_nothing_may_follow_a_move(void **state)
{
    struct seen *seen = *state;

    open_link(seen);
    fake_stream_say(&seen->attach, PD_FRAME_MOVED, 0, NULL, 0);
    fake_stream_say(&seen->attach, PD_FRAME_PONG, 0, NULL, 0);
    assert_true(pd_loop_until(&seen->loop, &seen->down, WAIT_MS));
    assert_string_equal(seen->down_message, "more from the agent after it had left");
    close_link(seen);
}

static void test_a_move_that_nobody_asked_for(void **state)
{
    struct seen *seen = *state;

    open_link(seen);
    fake_stream_say(&seen->attach, PD_FRAME_MOVED, PD_FIELD_ERROR, "x", 1);
    fake_stream_say(&seen->attach, PD_FRAME_MOVED, 0, NULL, 0);
    assert_true(pd_loop_until(&seen->loop, &seen->down, WAIT_MS));
    close_link(seen);
}

static void test_a_link_that_closes_meanwhile_leaves_nothing(void **state)
{
    struct seen *seen = *state;
    struct ends ends;

    open_link(seen);
    ends = come(seen);
    pd_loop_for(&seen->loop, 20);
    close_link(seen);
    assert_int_equal(write(ends.out, "x", 1), -1); /* nobody is there */
    close_ends(&ends);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_who_knows_the_secret_gets_in),
        CASE(test_who_does_not_ends_it),
        CASE(test_who_goes_before_it_has_spoken),
        CASE(test_a_peer_that_does_not_read_is_bounded),
        CASE(test_only_old_folders_are_swept),
        CASE(test_a_link_moves),
        CASE(test_a_link_moves_the_other_way_round),
        CASE(test_an_agent_may_stay),
        CASE(test_nothing_may_follow_a_move),
        CASE(test_a_move_that_nobody_asked_for),
        CASE(test_a_link_that_closes_meanwhile_leaves_nothing),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
