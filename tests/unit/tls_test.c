/* What needs no peer; whole sessions are in integration/docker_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/mem.h"
#include "common/tls.h"

static struct pd_tls *session(const char *peer)
{
    const struct pd_tls_config config = {.peer = peer};
    struct pd_tls *tls = NULL;

    assert_int_equal(pd_tls_new(&config, &tls, NULL), 0);
    return tls;
}

static void test_begins_by_itself(void **state)
{
    struct pd_tls *tls = session("engine.example");
    const char *data;
    size_t len;

    (void)state;
    assert_int_equal(pd_tls_to_send(tls, &data), 0);
    assert_int_equal(pd_tls_step(tls, NULL), 0);
    assert_false(pd_tls_is_open(tls));
    len = pd_tls_to_send(tls, &data);
    assert_true(len > 5);
    assert_int_equal(data[0], 22); /* handshake (RFC 8446, 5.1) */
    assert_non_null(memmem(data, len, "engine.example", 14));
    pd_tls_sent(tls);
    assert_int_equal(pd_tls_to_send(tls, &data), 0);
    assert_int_equal(pd_tls_step(tls, NULL), 0); /* nothing came: nothing new to say */
    assert_int_equal(pd_tls_to_send(tls, &data), 0);
    pd_tls_free(tls);
}

/* RFC 6066, 3: literal addresses are not permitted as names. */
static void test_address_is_not_sent_as_name(void **state)
{
    struct pd_tls *tls = session("192.0.2.7");
    const char *data;
    size_t len;

    (void)state;
    assert_int_equal(pd_tls_step(tls, NULL), 0);
    len = pd_tls_to_send(tls, &data);
    assert_null(memmem(data, len, "192.0.2.7", 9));
    pd_tls_free(tls);
}

static void test_peers_that_speak_no_tls(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } said[] = {{"HTTP/1.1 400 Bad Request\r\n\r\n", 28},
                {"SSH-2.0-OpenSSH_9.2\r\n", 21},
                {"\x15\x03\x03\0\x02\x02\x28", 7}, /* alert: handshake failure */
                {"\x16\x03\x03\xff\xff", 5}};

    (void)state;
    for (size_t i = 0; i < PD_COUNT(said); i++) {
        struct pd_tls *tls = session("engine");
        struct pd_err err;
        assert_int_equal(pd_tls_step(tls, NULL), 0);
        pd_tls_feed(tls, said[i].text, said[i].len);
        assert_int_equal(pd_tls_step(tls, &err), PD_UNAVAILABLE);
        assert_false(pd_tls_is_open(tls));
        pd_tls_free(tls);
    }
}

static void test_files_that_cannot_be_used(void **state)
{
    const struct pd_tls_config bad[] = {
        {.peer = "x", .ca_file = "/nonexistent/ca.pem"},
        {.peer = "x", .ca_file = "/dev/null"},
        {.peer = "x", .cert_file = "/nonexistent/cert.pem", .key_file = "/nonexistent/key.pem"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(bad); i++) {
        struct pd_tls *tls = NULL;
        struct pd_err err;
        assert_int_equal(pd_tls_new(&bad[i], &tls, &err), PD_INVALID);
        assert_null(tls);
        assert_non_null(strstr(err.msg, i < 2 ? bad[i].ca_file : bad[i].cert_file));
    }
    pd_tls_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_by_itself),
        cmocka_unit_test(test_address_is_not_sent_as_name),
        cmocka_unit_test(test_peers_that_speak_no_tls),
        cmocka_unit_test(test_files_that_cannot_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
