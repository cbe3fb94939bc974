#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/mem.h"
#include "controller/docker_address.h"

static const struct {
    const char *host;
    bool tls;
    const char *socket, *name;
    int port;
    const char *base_url;
} good[] = {
    {NULL, false, "/var/run/docker.sock", NULL, 0, "http://docker"},
    {"", true, "/var/run/docker.sock", NULL, 0, "http://docker"},
    {"unix:///run/user/1000/docker.sock", false, "/run/user/1000/docker.sock", NULL, 0,
     "http://docker"},
    {"tcp://127.0.0.1:2375", false, NULL, "127.0.0.1", 2375, "http://127.0.0.1:2375"},
    {"tcp://engine", false, NULL, "engine", 2375, "http://engine:2375"},
    {"tcp://engine/", true, NULL, "engine", 2376, "https://engine:2376"},
    {"tcp://[::1]:99", false, NULL, "::1", 99, "http://[::1]:99"},
    {"tcp://[::1]", true, NULL, "::1", 2376, "https://[::1]:2376"},
    {"https://engine:8443", false, NULL, "engine", 8443, "https://engine:8443"},
    {"http://engine", false, NULL, "engine", 2375, "http://engine:2375"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < PD_COUNT(good); i++) {
        struct pd_docker_address address;
        assert_int_equal(pd_docker_address_parse(good[i].host, good[i].tls, NULL, &address, NULL),
                         0);
        if (good[i].socket)
            assert_string_equal(address.socket_path, good[i].socket);
        else
            assert_string_equal(address.host, good[i].name);
        assert_int_equal(!address.socket_path, !good[i].socket);
        assert_int_equal(address.port, good[i].port);
        assert_string_equal(address.base_url, good[i].base_url);
        pd_docker_address_fini(&address);
    }
}

static void test_bad(void **state)
{
    static const char *const bad[] = {
        "ssh://user@host",
        "npipe:////./pipe/docker",
        "fd://",
        "engine:2375",
        "unix://",
        "unix://relative",
        "tcp://",
        "tcp://:2375",
        "tcp://a:0",
        "tcp://a:65536",
        "tcp://a:99999999999999999999",
        "tcp://a:x",
        "tcp://a b",
        "tcp://a/path",
        "tcp://[::1",
        "tcp://[::1]x",
        "tcp://user@host",
        "tcp://a\r\nb",
        "tcp://a:",
    };
    char longest[200] = "unix:///";

    (void)state;
    for (size_t i = 0; i < PD_COUNT(bad); i++) {
        struct pd_docker_address address;
        struct pd_err err;
        if (pd_docker_address_parse(bad[i], false, NULL, &address, &err) != PD_INVALID)
            fail_msg("%s", bad[i]);
        assert_non_null(strstr(err.msg, "DOCKER_HOST"));
    }
    memset(longest + 8, 'x', sizeof longest - 9);
    assert_true(pd_docker_address_parse(longest, false, NULL, &(struct pd_docker_address){0},
                                        &(struct pd_err){0}) == PD_INVALID);
}

static void test_certificates(void **state)
{
    struct pd_docker_address address;

    (void)state;
    assert_int_equal(pd_docker_address_parse("tcp://engine", true, "/certs", &address, NULL), 0);
    assert_string_equal(address.tls_files.ca_file, "/certs/ca.pem");
    assert_string_equal(address.tls_files.cert_file, "/certs/cert.pem");
    assert_string_equal(address.tls_files.key_file, "/certs/key.pem");
    pd_docker_address_fini(&address);
    assert_int_equal(pd_docker_address_parse("tcp://engine", false, "/certs", &address, NULL), 0);
    assert_null(address.tls_files.ca_file);
    pd_docker_address_fini(&address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_certificates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
