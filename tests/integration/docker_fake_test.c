/* The Docker provider against an engine that says what no real one can be made
 * to say: nonsense, half answers, refusals, silence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/time.h"
#include "controller/provider_docker.h"
#include "tests/lib/engine_test.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/loop_until.h"

#define WAIT_MS 30000
#define RULES_MAX 16
#define CONTAINER "0123456789abcdef"

struct rule {
    const char *request; /* how it begins; matched after the defaults' overrides */
    const char *answer;  /* NULL: silence */
    bool end;            /* hang up afterwards */
    unsigned times;      /* so often; 0: always */
};

struct ctx {
    uv_loop_t loop;
    char path[64];
    struct pd_http_peer *peer;
    struct rule rules[RULES_MAX];
    size_t n_rules;
    struct pd_buf asked;               /* the first line of every request, and create's bodies */
    struct pd_peer_connection *stream; /* whoever asked for events or to attach */
    struct pd_provider *provider;
    struct pd_pool_spec *spec;
    bool done;
    int kind;
    char msg[PD_ERR_MSG_MAX];
    char id[PD_PROVIDER_ID_MAX];
    struct pd_stream *link;
    struct pd_buf data;
    int end_kind;
    bool ended;
    bool got_data;
    unsigned ups, downs, changes;
    char down_reason[PD_REASON_MAX];
    bool up, down, changed;
};

static void add_rule(struct ctx *ctx, struct rule rule)
{
    assert_true(ctx->n_rules < RULES_MAX);
    ctx->rules[ctx->n_rules++] = rule;
}

static void answer_always(struct ctx *ctx, const char *request, const char *answer)
{
    add_rule(ctx, (struct rule){.request = request, .answer = answer});
}

static void answer_times(struct ctx *ctx, const char *request, const char *answer, unsigned times)
{
    add_rule(ctx, (struct rule){.request = request, .answer = answer, .times = times});
}

static void answer_and_end(struct ctx *ctx, const char *request, const char *answer)
{
    add_rule(ctx, (struct rule){.request = request, .answer = answer, .end = true});
}

static char *json_answer(int status, const char *body)
{
    return pd_asprintf(
        "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: "
        "%zu\r\n\r\n%s",
        status, strlen(body), body);
}

static const struct {
    const char *request;
    int status;
    const char *body;
} defaults[] = {
    {"GET /version", 200, "{\"ApiVersion\":\"1.50\",\"MinAPIVersion\":\"1.24\"}"},
    {"GET /v1.41/info", 200,
     "{\"ID\":\"FAKE\",\"SecurityOptions\":[\"name=apparmor\","
     "\"name=seccomp,profile=default\"],\"CgroupVersion\":\"2\"}"},
    {"GET /v1.41/images/", 200, "{\"Config\":{\"Volumes\":{\"/data\":{}}}}"},
    {"GET /v1.41/_ping", 200, "{}"},
    {"POST /v1.41/containers/create", 201, "{\"Id\":\"" CONTAINER "\"}"},
    {"POST /v1.41/containers/" CONTAINER "/start", 204, ""},
    {"DELETE /v1.41/containers/", 204, ""},
    {"GET /v1.41/containers/" CONTAINER "/json", 200, "{\"State\":{\"Status\":\"running\"}}"},
    {"GET /v1.41/containers/json", 200, "[]"},
};

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void say(struct pd_peer_connection *connection, const char *text, bool end)
{
    if (text)
        pd_peer_say(connection, text);
    if (end)
        pd_peer_end(connection);
}

static void on_request(void *arg, struct pd_peer_connection *connection, const char *request)
{
    struct ctx *ctx = arg;

    assert_int_equal(pd_buf_addf(&ctx->asked, NULL, "%s\n", request), 0);
    if (begins(request, "GET /v1.41/events") || strstr(request, "/attach?"))
        ctx->stream = connection;
    for (size_t i = 0; i < ctx->n_rules; i++) {
        struct rule *rule = &ctx->rules[i];
        if (!rule->request || !begins(request, rule->request))
            continue;
        say(connection, rule->answer, rule->end);
        if (rule->times > 0 && --rule->times == 0)
            rule->request = NULL;
        return;
    }
    for (size_t i = 0; i < PD_COUNT(defaults); i++) {
        if (begins(request, defaults[i].request)) {
            pd_autofree char *answer = json_answer(defaults[i].status, defaults[i].body);
            say(connection, answer, false);
            return;
        }
    }
}

/* ---- callbacks ---- */

static void take_err(struct ctx *ctx, const struct pd_err *err)
{
    assert_false(ctx->done);
    ctx->kind = err ? err->kind : 0;
    pd_strcpy(ctx->msg, sizeof ctx->msg, err ? err->msg : "");
    ctx->done = true;
}

static void on_done(void *arg, const struct pd_err *err)
{
    take_err(arg, err);
}

static void on_create(void *arg, const struct pd_err *err, const char *provider_id)
{
    struct ctx *ctx = arg;

    pd_strcpy(ctx->id, sizeof ctx->id, provider_id ? provider_id : "");
    take_err(ctx, err);
}

static void on_list(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                    size_t count)
{
    (void)instances;
    assert_true(err || count == 0);
    take_err(arg, err);
}

static void on_link(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct ctx *ctx = arg;

    ctx->link = stream;
    take_err(ctx, err);
}

static void on_data(void *arg, const void *data, size_t len)
{
    struct ctx *ctx = arg;

    assert_int_equal(pd_buf_add(&ctx->data, data, len, NULL), 0);
    ctx->got_data = true;
}

static void on_end(void *arg, const struct pd_err *err)
{
    struct ctx *ctx = arg;

    assert_false(ctx->ended);
    ctx->end_kind = err->kind;
    ctx->ended = true;
}

static void on_event(void *arg, const struct pd_provider_event *event)
{
    struct ctx *ctx = arg;

    if (event->type == PD_PROVIDER_UP) {
        ctx->ups++;
        ctx->up = true;
    } else if (event->type == PD_PROVIDER_DOWN) {
        ctx->downs++;
        ctx->down = true;
        pd_strcpy(ctx->down_reason, sizeof ctx->down_reason, event->reason);
    } else {
        ctx->changes++;
        ctx->changed = true;
    }
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

/* ---- steps ---- */

static int setup(void **state)
{
    struct ctx *ctx = PD_NEW(struct ctx);
    pd_autofree char *host = NULL;
    struct pd_docker_config config = {.instance = "me"};
    static unsigned serial;

    uv_loop_init(&ctx->loop);
    snprintf(ctx->path, sizeof ctx->path, "/tmp/pd-fake-%d-%u", (int)getpid(), serial++);
    ctx->peer = pd_http_peer_open(&ctx->loop, ctx->path, on_request, ctx);
    host = pd_asprintf("unix://%s", ctx->path);
    config.host = host;
    pd_buf_init(&ctx->asked, 16 << 20);
    pd_buf_init(&ctx->data, 1 << 20);
    ctx->spec = pd_test_spec("py", PD_ISOLATION_CELL);
    *state = ctx;
    return pd_provider_docker_new(&ctx->loop, &config, &ctx->provider, NULL);
}

static int teardown(void **state)
{
    struct ctx *ctx = *state;
    bool closed = false, finished;

    if (ctx->link)
        ctx->link->ops->close(ctx->link, NULL, NULL);
    ctx->provider->ops->close(ctx->provider, on_closed, &closed);
    assert_true(pd_loop_until(&ctx->loop, &closed, WAIT_MS));
    pd_http_peer_close(ctx->peer);
    finished = pd_loop_finish(&ctx->loop, WAIT_MS);
    unlink(ctx->path);
    pd_pool_spec_unref(ctx->spec);
    pd_buf_fini(&ctx->asked);
    pd_buf_fini(&ctx->data);
    free(ctx);
    return finished ? 0 : -1;
}

static void wait_for(struct ctx *ctx, bool *flag)
{
    assert_true(pd_loop_until(&ctx->loop, flag, WAIT_MS));
    *flag = false;
}

static int create(struct ctx *ctx)
{
    assert_int_equal(
        ctx->provider->ops->create(ctx->provider, ctx->spec, "s1", on_create, ctx, NULL), 0);
    wait_for(ctx, &ctx->done);
    return ctx->kind;
}

static int list(struct ctx *ctx)
{
    assert_int_equal(ctx->provider->ops->list(ctx->provider, on_list, ctx, NULL), 0);
    wait_for(ctx, &ctx->done);
    return ctx->kind;
}

static int destroy(struct ctx *ctx)
{
    assert_int_equal(ctx->provider->ops->destroy(ctx->provider, CONTAINER, on_done, ctx, NULL), 0);
    wait_for(ctx, &ctx->done);
    return ctx->kind;
}

static int link_to(struct ctx *ctx)
{
    assert_int_equal(ctx->provider->ops->link(ctx->provider, CONTAINER, on_link, ctx, NULL), 0);
    wait_for(ctx, &ctx->done);
    if (ctx->link) {
        ctx->link->on_data = on_data;
        ctx->link->on_end = on_end;
        ctx->link->arg = ctx;
    }
    return ctx->kind;
}

static bool was_asked(struct ctx *ctx, const char *text)
{
    return ctx->asked.data && strstr(ctx->asked.data, text);
}

/* ---- tests ---- */

static void test_what_is_no_engine(void **state)
{
    static const char *const versions[] = {
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"ApiVersion\":\"9.99\"}",
        "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"ApiVersion\":1.41}x",
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        "",
    };
    struct ctx *ctx = *state;

    for (size_t i = 0; i < PD_COUNT(versions); i++) {
        ctx->n_rules = 0;
        answer_and_end(ctx, "GET /version", versions[i]);
        if (list(ctx) != PD_UNAVAILABLE)
            fail_msg("%zu: %d %s", i, ctx->kind, ctx->msg);
        assert_non_null(strstr(ctx->msg, ctx->path));
        assert_int_equal(create(ctx), PD_UNAVAILABLE);
        assert_int_equal(link_to(ctx), PD_UNAVAILABLE);
    }
    /* And once it is one, everything works. */
    ctx->n_rules = 0;
    assert_int_equal(list(ctx), 0);
}

static void test_old_engine(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *old =
        json_answer(200, "{\"ApiVersion\":\"1.39\",\"MinAPIVersion\":\"1.12\"}");

    answer_always(ctx, "GET /version", old);
    assert_int_equal(list(ctx), PD_INVALID);
    assert_non_null(strstr(ctx->msg, "1.41"));
}

static void test_engine_that_has_dropped_the_old_api(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *newer =
        json_answer(200, "{\"ApiVersion\":\"1.53\",\"MinAPIVersion\":\"1.44\"}");
    pd_autofree char *info = json_answer(200, "{}");
    pd_autofree char *none = json_answer(200, "[]");

    answer_always(ctx, "GET /version", newer);
    answer_always(ctx, "GET /v1.44/info", info);
    answer_always(ctx, "GET /v1.44/containers/json", none);
    assert_int_equal(list(ctx), 0);
}

static void test_errors_have_kinds(void **state)
{
    static const struct {
        int status;
        const char *body;
        int kind;
    } cases[] = {
        {400, "{\"message\":\"bad parameter\"}", PD_INVALID},
        {401, "{}", PD_DENIED},
        {403, "denied by plugin", PD_DENIED},
        {404, "{\"message\":\"No such image\"}", PD_NOT_FOUND},
        {500, "{\"message\":\"oops\"}", PD_UNAVAILABLE},
        {500, "{\"message\":\"write x: no space left on device\"}", PD_LIMIT},
        {500, "{\"message\":\"fork: Cannot allocate memory\"}", PD_LIMIT},
        {503, "", PD_UNAVAILABLE},
    };
    struct ctx *ctx = *state;

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autofree char *answer = json_answer(cases[i].status, cases[i].body);
        ctx->n_rules = 0;
        answer_always(ctx, "POST /v1.41/containers/create", answer);
        if (create(ctx) != cases[i].kind)
            fail_msg("%d %s: %d %s", cases[i].status, cases[i].body, ctx->kind, ctx->msg);
        assert_non_null(strstr(ctx->msg, "create sandbox s1"));
    }
    assert_false(was_asked(ctx, "DELETE"));
}

static void test_create_asks_for_what_it_should(void **state)
{
    struct ctx *ctx = *state;

    assert_int_equal(create(ctx), 0);
    assert_string_equal(ctx->id, CONTAINER);
    assert_true(was_asked(ctx, "POST /v1.41/containers/create?name=paddock-s1 "));
    assert_true(was_asked(ctx, "apparmor=paddock-sandbox"));
    assert_true(was_asked(ctx, "\"CgroupnsMode\":\"private\""));
    assert_true(was_asked(ctx, "\"Target\":\"/data\",\"ReadOnly\":true"));
}

static void test_ids_that_are_none(void **state)
{
    static const char *const bodies[] = {"{}", "{\"Id\":\"../x\"}", "{\"Id\":7}", "[]",
                                         "{\"Id\":\"\"}"};
    struct ctx *ctx = *state;

    for (size_t i = 0; i < PD_COUNT(bodies); i++) {
        pd_autofree char *answer = json_answer(201, bodies[i]);
        ctx->n_rules = 0;
        answer_always(ctx, "POST /v1.41/containers/create", answer);
        assert_int_equal(create(ctx), PD_UNAVAILABLE);
    }
}

/* AppArmor is there, our profile is not: without it, and never asked again. */
static void test_profile_that_is_not_loaded(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *refused = json_answer(
        500, "{\"message\":\"OCI runtime create failed: apply apparmor profile: no such file\"}");

    answer_times(ctx, "POST /v1.41/containers/" CONTAINER "/start", refused, 1);
    assert_int_equal(create(ctx), 0);
    assert_true(was_asked(ctx, "DELETE /v1.41/containers/" CONTAINER "?force=1&v=1"));
    pd_buf_clear(&ctx->asked);
    assert_int_equal(create(ctx), 0);
    assert_false(was_asked(ctx, "apparmor=paddock-sandbox"));
    assert_false(was_asked(ctx, "DELETE"));
}

static void test_start_that_fails_is_removed(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *refused = json_answer(500, "{\"message\":\"exec /paddock/agent\"}");

    answer_always(ctx, "POST /v1.41/containers/" CONTAINER "/start", refused);
    assert_int_equal(create(ctx), PD_UNAVAILABLE);
    assert_non_null(strstr(ctx->msg, "exec /paddock/agent"));
    assert_true(was_asked(ctx, "DELETE /v1.41/containers/" CONTAINER));
}

static void test_destroy_that_is_done_already(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *gone = json_answer(404, "{\"message\":\"No such container\"}");
    pd_autofree char *going =
        json_answer(409, "{\"message\":\"removal of container x is already in progress\"}");
    pd_autofree char *busy = json_answer(500, "{\"message\":\"device or resource busy\"}");

    answer_times(ctx, "DELETE /v1.41/containers/", gone, 1);
    answer_times(ctx, "DELETE /v1.41/containers/", going, 1);
    answer_always(ctx, "DELETE /v1.41/containers/", busy);
    assert_int_equal(destroy(ctx), 0);
    assert_int_equal(destroy(ctx), 0);
    assert_int_equal(destroy(ctx), PD_UNAVAILABLE);
}

static void test_pull_that_fails_in_the_middle(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *missing = json_answer(404, "{\"message\":\"No such image\"}");

    answer_always(ctx, "GET /v1.41/images/", missing);
    answer_always(ctx, "POST /v1.41/images/create?fromImage=python&tag=3.11-slim",
                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "15\r\n{\"status\":\"Pulling\"}\n\r\n"
                  "27\r\n{\"error\":\"toomanyrequests: slow down\"}\n\r\n0\r\n\r\n");
    assert_int_equal(ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, on_done, ctx, NULL),
                     0);
    wait_for(ctx, &ctx->done);
    assert_int_equal(ctx->kind, PD_UNAVAILABLE);
    assert_non_null(strstr(ctx->msg, "slow down"));
}

/* ---- events ---- */

#define EVENTS_HEAD "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define DIE                                                                                        \
    "{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"Attributes\":{"                       \
    "\"paddock.dev/instance\":\"me\",\"paddock.dev/pool\":\"py\",\"paddock.dev/sandbox\":"         \
    "\"s1\"}}}\n"

static void chunk(struct ctx *ctx, const char *data, size_t len)
{
    pd_autofree char *head = pd_asprintf("%zx\r\n", len);

    pd_peer_say(ctx->stream, head);
    pd_peer_say_bytes(ctx->stream, data, len);
    pd_peer_say(ctx->stream, "\r\n");
}

static void watch(struct ctx *ctx)
{
    answer_always(ctx, "GET /v1.41/events", EVENTS_HEAD);
    ctx->provider->ops->watch(ctx->provider, on_event, ctx);
    assert_int_equal(ctx->ups, 0);
    wait_for(ctx, &ctx->up);
}

static void test_events_in_pieces(void **state)
{
    struct ctx *ctx = *state;
    const char *text = DIE "\n" DIE;

    watch(ctx);
    for (size_t at = 0; at < strlen(text); at += 50) {
        size_t left = strlen(text) - at;
        chunk(ctx, text + at, left < 50 ? left : 50);
        pd_loop_for(&ctx->loop, 1);
    }
    while (ctx->changes < 2)
        wait_for(ctx, &ctx->changed);
    assert_int_equal(ctx->downs, 0);
}

static void test_stream_that_breaks(void **state)
{
    struct ctx *ctx = *state;

    watch(ctx);
    for (unsigned i = 1; i <= 3; i++) {
        pd_peer_end(ctx->stream);
        wait_for(ctx, &ctx->down);
        wait_for(ctx, &ctx->up);
        assert_int_equal(ctx->downs, i);
        assert_int_equal(ctx->ups, i + 1);
    }
}

static void test_events_that_are_nonsense(void **state)
{
    static char endless[300 * 1024];
    struct ctx *ctx = *state;

    watch(ctx);
    chunk(ctx, "{nonsense}\n", 11);
    wait_for(ctx, &ctx->down);
    wait_for(ctx, &ctx->up);
    memset(endless, ' ', sizeof endless);
    chunk(ctx, endless, sizeof endless);
    wait_for(ctx, &ctx->down);
    wait_for(ctx, &ctx->up);
    chunk(ctx, DIE, strlen(DIE)); /* and again it works */
    wait_for(ctx, &ctx->changed);
}

static void test_events_refused(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *refused = json_answer(403, "{\"message\":\"not for you\"}");

    answer_times(ctx, "GET /v1.41/events", refused, 2);
    answer_always(ctx, "GET /v1.41/events", EVENTS_HEAD);
    ctx->provider->ops->watch(ctx->provider, on_event, ctx);
    wait_for(ctx, &ctx->down);
    assert_non_null(strstr(ctx->down_reason, "not for you"));
    assert_int_equal(ctx->ups, 0);
    wait_for(ctx, &ctx->up);
    assert_int_equal(ctx->downs, 1); /* told once, though it was tried twice */
}

/* An engine that hangs keeps its connections open: the ping finds out. */
static void test_engine_that_hangs(void **state)
{
    struct ctx *ctx = *state;

    answer_always(ctx, "GET /v1.41/_ping", NULL);
    watch(ctx);
    wait_for(ctx, &ctx->down);
    wait_for(ctx, &ctx->up);
}

/* ---- links ---- */

#define UPGRADED "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
#define ATTACH "POST /v1.41/containers/" CONTAINER "/attach"

static void test_attach_that_is_refused(void **state)
{
    static const struct {
        const char *answer;
        bool end;
        int kind;
    } cases[] = {
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, PD_NOT_FOUND},
        {"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", false, PD_CONFLICT},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", false, PD_UNAVAILABLE},
        {"HTTP/1.1 101 UPGR", true, PD_UNAVAILABLE},
        {"220 smtp.example.org ESMTP\r\n", false, PD_UNAVAILABLE},
        {"", true, PD_UNAVAILABLE},
        {NULL, false, PD_TIMEOUT},
    };
    struct ctx *ctx = *state;

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        ctx->n_rules = 0;
        add_rule(ctx, (struct rule){ATTACH, cases[i].answer, cases[i].end, 0});
        if (link_to(ctx) != cases[i].kind)
            fail_msg("%zu: %d %s", i, ctx->kind, ctx->msg);
        assert_null(ctx->link);
    }
}

/* What comes with the head, in one piece, is not lost, and waits for the reader. */
static void test_data_with_the_head(void **state)
{
    static const char answer[] = UPGRADED "\1\0\0\0\0\0\0\5hello\1\0\0\0";
    struct ctx *ctx = *state;

    answer_always(ctx, ATTACH, NULL);
    assert_int_equal(ctx->provider->ops->link(ctx->provider, CONTAINER, on_link, ctx, NULL), 0);
    while (!ctx->stream)
        pd_loop_for(&ctx->loop, 1);
    pd_peer_say_bytes(ctx->stream, answer, sizeof answer - 1);
    wait_for(ctx, &ctx->done);
    assert_int_equal(ctx->kind, 0);
    ctx->link->on_data = on_data;
    ctx->link->on_end = on_end;
    ctx->link->arg = ctx;
    pd_loop_for(&ctx->loop, 5);
    assert_false(ctx->got_data);
    ctx->link->ops->read(ctx->link, true);
    assert_false(ctx->got_data); /* from the loop only */
    wait_for(ctx, &ctx->got_data);
    assert_string_equal(ctx->data.data, "hello");
    pd_peer_say_bytes(ctx->stream, "\0\0\0\6 world", 10); /* the header's other half */
    wait_for(ctx, &ctx->got_data);
    assert_string_equal(ctx->data.data, "hello world");
}

static void test_frames_that_are_none(void **state)
{
    struct ctx *ctx = *state;

    answer_always(ctx, ATTACH, UPGRADED);
    assert_int_equal(link_to(ctx), 0);
    ctx->link->ops->read(ctx->link, true);
    pd_peer_say(ctx->stream, "hello, this is no frame");
    wait_for(ctx, &ctx->ended);
    assert_int_equal(ctx->end_kind, PD_INVALID);
    assert_int_equal(ctx->link->ops->write(ctx->link, "x", 1, NULL), PD_UNAVAILABLE);
    pd_loop_for(&ctx->loop, 5);
    assert_false(ctx->got_data);
}

/* The sandbox's stderr does not reach the reader, nor flood the log. */
static void test_diagnostics(void **state)
{
    struct ctx *ctx = *state;

    answer_always(ctx, ATTACH, UPGRADED);
    assert_int_equal(link_to(ctx), 0);
    ctx->link->ops->read(ctx->link, true);
    for (int i = 0; i < 1000; i++)
        pd_peer_say_bytes(ctx->stream, "\2\0\0\0\0\0\0\4oops", 12);
    pd_peer_say_bytes(ctx->stream, "\1\0\0\0\0\0\0\2ok", 10);
    wait_for(ctx, &ctx->got_data);
    assert_string_equal(ctx->data.data, "ok");
}

static void test_container_that_ended_meanwhile(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *exited = json_answer(200, "{\"State\":{\"Status\":\"exited\"}}");

    answer_always(ctx, ATTACH, UPGRADED);
    answer_always(ctx, "GET /v1.41/containers/" CONTAINER "/json", exited);
    assert_int_equal(link_to(ctx), PD_CONFLICT);
    assert_null(ctx->link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_what_is_no_engine),
        TEST(test_old_engine),
        TEST(test_engine_that_has_dropped_the_old_api),
        TEST(test_errors_have_kinds),
        TEST(test_create_asks_for_what_it_should),
        TEST(test_ids_that_are_none),
        TEST(test_profile_that_is_not_loaded),
        TEST(test_start_that_fails_is_removed),
        TEST(test_destroy_that_is_done_already),
        TEST(test_pull_that_fails_in_the_middle),
        TEST(test_events_in_pieces),
        TEST(test_stream_that_breaks),
        TEST(test_events_that_are_nonsense),
        TEST(test_events_refused),
        TEST(test_engine_that_hangs),
        TEST(test_attach_that_is_refused),
        TEST(test_data_with_the_head),
        TEST(test_frames_that_are_none),
        TEST(test_diagnostics),
        TEST(test_container_that_ended_meanwhile),
    };
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
