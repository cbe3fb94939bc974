/* The API over real sockets: a server in a thread of its own, with sandboxes that do what
 * the code says (tests/lib/fake_link.h), and plain clients. Include it in one source of a
 * test program, after cmocka. */
#ifndef PD_TESTS_LIB_API_RIG_H
#define PD_TESTS_LIB_API_RIG_H

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "api/keys.h"
#include "api/ledger_records.h"
#include "api/server.h"
#include "api/viewer.h"
#include "common/asset.h"
#include "common/json.h"
#include "common/mem.h"
#include "tests/lib/fake_link.h"
#include "tests/lib/manifest.h"

#define KEY "test-key-of-this-run"
#define SANDBOXES 4
#define RECEIVE_S 10
#define REPLY_BYTES_MAX (32u << 20)

static const char pools_text[] =
    "apiVersion: paddock.dev/v1\n"
    "kind: SandboxPool\n"
    "metadata: {name: default}\n"
    "spec: {image: a, languages: [python, bash], minSize: 1, maxSize: 8,\n"
    "       run: {timeout: 5s, maxTimeout: 10s, maxCode: 64Ki, maxFiles: 64Ki, maxOutput: 4Mi},\n"
    "       recycle: {afterRuns: 100000, share: true}, queue: {maxLength: 4, maxWait: 1s}}\n"
    "---\n"
    "apiVersion: paddock.dev/v1\n"
    "kind: SandboxPool\n"
    "metadata: {name: node}\n"
    "spec: {image: b, languages: [javascript], minSize: 0, maxSize: 2,\n"
    "       queue: {maxLength: 2, maxWait: 300ms}}\n";

struct rig {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t stop;
    uv_async_t drain;
    uv_timer_t probe;
    struct pd_store *store;
    struct pd_languages *languages;
    struct pd_keys *keys;
    struct pd_api *api;
    struct pd_db *db; /* NULL: nothing is accepted */
    struct pd_records *records;
    struct pd_ledger *ledger;
    struct pd_link *links[SANDBOXES];
    int port;
    atomic_bool healthy;
    atomic_int idle; /* warm sandboxes, as last looked */
    atomic_int drained;
    atomic_int cancels; /* of all links, likewise */
    atomic_int connections;
};

/* ---- the server's side ---- */

static inline void on_probe(uv_timer_t *timer)
{
    struct rig *rig = timer->data;
    struct pd_sandbox *sandbox;
    int idle = 0;
    int cancels = 0;

    for (size_t i = 0; (sandbox = pd_store_sandbox_at(rig->store, "default", i)); i++)
        idle += sandbox->phase == PD_SANDBOX_WARM;
    for (size_t i = 0; i < SANDBOXES; i++)
        cancels += rig->links[i]->cancels;
    atomic_store(&rig->idle, idle);
    atomic_store(&rig->cancels, cancels);
    if (rig->api)
        atomic_store(&rig->connections, (int)pd_api_connections(rig->api));
}

static inline void on_store_closed(void *arg)
{
    (void)arg;
}

static inline void on_api_closed(void *arg)
{
    struct rig *rig = arg;

    for (size_t i = 0; i < SANDBOXES; i++)
        pd_link_close(rig->links[i], NULL, NULL);
    if (rig->db) {
        rig->ledger->ops->close(rig->ledger, on_store_closed, rig);
        pd_db_close(rig->db, on_store_closed, rig);
    }
    pd_store_close(rig->store, on_store_closed, rig);
    uv_close((uv_handle_t *)&rig->stop, NULL);
    uv_close((uv_handle_t *)&rig->drain, NULL);
    uv_close((uv_handle_t *)&rig->probe, NULL);
}

static inline void on_stop(uv_async_t *async)
{
    struct rig *rig = async->data;

    uv_timer_stop(&rig->probe);
    pd_api_close(rig->api, on_api_closed, rig);
}

static inline void on_drained(void *arg)
{
    struct rig *rig = arg;

    atomic_fetch_add(&rig->drained, 1);
}

static inline void on_drain(uv_async_t *async)
{
    struct rig *rig = async->data;

    pd_api_drain(rig->api, on_drained, rig);
}

static inline bool is_healthy(void *arg, const char **ret_sentence)
{
    struct rig *rig = arg;

    *ret_sentence = "the engine does not answer";
    return atomic_load(&rig->healthy);
}

static inline void put_sandboxes(struct rig *rig)
{
    char id[32];

    for (size_t i = 0; i < SANDBOXES; i++) {
        struct pd_sandbox *sandbox;
        snprintf(id, sizeof id, "sandbox-%zu", i);
        sandbox = pd_store_sandbox_add(rig->store, id, "default", "hash");
        rig->links[i] = fake_link_new(&rig->loop);
        sandbox->link = rig->links[i];
        pd_store_sandbox_move(rig->store, sandbox, PD_SANDBOX_STARTING);
        pd_store_sandbox_move(rig->store, sandbox, PD_SANDBOX_WARM);
    }
}

static const struct pd_server_limits test_limits = {
    .connections_max = 12000,
    .bodies_bytes = 3u << 20,
    .head_ms = 1500,
    .idle_ms = 1500,
    .body_idle_ms = 400,
    .body_total_ms = 1200,
    .write_ms = 2000,
    .linger_ms = 500,
};

static void run_loop(void *arg)
{
    struct rig *rig = arg;

    uv_run(&rig->loop, UV_RUN_DEFAULT);
}

static inline void open_ledger(struct rig *rig, const char *folder, struct pd_api_config *config)
{
    static const struct pd_db_schema *const schemas[] = {&pd_records_schema, NULL};
    pd_autofree char *path = pd_asprintf("%s/paddock.db", folder);
    const struct pd_db_config db = {.loop = &rig->loop, .path = path, .schemas = schemas};
    struct pd_err err;

    assert_int_equal(pd_db_open(&db, &rig->db, &err), 0);
    config->records = rig->records = pd_records_new(&(struct pd_records_config){.db = rig->db});
    config->ledger = rig->ledger = pd_ledger_records_new(rig->records);
}

/* viewer_limits: NULL for the defaults. folder: where executions are accepted; NULL: none
 * are. */
static inline int rig_open(void **state, const struct pd_viewer_limits *viewer_limits,
                           const char *folder)
{
    struct rig *rig = PD_NEW(struct rig);
    struct pd_asset asset = pd_asset_find("conf/languages.yaml");
    struct pd_problems problems = {.count = 0};
    struct pd_err err = {.msg = ""};
    struct pd_api_config config = {
        .loop = &rig->loop,
        .listen_address = "127.0.0.1",
        .healthy = is_healthy,
        .healthy_arg = rig,
        .limits = &test_limits,
        .viewer_limits = viewer_limits,
    };

    atomic_store(&rig->healthy, true);
    uv_loop_init(&rig->loop);
    uv_async_init(&rig->loop, &rig->stop, on_stop);
    rig->stop.data = rig;
    uv_async_init(&rig->loop, &rig->drain, on_drain);
    rig->drain.data = rig;
    uv_timer_init(&rig->loop, &rig->probe);
    rig->probe.data = rig;
    uv_timer_start(&rig->probe, on_probe, 0, 5);
    rig->store = pd_store_new(&rig->loop, NULL);
    assert_int_equal(
        pd_languages_parse((const char *)asset.data, asset.len, &rig->languages, &problems), 0);
    assert_int_equal(pd_keys_open("/nonexistent", KEY, &rig->keys, &err), 0);
    pd_test_put_pools(rig->store, pools_text);
    put_sandboxes(rig);
    config.store = rig->store;
    config.languages = rig->languages;
    config.keys = rig->keys;
    if (folder)
        open_ledger(rig, folder, &config);
    if (pd_api_open(&config, &rig->api, &err) < 0)
        fail_msg("pd_api_open: %s", err.msg);
    rig->port = pd_api_port(rig->api);
    uv_thread_create(&rig->thread, run_loop, rig);
    *state = rig;
    return 0;
}

static inline int rig_set_up(void **state)
{
    return rig_open(state, NULL, NULL);
}

static inline int rig_close(void **state)
{
    struct rig *rig = *state;

    uv_async_send(&rig->stop);
    uv_thread_join(&rig->thread);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    if (rig->records)
        pd_records_free(rig->records);
    pd_keys_free(rig->keys);
    pd_languages_free(rig->languages);
    free(rig);
    return 0;
}

/* Wait for what the server's side does in its own time. */
static inline void wait_for(const atomic_int *value, int wanted)
{
    for (int i = 0; i < 1000 && atomic_load(value) != wanted; i++)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    assert_int_equal(atomic_load(value), wanted);
}

/* ---- the clients' side ---- */

struct reply {
    int status;
    char head[2048];
    char *body;
    size_t body_len;
};

static inline int dial(const struct rig *rig)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)rig->port)};
    struct timeval limit = {.tv_sec = RECEIVE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static inline void send_all(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server may have said no in the middle */
        at += n;
        len -= (size_t)n;
    }
}

static inline void send_text(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

/* Reads byte by byte up to the empty line, then the body by its length. */
static inline bool receive(int fd, struct reply *reply)
{
    const char *length;
    size_t used = 0;

    *reply = (struct reply){.status = 0};
    while (used < sizeof reply->head - 1 && !strstr(reply->head, "\r\n\r\n")) {
        if (recv(fd, reply->head + used, 1, 0) != 1)
            return false;
        reply->head[++used] = '\0';
    }
    if (sscanf(reply->head, "HTTP/1.1 %d", &reply->status) != 1)
        return false;
    length = strcasestr(reply->head, "\r\nContent-Length: ");
    reply->body_len = length ? strtoul(length + 18, NULL, 10) : 0;
    assert_true(reply->body_len < REPLY_BYTES_MAX);
    reply->body = pd_calloc(reply->body_len + 1, 1);
    for (size_t at = 0; at < reply->body_len;) {
        ssize_t n = recv(fd, reply->body + at, reply->body_len - at, 0);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static inline void reply_fini(struct reply *reply)
{
    free(reply->body);
    reply->body = NULL;
}

static inline char *post_text(const char *body, const char *headers)
{
    return pd_asprintf("POST /execute HTTP/1.1\r\nHost: localhost\r\nX-API-Key: " KEY
                       "\r\n"
                       "Content-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n%s",
                       strlen(body), headers ? headers : "", body);
}

static inline void exchange(const struct rig *rig, const char *text, struct reply *reply)
{
    int fd = dial(rig);

    send_text(fd, text);
    if (!receive(fd, reply))
        fail_msg("no answer to: %.200s", text);
    close(fd);
}

static inline void execute(const struct rig *rig, const char *body, struct reply *reply)
{
    pd_autofree char *text = post_text(body, NULL);

    exchange(rig, text, reply);
}

/* Its body; the caller frees. */
static inline struct pd_node *reply_json(const struct reply *reply)
{
    struct pd_node *node = NULL;
    struct pd_err err;

    if (pd_json_parse(reply->body, reply->body_len, &node, &err) < 0)
        fail_msg("not JSON (%s): %.300s", err.msg, reply->body);
    return node;
}

/* Execute and expect 200; the caller frees. */
static inline struct pd_node *run_well(const struct rig *rig, const char *body)
{
    struct reply reply;
    struct pd_node *node;

    execute(rig, body, &reply);
    if (reply.status != 200)
        fail_msg("%d: %s", reply.status, reply.body);
    node = reply_json(&reply);
    reply_fini(&reply);
    return node;
}

static inline const char *text_at(const struct pd_node *node, const char *key)
{
    return pd_node_text(pd_node_get(node, key), "(absent)");
}

#endif
