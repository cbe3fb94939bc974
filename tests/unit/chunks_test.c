#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/chunks.h"
#include "common/mem.h"

/* Feed `text` in pieces of `step`. The rc; what was in it is in `out`. */
static int feed(const char *text, size_t step, struct pd_buf *out, size_t *ret_used, bool *ret_done)
{
    struct pd_chunks chunks;
    size_t len = strlen(text);
    size_t at = 0;
    int rc = 0;

    pd_chunks_init(&chunks);
    while (rc == 0 && at < len && !pd_chunks_done(&chunks)) {
        size_t piece = len - at < step ? len - at : step;
        size_t used = 0;
        rc = pd_chunks_feed(&chunks, text + at, piece, out, &used);
        assert_true(used <= piece);
        assert_true(rc < 0 || used == piece || pd_chunks_done(&chunks));
        at += used;
    }
    *ret_used = at;
    *ret_done = pd_chunks_done(&chunks);
    return rc;
}

static void test_bodies(void **state)
{
    static const struct {
        const char *text, *body;
        int rc;
        size_t rest; /* bytes behind the body */
        bool done;
    } cases[] = {
        {"0\r\n\r\n", "", 0, 0, true},
        {"5\r\nhello\r\n0\r\n\r\n", "hello", 0, 0, true},
        {"5\r\nhello\r\n0\r\n\r\nGET", "hello", 0, 3, true},
        {"5;a=b;c\r\nhello\r\n1 \r\n!\r\n000\r\nX: y\r\nZ: z\r\n\r\n", "hello!", 0, 0, true},
        {"A\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0, 0, true},
        {"5\r\nhel", "hel", 0, 0, false},
        {"\r\n", "", PD_INVALID, 0, false},
        {"x\r\n", "", PD_INVALID, 0, false},
        {"-1\r\n", "", PD_INVALID, 0, false},
        {"5\nhello", "", PD_INVALID, 0, false},
        {"5\rhello", "", PD_INVALID, 0, false},
        {"5;a\nhello", "", PD_INVALID, 0, false},
        {"1\r\nab\r\n", "a", PD_INVALID, 0, false},
        {"1\r\na\n", "a", PD_INVALID, 0, false},
        {"0\r\n\n", "", PD_INVALID, 0, false},
        {"0\r\nA: b\nC: d\r\n\r\n", "", PD_INVALID, 0, false},
        {"FFFFFFFFFFFFFFFFFFFF\r\n", "", PD_INVALID, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        for (size_t step = 1; step < 8; step++) {
            struct pd_buf out;
            size_t used;
            bool done;
            int rc;
            pd_buf_init(&out, 1024);
            rc = feed(cases[i].text, step, &out, &used, &done);
            if (rc != cases[i].rc || done != cases[i].done ||
                strcmp(out.data ? out.data : "", cases[i].body) != 0 ||
                (rc == 0 && strlen(cases[i].text) - used != cases[i].rest))
                fail_msg("%s by %zu: %d, %s", cases[i].text, step, rc, out.data);
            pd_buf_fini(&out);
        }
    }
}

static void test_bounds(void **state)
{
    char text[PD_CHUNK_TRAILER_BYTES_MAX + 64] = "1;";
    struct pd_buf out;
    size_t used;
    bool done;

    (void)state;
    pd_buf_init(&out, 4);
    assert_int_equal(feed("5\r\nhello\r\n0\r\n\r\n", 100, &out, &used, &done), PD_LIMIT);
    memset(text + 2, 'x', PD_CHUNK_LINE_BYTES_MAX);
    assert_int_equal(feed(text, 100, &out, &used, &done), PD_INVALID);
    strcpy(text, "0\r\n");
    memset(text + 3, 'x', PD_CHUNK_TRAILER_BYTES_MAX + 1);
    assert_int_equal(feed(text, 100, &out, &used, &done), PD_INVALID);
    pd_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests_name("chunks", tests, NULL, NULL);
}
