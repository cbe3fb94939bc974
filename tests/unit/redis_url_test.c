#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/mem.h"
#include "common/redis_url.h"

static void check_text(const char *what, const char *is, const char *wanted)
{
    if (!is != !wanted || (is && strcmp(is, wanted) != 0))
        fail_msg("%s: '%s' is not '%s'", what, is ? is : "NULL", wanted ? wanted : "NULL");
}

static void test_good_ones(void **state)
{
    static const struct {
        const char *text, *host, *path, *user, *password, *shown;
        int port, db;
        bool tls;
    } cases[] = {
        {"redis://localhost", "localhost", NULL, NULL, NULL, "redis://localhost:6379/0", 6379, 0,
         false},
        {"redis://localhost/", "localhost", NULL, NULL, NULL, "redis://localhost:6379/0", 6379, 0,
         false},
        {"redis://h:7/15", "h", NULL, NULL, NULL, "redis://h:7/15", 7, 15, false},
        {"redis://:pw@h", "h", NULL, NULL, "pw", "redis://h:6379/0", 6379, 0, false},
        {"redis://me:p%40w%3a@h", "h", NULL, "me", "p@w:", "redis://h:6379/0", 6379, 0, false},
        {"redis://me:p@w@h", "h", NULL, "me", "p@w", "redis://h:6379/0", 6379, 0, false},
        {"rediss://:x:y@[::1]:6380/2", "::1", NULL, NULL, "x:y", "rediss://[::1]:6380/2", 6380, 2,
         true},
        {"unix:///run/r.sock", NULL, "/run/r.sock", NULL, NULL, "unix:///run/r.sock?db=0", 6379, 0,
         false},
        {"redis+unix://:pw@/run/r.sock?db=3", NULL, "/run/r.sock", NULL, "pw",
         "unix:///run/r.sock?db=3", 6379, 3, false},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_redis_url url;
        struct pd_err err = {.msg = ""};
        if (pd_redis_url_parse(cases[i].text, &url, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.msg);
        check_text(cases[i].text, url.host, cases[i].host);
        check_text(cases[i].text, url.socket_path, cases[i].path);
        check_text(cases[i].text, url.user, cases[i].user);
        check_text(cases[i].text, url.password.bytes, cases[i].password);
        check_text(cases[i].text, url.shown, cases[i].shown);
        assert_int_equal(url.port, cases[i].port);
        assert_int_equal(url.db, cases[i].db);
        assert_int_equal(url.tls, cases[i].tls);
        pd_redis_url_fini(&url);
    }
}

static void test_bad_ones(void **state)
{
    static const char *const cases[] = {
        "",
        "localhost:6379",
        "http://h",
        "redis://",
        "redis:///0",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/65536",
        "redis://h/0?x=1",
        "redis://::1",
        "redis://[::1",
        "redis://[::1]x",
        "redis://[]:1",
        "redis://a b",
        "redis://h%41",
        "redis://me@h",
        "redis://me:@h",
        "redis://:secret%4@h",
        "redis://:secret%zz@h",
        "redis://:secret%00@h",
        "unix://relative",
        "unix:///",
        "unix:///p?x",
        "unix:///p?db=x",
        "unix:///p?db=",
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_redis_url url;
        struct pd_err err;
        if (pd_redis_url_parse(cases[i], &url, &err) != PD_INVALID)
            fail_msg("'%s' was taken", cases[i]);
        assert_null(strstr(err.msg, "secret")); /* what may be a password is not repeated */
    }
}

static void test_bounds(void **state)
{
    char text[PD_REDIS_URL_BYTES_MAX + 2];
    struct pd_redis_url url;

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "redis://:", 9);
    memcpy(text + PD_REDIS_URL_BYTES_MAX - 2, "@h", 3);
    assert_int_equal(pd_redis_url_parse(text, &url, NULL), 0);
    assert_int_equal(url.password.len, PD_REDIS_URL_BYTES_MAX - 11);
    pd_redis_url_fini(&url);
    memcpy(text + PD_REDIS_URL_BYTES_MAX - 2, "a@h", 4);
    assert_int_equal(pd_redis_url_parse(text, &url, NULL), PD_INVALID);
    memcpy(text, "unix:///", 8);
    text[8 + 107] = '\0';
    assert_int_equal(pd_redis_url_parse(text, &url, NULL), PD_INVALID); /* cut by sun_path */
    text[8 + 106] = '\0';
    assert_int_equal(pd_redis_url_parse(text, &url, NULL), 0);
    pd_redis_url_fini(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones),
        cmocka_unit_test(test_bad_ones),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
