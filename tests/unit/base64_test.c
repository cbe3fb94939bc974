#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/base64.h"
#include "common/mem.h"

static void test_vectors(void **state)
{
    /* RFC 4648, section 10 */
    static const char *const vectors[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(vectors); i++) {
        char out[16] = "";
        size_t len = 99;
        struct pd_buf buf;
        pd_buf_init(&buf, 16);
        assert_int_equal(pd_base64_encode(vectors[i][0], strlen(vectors[i][0]), &buf, NULL), 0);
        assert_string_equal(buf.data ? buf.data : "", vectors[i][1]);
        assert_int_equal(pd_base64_decode(vectors[i][1], strlen(vectors[i][1]), out, &len), 0);
        assert_int_equal(len, strlen(vectors[i][0]));
        assert_memory_equal(out, vectors[i][0], len);
        pd_buf_fini(&buf);
    }
}

static void test_every_byte_in_place(void **state)
{
    unsigned char bytes[256];
    struct pd_buf buf;
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    pd_buf_init(&buf, 1024);
    assert_int_equal(pd_base64_encode(bytes, sizeof bytes, &buf, NULL), 0);
    assert_int_equal(buf.len, 344);
    assert_int_equal(pd_base64_decode(buf.data, buf.len, buf.data, &len), 0);
    assert_int_equal(len, sizeof bytes);
    assert_memory_equal(buf.data, bytes, len);
    pd_buf_fini(&buf);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {"Zg",    "Zg=",  "Zg===", "Z===", "====", "Zg==Zg==",
                                        "Zm9\n", "Zm 9", "Zm-_",  "Zh==", "Zm9=", "=Zg="};
    char out[16];
    size_t len;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(texts); i++) {
        if (pd_base64_decode(texts[i], strlen(texts[i]), out, &len) != PD_INVALID)
            fail_msg("%s", texts[i]);
    }
}

static void test_limit(void **state)
{
    struct pd_buf buf;

    (void)state;
    pd_buf_init(&buf, 7);
    assert_int_equal(pd_base64_encode("four", 4, &buf, NULL), PD_LIMIT);
    assert_int_equal(buf.len, 0);
    pd_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_byte_in_place),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
