#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "common/mem.h"

#define WORDS_MAX 8

static int parse(const char *const words[WORDS_MAX], struct pd_options *options, struct pd_err *err)
{
    char *argv[WORDS_MAX + 2] = {(char[]){"serve"}};
    int argc = 1, result;

    for (int i = 0; i < WORDS_MAX && words[i]; i++)
        argv[argc++] = pd_strdup(words[i]);
    result = pd_options_parse(argc, argv, options, err);
    for (int i = 1; i < argc; i++)
        free(argv[i]);
    return result;
}

static int clear_environment(void **state)
{
    (void)state;
    static const char *const names[] = {"SANDBOX_PROVIDER", "PADDOCK_LISTEN", "PADDOCK_CONFIG",
                                        "PADDOCK_POOLS_DIR", "PADDOCK_STATE_DIR",
                                        "PADDOCK_LOG_LEVEL", "DOCKER_HOST", "DOCKER_TLS_VERIFY",
                                        "DOCKER_CERT_PATH"};
    for (size_t i = 0; i < PD_COUNT(names); i++)
        unsetenv(names[i]);
    return 0;
}

static void test_listen(void **state)
{
    static const struct {
        const char *what, *text, *address; /* NULL: refused */
        int port;
    } rows[] = {
        {"port alone", "8000", "127.0.0.1", 8000},
        {"colon and port", ":9", "127.0.0.1", 9},
        {"address and port", "0.0.0.0:65535", "0.0.0.0", 65535},
        {"any free port", "localhost:0", "localhost", 0},
        {"IPv6", "[::1]:80", "::1", 80},
        {"IPv6 without brackets", "::1:80", NULL, 0},
        {"no port", "127.0.0.1:", NULL, 0},
        {"no port at all", "localhost", NULL, 0},
        {"port too large", "1.2.3.4:65536", NULL, 0},
        {"negative port", "1.2.3.4:-1", NULL, 0},
        {"port with a sign", "1.2.3.4:+1", NULL, 0},
        {"trailing text", "1.2.3.4:80x", NULL, 0},
        {"huge", "1.2.3.4:99999999999999999999", NULL, 0},
        {"empty", "", NULL, 0},
        {"space", "1.2.3.4: 80", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        pd_autofree char *address = NULL;
        struct pd_err err = {.kind = 0};
        int port = -1;
        int result = pd_listen_parse(rows[i].text, &address, &port, &err);

        if (!rows[i].address) {
            if (result != PD_INVALID || address || port != -1)
                fail_msg("%s: was taken", rows[i].what);
            continue;
        }
        if (result != 0 || strcmp(address, rows[i].address) != 0 || port != rows[i].port)
            fail_msg("%s: got %d, %s, %d", rows[i].what, result, address ? address : "-", port);
    }
}

static void test_defaults(void **state)
{
    const char *const words[WORDS_MAX] = {NULL};
    struct pd_options options;
    struct pd_err err;

    (void)state;
    assert_int_equal(parse(words, &options, &err), 0);
    assert_int_equal(options.provider, PD_PROVIDER_DOCKER);
    assert_string_equal(options.address, "127.0.0.1");
    assert_int_equal(options.port, 8000);
    assert_int_equal(options.log_level, PD_LOG_INFO);
    assert_null(options.docker.host);
    assert_false(options.help);
    pd_options_fini(&options);
}

/* Each setting by environment alone, then by a flag that wins over it. */
static void test_flag_wins_over_environment(void **state)
{
    const char *const none[WORDS_MAX] = {NULL};
    const char *const flags[WORDS_MAX] = {"docker", "--listen=1.1.1.1:1", "--config", "/flag/c.yaml",
                                          "--state-dir", "/flag/state", "--log-level=error"};
    struct pd_options options;
    struct pd_err err;

    (void)state;
    setenv("SANDBOX_PROVIDER", "ecs", 1);
    setenv("PADDOCK_LISTEN", "2.2.2.2:2", 1);
    setenv("PADDOCK_CONFIG", "/env/c.yaml", 1);
    setenv("PADDOCK_STATE_DIR", "/env/state", 1);
    setenv("PADDOCK_LOG_LEVEL", "warn", 1);
    setenv("DOCKER_HOST", "unix:///env.sock", 1);
    assert_int_equal(parse(none, &options, &err), 0);
    assert_int_equal(options.provider, PD_PROVIDER_ECS);
    assert_string_equal(options.address, "2.2.2.2");
    assert_string_equal(options.config, "/env/c.yaml");
    assert_string_equal(options.pools_dir, "/env/pools.d");
    assert_string_equal(options.state_dir, "/env/state");
    assert_string_equal(options.docker.host, "unix:///env.sock");
    assert_int_equal(options.log_level, PD_LOG_WARN);
    pd_options_fini(&options);

    assert_int_equal(parse(flags, &options, &err), 0);
    assert_int_equal(options.provider, PD_PROVIDER_DOCKER);
    assert_string_equal(options.address, "1.1.1.1");
    assert_int_equal(options.port, 1);
    assert_string_equal(options.config, "/flag/c.yaml");
    assert_string_equal(options.pools_dir, "/flag/pools.d");
    assert_string_equal(options.state_dir, "/flag/state");
    assert_int_equal(options.log_level, PD_LOG_ERROR);
    pd_options_fini(&options);
}

static void test_pools_dir(void **state)
{
    static const struct {
        const char *what, *words[WORDS_MAX], *env, *wanted;
    } rows[] = {
        {"beside the config", {"--config", "conf/x.yaml"}, NULL, "conf/pools.d"},
        {"config without a folder", {"--config", "x.yaml"}, NULL, "pools.d"},
        {"config in the root", {"--config", "/x.yaml"}, NULL, "/pools.d"},
        {"by flag", {"--config", "a/x.yaml", "--pools-dir", "b"}, "c", "b"},
        {"by environment", {"--config", "a/x.yaml"}, "c", "c"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        struct pd_options options;
        struct pd_err err;

        if (rows[i].env)
            setenv("PADDOCK_POOLS_DIR", rows[i].env, 1);
        else
            unsetenv("PADDOCK_POOLS_DIR");
        assert_int_equal(parse(rows[i].words, &options, &err), 0);
        if (!options.pools_dir || strcmp(options.pools_dir, rows[i].wanted) != 0)
            fail_msg("%s: got %s", rows[i].what, options.pools_dir ? options.pools_dir : "none");
        pd_options_fini(&options);
    }
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *words[WORDS_MAX];
        const char *named; /* what the message must name */
    } rows[] = {
        {{"podman"}, "podman"},
        {{"--listen"}, "--listen"},
        {{"--listen", "x"}, "'x'"},
        {{"--log-level", "loud"}, "loud"},
        {{"--color"}, "--color"},
        {{"docker", "twice"}, "twice"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        struct pd_options options;
        struct pd_err err = {.kind = 0};

        assert_int_equal(parse(rows[i].words, &options, &err), PD_INVALID);
        if (!strstr(err.msg, rows[i].named))
            fail_msg("'%s' does not name %s", err.msg, rows[i].named);
        pd_options_fini(&options);
    }
}

static void test_help(void **state)
{
    const char *const words[WORDS_MAX] = {"--help"};
    struct pd_options options;
    struct pd_err err;

    (void)state;
    assert_int_equal(parse(words, &options, &err), 0);
    assert_true(options.help);
    pd_options_fini(&options);
}

static void test_where_a_client_asks(void **state)
{
    static const struct {
        const char *listen, *url;
    } rows[] = {
        {NULL, "http://127.0.0.1:8000"},     {"", "http://127.0.0.1:8000"},
        {"0.0.0.0:81", "http://127.0.0.1:81"}, {"[::]:81", "http://[::1]:81"},
        {"[::1]:81", "http://[::1]:81"},     {"10.0.0.7:81", "http://10.0.0.7:81"},
        {"nonsense", "http://127.0.0.1:8000"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        pd_autofree char *url = NULL;
        if (rows[i].listen)
            setenv("PADDOCK_LISTEN", rows[i].listen, 1);
        url = pd_listen_url();
        assert_string_equal(url, rows[i].url);
    }
    unsetenv("PADDOCK_LISTEN");
}

#define ALONE(test) cmocka_unit_test_setup(test, clear_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(test_listen), ALONE(test_defaults), ALONE(test_flag_wins_over_environment),
        ALONE(test_pools_dir), ALONE(test_mistakes), ALONE(test_help),
        ALONE(test_where_a_client_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
