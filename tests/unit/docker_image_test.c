#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/mem.h"
#include "controller/docker_image.h"

static void test_references(void **state)
{
    static const struct {
        const char *reference, *name, *tag;
    } good[] = {
        {"python", "python", "latest"},
        {"python:3.11-slim", "python", "3.11-slim"},
        {"library/python:3", "library/python", "3"},
        {"localhost:5000/a/b", "localhost:5000/a/b", "latest"},
        {"localhost:5000/a/b:1.2_x", "localhost:5000/a/b", "1.2_x"},
        {"a@sha256:0123", "a@sha256:0123", ""},
        {"host:1/a:tag@sha256:0123", "host:1/a:tag@sha256:0123", ""},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(good); i++) {
        char name[PD_DOCKER_IMAGE_NAME_MAX], tag[PD_DOCKER_IMAGE_NAME_MAX];
        assert_int_equal(pd_docker_image_parse(good[i].reference, name, tag, NULL), 0);
        assert_string_equal(name, good[i].name);
        assert_string_equal(tag, good[i].tag);
    }
}

/* What would change the meaning of the path or the query that it goes into. */
static void test_what_is_none(void **state)
{
    static const char *const bad[] = {"",    "/a",  "a//b", "../containers", "a/../b", "a/./b",
                                      "a?b", "a#b", "a b",  "a%2fb",         "a&t=x",  "-a",
                                      ".a",  "a/",  "a\nb", "\xc3\xa9",      "a..b",   "a;b"};
    char name[PD_DOCKER_IMAGE_NAME_MAX], tag[PD_DOCKER_IMAGE_NAME_MAX];
    char longest[PD_DOCKER_IMAGE_NAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < PD_COUNT(bad); i++) {
        if (pd_docker_image_parse(bad[i], name, tag, NULL) != PD_INVALID)
            fail_msg("'%s'", bad[i]);
    }
    memset(longest, 'a', sizeof longest);
    longest[PD_DOCKER_IMAGE_NAME_MAX] = '\0';
    assert_int_equal(pd_docker_image_parse(longest, name, tag, NULL), PD_INVALID);
    longest[PD_DOCKER_IMAGE_NAME_MAX - 1] = '\0';
    assert_int_equal(pd_docker_image_parse(longest, name, tag, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
