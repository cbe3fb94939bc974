/* The Redis client against real servers: unix socket, TCP, TLS; restarts,
 * pauses, wrong passwords, full memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/loop_redis.h"
#include "common/mem.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/redis_server.h"

#define WAIT_MS 60000

struct ctx {
    uv_loop_t loop;
    struct pd_redis *redis;
    struct pd_err down_err;
    unsigned ups, downs;
    bool up, down, closed;
};

static void on_up(void *arg)
{
    struct ctx *ctx = arg;
    ctx->ups++;
    ctx->up = true;
}

static void on_down(void *arg, const struct pd_err *err)
{
    struct ctx *ctx = arg;
    ctx->downs++;
    ctx->down = true;
    ctx->down_err = *err;
}

static void on_closed(void *arg)
{
    ((struct ctx *)arg)->closed = true;
}

static void open_with(struct ctx *ctx, const char *text, const char *ca_file, int timeout_ms)
{
    struct pd_redis_url url;
    struct pd_redis_config config = {
        .url = &url, .ca_file = ca_file, .command_timeout_ms = timeout_ms};

    *ctx = (struct ctx){.ups = 0};
    uv_loop_init(&ctx->loop);
    config.loop = &ctx->loop;
    assert_int_equal(pd_redis_url_parse(text, &url, NULL), 0);
    ctx->redis = pd_redis_open(&config);
    pd_redis_url_fini(&url);
    pd_redis_observe(ctx->redis, &(struct pd_redis_observer){on_up, on_down, ctx});
}

static void open_up(struct ctx *ctx, const char *text, const char *ca_file)
{
    open_with(ctx, text, ca_file, 0);
    if (!pd_loop_until(&ctx->loop, &ctx->up, WAIT_MS))
        fail_msg("%s: %s", text, ctx->down_err.msg);
    assert_true(pd_redis_is_up(ctx->redis));
}

static void close_ctx(struct ctx *ctx)
{
    pd_redis_close(ctx->redis, on_closed, ctx);
    assert_true(pd_loop_until(&ctx->loop, &ctx->closed, WAIT_MS));
    assert_true(pd_loop_finish(&ctx->loop, WAIT_MS));
}

/* What one command came to. */
struct answer {
    bool done;
    int kind;
    char text[600];
    int64_t integer;
    size_t len;
};

static void on_answer(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct answer *answer = arg;

    assert_false(answer->done);
    answer->done = true;
    answer->kind = err ? err->kind : 0;
    pd_strcpy(answer->text, sizeof answer->text, err ? err->msg : reply->text ? reply->text : "");
    answer->integer = err ? 0 : reply->integer;
    answer->len = err ? 0 : reply->len;
}

static int send_words(struct ctx *ctx, struct answer *answer, const char *const *words)
{
    struct pd_redis_arg args[16];
    size_t n = 0;
    struct pd_err err;
    int rc;

    *answer = (struct answer){.done = false};
    for (; words[n]; n++)
        args[n] = PD_REDIS_TEXT(words[n]);
    rc = pd_redis_command(ctx->redis, args, n, on_answer, answer, &err);
    assert_false(answer->done); /* never before the call returns */
    return rc;
}
#define SEND(ctx, answer, ...) send_words(ctx, answer, (const char *const[]){__VA_ARGS__, NULL})

static void wait_answer(struct ctx *ctx, struct answer *answer)
{
    assert_true(pd_loop_until(&ctx->loop, &answer->done, WAIT_MS));
}

#define ASK(ctx, answer, ...)                                                                      \
    do {                                                                                           \
        assert_int_equal(SEND(ctx, answer, __VA_ARGS__), 0);                                       \
        wait_answer(ctx, answer);                                                                  \
    } while (0)

static bool lacks_redis(void)
{
    if (!pd_redis_server_lacks())
        return false;
    printf("SKIP integration/redis: %s\n", pd_redis_server_lacks());
    return true;
}

static void set_and_get(const char *url, const char *ca_file)
{
    struct ctx ctx;
    struct answer answer;

    open_up(&ctx, url, ca_file);
    ASK(&ctx, &answer, "SET", "key", url);
    assert_string_equal(answer.text, "OK");
    ASK(&ctx, &answer, "GET", "key");
    assert_string_equal(answer.text, url);
    assert_int_equal(strlen(pd_redis_run_id(ctx.redis)), 40);
    close_ctx(&ctx);
}

static void test_ways_to_it(void **state)
{
    struct pd_redis_server *server;
    pd_autofree char *ca = NULL, *localhost = NULL, *with_db = NULL;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    ca = pd_asprintf("%s/ca.pem", pd_redis_server_dir(server));
    localhost = pd_asprintf("redis://localhost:%d", pd_redis_server_port(server));
    with_db = pd_asprintf("%s/7", pd_redis_server_tcp_url(server));
    set_and_get(pd_redis_server_unix_url(server), NULL);
    set_and_get(pd_redis_server_tcp_url(server), NULL);
    set_and_get(localhost, NULL);
    set_and_get(with_db, NULL);
    assert_true(pd_redis_server_cli(server, "-n 7 GET key | grep -q /7"));
    pd_redis_server_free(server);
}

static void expect_down(const char *url, const char *ca_file, int kind, const char *text)
{
    struct ctx ctx;

    open_with(&ctx, url, ca_file, 0);
    assert_true(pd_loop_until(&ctx.loop, &ctx.down, WAIT_MS));
    if (ctx.down_err.kind != kind || !strstr(ctx.down_err.msg, text))
        fail_msg("%s: %d %s", url, ctx.down_err.kind, ctx.down_err.msg);
    assert_false(ctx.up);
    assert_string_equal(pd_redis_why_down(ctx.redis), ctx.down_err.msg);
    close_ctx(&ctx);
}

/* The server's certificate is for 127.0.0.1, and it asks for one of ours. */
static void test_tls(void **state)
{
    const char *const extra[] = {"--tls-auth-clients", "no", NULL};
    struct pd_redis_server *server;
    pd_autofree char *ca = NULL, *other = NULL, *localhost = NULL, *plain = NULL;
    const char *port;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(extra);
    ca = pd_asprintf("%s/ca.pem", pd_redis_server_dir(server));
    other = pd_asprintf("%s/other-ca.pem", pd_redis_server_dir(server));
    port = strrchr(pd_redis_server_tls_url(server), ':');
    localhost = pd_asprintf("rediss://localhost%s", port);
    plain = pd_asprintf("redis://127.0.0.1%s", port);
    set_and_get(pd_redis_server_tls_url(server), ca);
    expect_down(pd_redis_server_tls_url(server), other, PD_DENIED, "certificate");
    expect_down(pd_redis_server_tls_url(server), NULL, PD_DENIED, "certificate");
    expect_down(localhost, ca, PD_DENIED, "certificate"); /* the name is not the certificate's */
    expect_down(pd_redis_server_tls_url(server), "/nonexistent", PD_INVALID, "/nonexistent");
    expect_down(plain, NULL, PD_UNAVAILABLE, ""); /* no TLS where TLS is spoken */
    pd_redis_server_free(server);
}

static void test_passwords(void **state)
{
    const char *const extra[] = {"--requirepass", "right", NULL};
    struct pd_redis_server *server;
    pd_autofree char *good = NULL, *bad = NULL, *user = NULL, *wrong_user = NULL, *no_db = NULL;
    int port;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(extra);
    port = pd_redis_server_port(server);
    good = pd_asprintf("redis://:right@127.0.0.1:%d", port);
    bad = pd_asprintf("redis://:sesame@127.0.0.1:%d", port);
    user = pd_asprintf("redis://ann:tea%%40two@127.0.0.1:%d", port);
    wrong_user = pd_asprintf("redis://bob:tea%%40two@127.0.0.1:%d", port);
    no_db = pd_asprintf("redis://:right@127.0.0.1:%d/99", port);
    assert_true(
        pd_redis_server_cli(server, "-a right ACL SETUSER ann on '>tea@two' '~*' '&*' +@all"));
    set_and_get(good, NULL);
    set_and_get(user, NULL);
    expect_down(bad, NULL, PD_DENIED, "WRONGPASS");
    expect_down(wrong_user, NULL, PD_DENIED, "WRONGPASS");
    expect_down(pd_redis_server_tcp_url(server), NULL, PD_DENIED, "NOAUTH");
    expect_down(no_db, NULL, PD_DENIED, "DB index");
    pd_redis_server_free(server);
}

static void test_nobody_there(void **state)
{
    struct ctx ctx;
    struct answer answer;

    (void)state;
    expect_down("unix:///nonexistent/redis.sock", NULL, PD_UNAVAILABLE, "/nonexistent/redis.sock");
    expect_down("redis://127.0.0.1:1", NULL, PD_UNAVAILABLE, "refused");
    expect_down("redis://host.invalid", NULL, PD_UNAVAILABLE, "host.invalid");
    open_with(&ctx, "redis://:secret@127.0.0.1:1", NULL, 0);
    assert_int_equal(SEND(&ctx, &answer, "PING"), PD_UNAVAILABLE);
    /* Pauses grow: over two seconds there are a handful of attempts. */
    pd_loop_for(&ctx.loop, 2000);
    assert_in_range(ctx.downs, 3, 12);
    assert_null(strstr(ctx.down_err.msg, "secret"));
    close_ctx(&ctx);
}

struct channel {
    unsigned begun, messages;
    bool has_begun, has_message;
    char last[64];
    struct pd_redis_subscription *subscription;
    bool give_up; /* when a message comes */
};

static void on_begun(void *arg)
{
    struct channel *channel = arg;
    channel->begun++;
    channel->has_begun = true;
}

static void on_message(void *arg, const void *data, size_t len)
{
    struct channel *channel = arg;
    (void)len;
    channel->messages++;
    channel->has_message = true;
    pd_strcpy(channel->last, sizeof channel->last, data);
    if (channel->give_up)
        pd_redis_unsubscribe(channel->subscription);
}

static const struct pd_redis_subscriber subscriber = {.begun = on_begun, .message = on_message};

/* kill -9 in the middle: what waits fails, then all of it works again, scripts
 * and channels too, and the server is seen to be another one. */
static void test_restart(void **state)
{
    const char *const extra[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    struct pd_redis_script script = pd_redis_script_of("return {KEYS[1], ARGV[1]}");
    struct pd_redis_arg args[] = {PD_REDIS_TEXT("k"), PD_REDIS_TEXT("v")};
    struct pd_redis_server *server;
    struct channel channel = {.begun = 0};
    struct answer answer, waiting[100];
    struct ctx ctx;
    char run_id[64];

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(extra);
    open_up(&ctx, pd_redis_server_tcp_url(server), NULL);
    pd_strcpy(run_id, sizeof run_id, pd_redis_run_id(ctx.redis));
    assert_int_equal(
        pd_redis_subscribe(ctx.redis, "c", &subscriber, &channel, &channel.subscription, NULL), 0);
    assert_true(pd_loop_until(&ctx.loop, &channel.has_begun, WAIT_MS));
    ASK(&ctx, &answer, "SET", "kept", "1");
    pd_redis_server_freeze(server, true);
    for (size_t i = 0; i < PD_COUNT(waiting); i++)
        assert_int_equal(SEND(&ctx, &waiting[i], "GET", "kept"), 0);
    pd_loop_for(&ctx.loop, 50);
    ctx.up = ctx.down = channel.has_begun = false;
    pd_redis_server_kill(server);
    assert_true(pd_loop_until(&ctx.loop, &ctx.down, WAIT_MS));
    for (size_t i = 0; i < PD_COUNT(waiting); i++) {
        assert_true(waiting[i].done);
        assert_int_equal(waiting[i].kind, PD_UNAVAILABLE);
    }
    assert_int_equal(SEND(&ctx, &answer, "PING"), PD_UNAVAILABLE);
    pd_redis_server_start(server);
    assert_true(pd_loop_until(&ctx.loop, &ctx.up, WAIT_MS));
    assert_true(pd_loop_until(&ctx.loop, &channel.has_begun, WAIT_MS));
    ASK(&ctx, &answer, "GET", "kept");
    assert_string_equal(answer.text, "1");
    assert_string_not_equal(run_id, pd_redis_run_id(ctx.redis));
    answer = (struct answer){.done = false};
    assert_int_equal(pd_redis_eval(ctx.redis, &script, 1, args, 2, on_answer, &answer, NULL), 0);
    wait_answer(&ctx, &answer);
    assert_int_equal(answer.kind, 0);
    ASK(&ctx, &answer, "PUBLISH", "c", "hello");
    assert_true(pd_loop_until(&ctx.loop, &channel.has_message, WAIT_MS));
    assert_string_equal(channel.last, "hello");
    close_ctx(&ctx);
    pd_redis_server_free(server);
}

/* CLIENT PAUSE: connected and silent. What waits times out, and it goes on. */
static void test_pause(void **state)
{
    struct pd_redis_server *server;
    struct answer answer, second;
    struct ctx ctx;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    open_with(&ctx, pd_redis_server_unix_url(server), NULL, 300);
    assert_true(pd_loop_until(&ctx.loop, &ctx.up, WAIT_MS));
    ASK(&ctx, &answer, "CLIENT", "PAUSE", "2000", "ALL");
    ctx.up = false;
    assert_int_equal(SEND(&ctx, &answer, "GET", "a"), 0);
    assert_int_equal(SEND(&ctx, &second, "GET", "b"), 0);
    wait_answer(&ctx, &answer);
    assert_int_equal(answer.kind, PD_TIMEOUT);
    assert_true(second.done);
    assert_int_equal(second.kind, PD_TIMEOUT);
    assert_true(pd_loop_until(&ctx.loop, &ctx.up, WAIT_MS));
    ASK(&ctx, &answer, "GET", "a");
    assert_int_equal(answer.kind, 0);
    close_ctx(&ctx);
    pd_redis_server_free(server);
}

static void test_full_memory(void **state)
{
    const char *const extra[] = {"--maxmemory", "4mb", "--maxmemory-policy", "noeviction", NULL};
    struct pd_redis_server *server;
    pd_autofree char *large = pd_calloc(1, 1 << 20);
    struct answer answer;
    struct ctx ctx;
    int kind = 0;

    (void)state;
    if (lacks_redis())
        skip();
    memset(large, 'x', (1 << 20) - 1);
    server = pd_redis_server_new(extra);
    open_up(&ctx, pd_redis_server_unix_url(server), NULL);
    for (int i = 0; i < 10 && kind == 0; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        ASK(&ctx, &answer, "SET", key, large);
        kind = answer.kind;
    }
    assert_int_equal(kind, PD_LIMIT);
    assert_non_null(strstr(answer.text, "OOM"));
    ASK(&ctx, &answer, "GET", "k0"); /* reading goes on, over the same connection */
    assert_int_equal(answer.len, (1 << 20) - 1);
    assert_int_equal(ctx.downs, 0);
    close_ctx(&ctx);
    pd_redis_server_free(server);
}

/* A primary that has become a replica is left: its name may mean another one now. But one that
 * stays read-only is not left again and again. */
static void test_read_only(void **state)
{
    struct pd_redis_script script = pd_redis_script_of("return redis.call('INCR', 'n')");
    struct pd_redis_server *server;
    struct answer answer, second;
    struct pd_err err;
    struct ctx ctx;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    open_up(&ctx, pd_redis_server_unix_url(server), NULL);
    answer = (struct answer){.done = false};
    assert_int_equal(pd_redis_eval(ctx.redis, &script, 0, NULL, 0, on_answer, &answer, &err), 0);
    wait_answer(&ctx, &answer);
    assert_int_equal(answer.integer, 1);
    assert_true(pd_redis_server_cli(server, "REPLICAOF 127.0.0.1 1"));
    for (int i = 0; i < 2; i++) {
        ctx.up = false;
        answer = (struct answer){.done = false};
        assert_int_equal(pd_redis_eval(ctx.redis, &script, 0, NULL, 0, on_answer, &answer, &err),
                         0);
        wait_answer(&ctx, &answer);
        assert_int_equal(answer.kind, PD_UNAVAILABLE);
        assert_non_null(strstr(answer.text, "READONLY"));
        if (i == 0)
            assert_true(pd_loop_until(&ctx.loop, &ctx.up, WAIT_MS));
        ASK(&ctx, &second, "GET", "n");
        assert_string_equal(second.text, "1");
        assert_int_equal(ctx.downs, 1);
    }
    close_ctx(&ctx);
    pd_redis_server_free(server);
}

static void test_scripts(void **state)
{
    struct pd_redis_script script =
        pd_redis_script_of("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    struct pd_redis_script refusing =
        pd_redis_script_of("return redis.error_reply('FENCED by a newer one')");
    struct pd_redis_arg args[] = {PD_REDIS_TEXT("n"), PD_REDIS_TEXT("5")};
    struct pd_redis_server *server;
    struct answer answer;
    struct ctx ctx;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    open_up(&ctx, pd_redis_server_unix_url(server), NULL);
    for (int i = 1; i <= 4; i++) {
        if (i == 3)
            ASK(&ctx, &answer, "SCRIPT", "FLUSH");
        answer = (struct answer){.done = false};
        assert_int_equal(pd_redis_eval(ctx.redis, &script, 1, args, 2, on_answer, &answer, NULL),
                         0);
        wait_answer(&ctx, &answer);
        assert_int_equal(answer.kind, 0);
        assert_int_equal(answer.integer, 5 * i);
    }
    answer = (struct answer){.done = false};
    assert_int_equal(pd_redis_eval(ctx.redis, &refusing, 0, NULL, 0, on_answer, &answer, NULL), 0);
    wait_answer(&ctx, &answer);
    assert_int_equal(answer.kind, PD_CONFLICT);
    close_ctx(&ctx);
    pd_redis_server_free(server);
}

static void test_channels(void **state)
{
    struct pd_redis_server *server;
    struct channel a = {.begun = 0}, b = {.begun = 0}, again = {.begun = 0};
    struct answer answer;
    struct ctx ctx;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    open_up(&ctx, pd_redis_server_unix_url(server), NULL);
    assert_int_equal(pd_redis_subscribe(ctx.redis, "a", &subscriber, &a, &a.subscription, NULL), 0);
    assert_int_equal(pd_redis_subscribe(ctx.redis, "b", &subscriber, &b, &b.subscription, NULL), 0);
    assert_true(pd_loop_until(&ctx.loop, &a.has_begun, WAIT_MS));
    assert_true(pd_loop_until(&ctx.loop, &b.has_begun, WAIT_MS));
    assert_int_equal(
        pd_redis_subscribe(ctx.redis, "a", &subscriber, &again, &again.subscription, NULL), 0);
    assert_true(pd_loop_until(&ctx.loop, &again.has_begun, WAIT_MS));
    a.give_up = true; /* in its own message */
    ASK(&ctx, &answer, "PUBLISH", "a", "1");
    assert_true(pd_loop_until(&ctx.loop, &again.has_message, WAIT_MS));
    assert_true(pd_loop_until(&ctx.loop, &a.has_message, WAIT_MS));
    ASK(&ctx, &answer, "PUBLISH", "a", "2");
    ASK(&ctx, &answer, "PUBLISH", "b", "3");
    assert_true(pd_loop_until(&ctx.loop, &b.has_message, WAIT_MS));
    assert_int_equal(a.messages, 1);
    assert_int_equal(again.messages, 2);
    assert_string_equal(again.last, "2");
    pd_redis_unsubscribe(again.subscription);
    pd_redis_unsubscribe(b.subscription);
    /* Nobody listens on the server either. */
    do
        ASK(&ctx, &answer, "PUBLISH", "a", "4");
    while (answer.integer != 0);
    close_ctx(&ctx);
    pd_redis_server_free(server);
}

static void test_bounds(void **state)
{
    struct pd_redis_server *server;
    static struct answer answers[PD_REDIS_PIPELINE_MAX];
    struct answer answer;
    struct ctx ctx;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    open_up(&ctx, pd_redis_server_unix_url(server), NULL);
    for (size_t i = 0; i < PD_REDIS_PIPELINE_MAX; i++)
        assert_int_equal(SEND(&ctx, &answers[i], "INCR", "n"), 0);
    assert_int_equal(SEND(&ctx, &answer, "INCR", "n"), PD_LIMIT);
    wait_answer(&ctx, &answers[PD_REDIS_PIPELINE_MAX - 1]);
    for (size_t i = 0; i < PD_REDIS_PIPELINE_MAX; i++)
        assert_int_equal(answers[i].integer, i + 1); /* in order */
    /* An answer beyond the bound ends the connection, and the next one is fine. */
    ctx.up = false;
    assert_true(pd_redis_server_cli(
        server, "EVAL \"redis.call('SET', 'big', string.rep('x', 40000000))\" 0"));
    ASK(&ctx, &answer, "GET", "big");
    assert_int_equal(answer.kind, PD_LIMIT);
    assert_true(pd_loop_until(&ctx.loop, &ctx.up, WAIT_MS));
    ASK(&ctx, &answer, "GET", "n");
    assert_string_equal(answer.text, "8192");
    close_ctx(&ctx);
    pd_redis_server_free(server);
}

/* Closed while a command waits: it is told, once, before `closed`. */
static void test_close_in_the_middle(void **state)
{
    struct pd_redis_server *server;
    struct answer answer;
    struct ctx ctx;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    open_up(&ctx, pd_redis_server_unix_url(server), NULL);
    assert_int_equal(SEND(&ctx, &answer, "BLPOP", "nothing", "0"), 0);
    pd_loop_for(&ctx.loop, 20);
    close_ctx(&ctx);
    assert_true(answer.done);
    assert_int_equal(answer.kind, PD_CANCELED);
    pd_redis_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways_to_it),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_full_memory),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_close_in_the_middle),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
