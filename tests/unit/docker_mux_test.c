#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/docker_mux.h"

/* out "hello", an empty frame, err "oops", out "!" */
static const unsigned char stream[] =
    "\1\0\0\0\0\0\0\5hello"
    "\1\0\0\0\0\0\0\0"
    "\2\0\0\0\0\0\0\4oops"
    "\1\0\0\0\0\0\0\1!";
#define STREAM_BYTES (sizeof stream - 1)

struct collected {
    char text[4][64]; /* by channel */
    size_t pieces;
};

static int feed(struct pd_docker_mux *mux, const unsigned char *data, size_t len,
                struct collected *collected)
{
    unsigned char *exact = malloc(len ? len : 1);
    const unsigned char *at = exact;
    struct pd_docker_piece piece;
    size_t left = len;
    int rc;

    memcpy(exact, data, len);
    while ((rc = pd_docker_mux_next(mux, &at, &left, &piece, NULL)) > 0) {
        assert_true(piece.len > 0);
        strncat(collected->text[piece.channel], (const char *)piece.data, piece.len);
        collected->pieces++;
    }
    if (rc == 0)
        assert_int_equal(left, 0);
    free(exact);
    return rc;
}

static void assert_whole(const struct collected *collected)
{
    assert_string_equal(collected->text[PD_DOCKER_STDOUT], "hello!");
    assert_string_equal(collected->text[PD_DOCKER_STDERR], "oops");
}

static void test_at_once(void **state)
{
    struct pd_docker_mux mux = {0};
    struct collected collected = {0};

    (void)state;
    assert_int_equal(feed(&mux, stream, STREAM_BYTES, &collected), 0);
    assert_whole(&collected);
    assert_int_equal(collected.pieces, 3);
}

/* However it is cut, the same comes out. */
static void test_every_cut(void **state)
{
    (void)state;
    for (size_t a = 0; a <= STREAM_BYTES; a++) {
        for (size_t b = a; b <= STREAM_BYTES; b++) {
            struct pd_docker_mux mux = {0};
            struct collected collected = {0};
            assert_int_equal(feed(&mux, stream, a, &collected), 0);
            assert_int_equal(feed(&mux, stream + a, b - a, &collected), 0);
            assert_int_equal(feed(&mux, stream + b, STREAM_BYTES - b, &collected), 0);
            assert_whole(&collected);
        }
    }
}

static void test_byte_by_byte(void **state)
{
    struct pd_docker_mux mux = {0};
    struct collected collected = {0};

    (void)state;
    for (size_t i = 0; i < STREAM_BYTES; i++)
        assert_int_equal(feed(&mux, stream + i, 1, &collected), 0);
    assert_whole(&collected);
}

static void test_other_framing_is_refused(void **state)
{
    static const char *const bad[] = {"\0\0\0\0\0\0\0\1x", "\4\0\0\0\0\0\0\1x", "\1\1\0\0\0\0\0\1x",
                                      "\1\0\0\1\0\0\0\1x", "HTTP/1.1 ",         "hello wor"};

    (void)state;
    for (size_t i = 0; i < PD_COUNT(bad); i++) {
        struct pd_docker_mux mux = {0};
        struct collected collected = {0};
        assert_int_equal(feed(&mux, (const unsigned char *)bad[i], 9, &collected), PD_INVALID);
        assert_int_equal(collected.pieces, 0);
    }
}

static void test_longest_frame(void **state)
{
    static const unsigned char header[] = {1, 0, 0, 0, 255, 255, 255, 255};
    struct pd_docker_mux mux = {0};
    struct collected collected = {0};

    (void)state;
    assert_int_equal(feed(&mux, header, sizeof header, &collected), 0);
    assert_int_equal(feed(&mux, (const unsigned char *)"abc", 3, &collected), 0);
    assert_int_equal(mux.left, UINT32_MAX - 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_once),       cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_byte_by_byte),  cmocka_unit_test(test_other_framing_is_refused),
        cmocka_unit_test(test_longest_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
