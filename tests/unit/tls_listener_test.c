/* Sessions with a real client, which runs on a thread of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/server.h"
#include "api/tls_identity.h"
#include "api/tls_listener.h"
#include "common/mem.h"
#include "common/time.h"
#include "tests/lib/loop_until.h"

#define WAIT_MS 20000
#define BIG_BYTES (8u << 20) /* more than all the sockets between hold */

struct rig {
    uv_loop_t loop;
    char dir[64];
    struct pd_server *server;
    struct pd_tls_listener *listener;
    struct pd_exchange *held;
    bool gone;
    bool listener_closed, server_closed;
    /* the client's thread */
    pthread_t thread;
    uv_async_t finished;
    int port;
    const char *request;
    size_t body_bytes; /* of 'x', sent after the request */
    bool hang_up;      /* does not wait for the answer */
    int max_version;   /* 0: any */
    bool connected;
    char head[1024];
    size_t got_bytes;
    volatile bool done;
};

static void on_gone(void *arg)
{
    struct rig *rig = arg;

    rig->gone = true;
}

static void on_body(void *arg, struct pd_exchange *exchange, const char *text, size_t len)
{
    struct pd_buf body;

    (void)arg;
    pd_buf_init(&body, BIG_BYTES);
    assert_int_equal(pd_buf_add(&body, text, len, NULL), 0);
    pd_exchange_reply(exchange, 200, "text/plain", NULL, &body);
}

static void on_request(void *arg, struct pd_exchange *exchange)
{
    struct rig *rig = arg;

    if (strcmp(pd_exchange_path(exchange), "/hold") == 0) {
        rig->held = exchange;
        pd_exchange_on_gone(exchange, on_gone, rig);
    } else {
        pd_exchange_want_body(exchange, BIG_BYTES, on_body, rig);
    }
}

static void on_accept(void *arg, int fd)
{
    struct rig *rig = arg;

    pd_server_adopt(rig->server, fd);
}

static void on_finished(uv_async_t *async)
{
    struct rig *rig = async->data;

    rig->done = true;
}

static void open_listener(struct rig *rig)
{
    const struct pd_identity_config identity = {.dir = rig->dir, .now_s = pd_wall_ms() / 1000};
    struct pd_tls_listener_config config = {
        .loop = &rig->loop, .address = "127.0.0.1", .on_accept = on_accept, .arg = rig};
    pd_autofree char *path = NULL;

    assert_int_equal(pd_identity_prepare(&identity, &path, NULL, NULL), 0);
    assert_int_equal(pd_tls_server_new(path, &config.server, NULL), 0);
    assert_int_equal(pd_tls_listener_open(&config, &rig->listener, NULL), 0);
    rig->port = pd_tls_listener_port(rig->listener);
}

static int set_up(void **state)
{
    struct rig *rig = PD_NEW(struct rig);
    const struct pd_server_config config = {.loop = &rig->loop,
                                            .address = "127.0.0.1",
                                            .limits = &pd_server_limits_default,
                                            .on_request = on_request,
                                            .arg = rig};

    pd_strcpy(rig->dir, sizeof rig->dir, "/tmp/pd-tls-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    uv_loop_init(&rig->loop);
    assert_int_equal(pd_server_open(&config, &rig->server, NULL), 0);
    open_listener(rig);
    uv_async_init(&rig->loop, &rig->finished, on_finished);
    rig->finished.data = rig;
    *state = rig;
    return 0;
}

static void on_server_closed(void *arg)
{
    ((struct rig *)arg)->server_closed = true;
}

static void on_listener_closed(void *arg)
{
    ((struct rig *)arg)->listener_closed = true;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *ca = pd_asprintf("%s/ca.pem", rig->dir);
    pd_autofree char *server = pd_asprintf("%s/server.pem", rig->dir);

    pd_tls_listener_close(rig->listener, on_listener_closed, rig);
    assert_true(pd_loop_until(&rig->loop, &rig->listener_closed, WAIT_MS));
    pd_server_close(rig->server, on_server_closed, rig);
    assert_true(pd_loop_until(&rig->loop, &rig->server_closed, WAIT_MS));
    uv_close((uv_handle_t *)&rig->finished, NULL);
    assert_true(pd_loop_finish(&rig->loop, WAIT_MS));
    unlink(ca);
    unlink(server);
    rmdir(rig->dir);
    free(rig);
    return 0;
}

/* ---- the client ---- */

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        abort();
    return fd;
}

static void read_answer(struct rig *rig, SSL *ssl)
{
    static char scratch[65536];
    int n;

    while ((n = SSL_read(ssl, scratch, sizeof scratch)) > 0) {
        size_t room = sizeof rig->head - 1 - strlen(rig->head);
        strncat(rig->head, scratch, (size_t)n < room ? (size_t)n : room);
        rig->got_bytes += (size_t)n;
    }
}

static void talk(struct rig *rig, SSL *ssl)
{
    size_t written;
    pd_autofree char *body = pd_calloc(rig->body_bytes + 1, 1);

    memset(body, 'x', rig->body_bytes);
    if (SSL_write_ex(ssl, rig->request, strlen(rig->request), &written) != 1 ||
        (rig->body_bytes > 0 && SSL_write_ex(ssl, body, rig->body_bytes, &written) != 1))
        return;
    if (!rig->hang_up)
        read_answer(rig, ssl);
}

static void *client(void *arg)
{
    struct rig *rig = arg;
    pd_autofree char *ca = pd_asprintf("%s/ca.pem", rig->dir);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    int fd = connect_to(rig->port);

    if (rig->max_version)
        SSL_CTX_set_max_proto_version(ctx, rig->max_version);
    SSL_CTX_load_verify_locations(ctx, ca, NULL);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY);
    ssl = SSL_new(ctx);
    SSL_set1_host(ssl, "localhost");
    SSL_set_fd(ssl, fd);
    rig->connected = SSL_connect(ssl) == 1;
    if (rig->connected)
        talk(rig, ssl);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    uv_async_send(&rig->finished);
    return NULL;
}

static void run_client(struct rig *rig)
{
    assert_int_equal(pthread_create(&rig->thread, NULL, client, rig), 0);
    assert_true(pd_loop_until(&rig->loop, &rig->done, WAIT_MS));
    pthread_join(rig->thread, NULL);
}

/* ---- tests ---- */

static void test_both_versions(void **state)
{
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};

    for (size_t i = 0; i < PD_COUNT(versions); i++) {
        struct rig *rig = *state;
        rig->done = false;
        rig->head[0] = '\0';
        rig->max_version = versions[i];
        rig->request = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                       "Content-Length: 3\r\n\r\nabc";
        run_client(rig);
        assert_true(rig->connected);
        assert_non_null(strstr(rig->head, "HTTP/1.1 200 OK"));
        assert_non_null(strstr(rig->head, "\r\n\r\nabc"));
    }
}

static void test_old_versions_are_refused(void **state)
{
    struct rig *rig = *state;

    rig->max_version = TLS1_1_VERSION;
    rig->request = "";
    run_client(rig);
    assert_false(rig->connected);
}

/* More than is ever held between the two ends, in both directions. */
static void test_much(void **state)
{
    struct rig *rig = *state;

    rig->request = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                   "Content-Length: 8388608\r\n\r\n";
    rig->body_bytes = BIG_BYTES;
    run_client(rig);
    assert_true(rig->got_bytes > BIG_BYTES);
    assert_non_null(strstr(rig->head, "HTTP/1.1 200 OK"));
}

static void test_hang_up_is_noticed(void **state)
{
    struct rig *rig = *state;

    rig->request = "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n";
    rig->hang_up = true;
    run_client(rig);
    assert_true(pd_loop_until(&rig->loop, &rig->gone, WAIT_MS));
}

/* Neither garbage nor silence gets as far as the server. */
static void test_no_tls(void **state)
{
    struct rig *rig = *state;
    int silent = connect_to(rig->port), plain = connect_to(rig->port);
    static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    char answer[64];

    assert_int_equal(send(plain, text, sizeof text - 1, 0), sizeof text - 1);
    for (int i = 0; i < 1000 && pd_tls_listener_sessions(rig->listener) != 1; i++)
        pd_loop_for(&rig->loop, 10);
    assert_int_equal(pd_tls_listener_sessions(rig->listener), 1); /* the silent one */
    assert_int_equal(pd_server_connections(rig->server), 0);
    assert_true(recv(plain, answer, sizeof answer, 0) <= 7); /* an alert, or nothing */
    close(silent);
    close(plain);
    for (int i = 0; i < 1000 && pd_tls_listener_sessions(rig->listener) != 0; i++)
        pd_loop_for(&rig->loop, 10);
    assert_int_equal(pd_tls_listener_sessions(rig->listener), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_both_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_versions_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_much, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hang_up_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_tls, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
