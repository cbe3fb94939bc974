#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "api/cookie.h"
#include "api/form.h"
#include "api/origin.h"
#include "common/mem.h"

static void test_hosts(void **state)
{
    static const struct pd_hosts hosts = {"mole", "paddock.example.com, run.example.com"};
    static const struct {
        const char *host;
        bool ours;
    } rows[] = {
        {"127.0.0.1:8000", true},
        {"localhost", true},
        {"LocalHost:1", true},
        {"localhost.:8000", true},
        {"[::1]:8000", true},
        {"[::1]", true},
        {"192.168.7.9:8000", true},
        {"mole:8000", true},
        {"Paddock.Example.com", true},
        {"run.example.com:443", true},
        {"example.com", false},
        {"paddock.example.com.evil.net", false},
        {"evil.net", false},
        {"evil.net:8000", false},
        {"127.0.0.1.evil.net", false},
        {"localhost.evil.net", false},
        {"[::1", false},
        {"[::1]x", false},
        {"[evil.net]", false},
        {"", false},
        {":8000", false},
        {".", false},
        {"0x7f.1", false},
        {"mole:80:evil", false},
        {"mole:x", false},
        {"mole::1]", false},
        {"[::1]:x", false},
        {"moles", false},
        {"mol", false},
        {"run.example.co", false},
        {",", false},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        if (pd_host_is_ours(&hosts, rows[i].host) != rows[i].ours)
            fail_msg("'%s'", rows[i].host);
    }
    assert_false(pd_host_is_ours(&(struct pd_hosts){NULL, NULL}, "mole"));
    assert_false(pd_host_is_ours(&(struct pd_hosts){"", ""}, ""));
}

static void test_origins(void **state)
{
    static const struct {
        const char *origin, *host;
        bool same;
    } rows[] = {
        {"http://localhost:8000", "localhost:8000", true},
        {"http://LOCALHOST:8000", "localhost:8000", true},
        {"https://run.example.com", "run.example.com", true},
        {"https://run.example.com", "run.example.com:443", true},
        {"https://run.example.com:443", "run.example.com", true},
        {"http://127.0.0.1", "127.0.0.1:80", true},
        {"http://[::1]:8000", "[::1]:8000", true},
        {"http://localhost:8001", "localhost:8000", false},
        {"http://localhost", "localhost:8000", false},
        {"http://localhost:443", "localhost", false},
        {"https://localhost:80", "localhost", false},
        {"http://evil.net", "localhost:8000", false},
        {"http://localhost:8000.evil.net", "localhost:8000", false},
        {"null", "null", false},
        {"", "", false},
        {"http://", "", false},
        {"ftp://localhost:8000", "localhost:8000", false},
        {"localhost:8000", "localhost:8000", false},
        {"file://", "", false},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        if (pd_origin_is_host(rows[i].origin, rows[i].host) != rows[i].same)
            fail_msg("'%s' and '%s'", rows[i].origin, rows[i].host);
    }
}

static void test_cookies(void **state)
{
    static const struct {
        const char *header, *value; /* NULL: none */
    } rows[] = {
        {"paddock_1=abc", "abc"},
        {"x=1; paddock_1=abc; y=2", "abc"},
        {"x=1;paddock_1=abc ;y=2", "abc"},
        {"paddock_1=a=b", "a=b"},
        {"  ;; ;paddock_1=abc;", "abc"},
        {"paddock_12=abc", NULL},
        {"xpaddock_1=abc", NULL},
        {"PADDOCK_1=abc", NULL},
        {"paddock_1", NULL},
        {"paddock_1=", NULL},
        {"paddock_1=  ", NULL},
        {"paddock_1=abc; paddock_1=def", NULL},
        {"paddock_1=abc; paddock_1=", NULL},
        {"paddock_1=12345678", NULL}, /* longer than fits */
        {"x=paddock_1=abc", NULL},
        {"", NULL},
        {";", NULL},
    };
    char out[8];

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        bool found = pd_cookie_find(rows[i].header, "paddock_1", out, sizeof out);
        if (found != (rows[i].value != NULL) || (found && strcmp(out, rows[i].value) != 0))
            fail_msg("'%s'", rows[i].header);
    }
}

static void test_forms(void **state)
{
    static const struct {
        const char *form, *value; /* NULL: none */
    } rows[] = {
        {"key=abc", "abc"},
        {"link=1&key=abc&x=y", "abc"},
        {"key=a%2Bb+c", "a+b c"},
        {"key=%c3%A4", "\xc3\xa4"},
        {"key=a=b", "a=b"},
        {"key=", ""},
        {"", NULL},
        {"key", NULL},
        {"&&key=abc&&", "abc"},
        {"keys=abc", NULL},
        {"Key=abc", NULL},
        {"key=abc&key=abc", NULL},
        {"key=%00", NULL},
        {"key=%", NULL},
        {"key=%4", NULL},
        {"key=%4g", NULL},
        {"key=12345678", NULL},
        {"key=1234567", "1234567"},
    };
    char out[8];

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        const char *form = rows[i].form;
        bool found = pd_form_find(form, strlen(form), "key", out, sizeof out);
        if (found != (rows[i].value != NULL) || (found && strcmp(out, rows[i].value) != 0))
            fail_msg("'%s'", form);
    }
    assert_false(pd_form_find("key=a\0b", 7, "key", out, sizeof out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_forms),
    };

    return cmocka_run_group_tests_name("origin", tests, NULL, NULL);
}
