#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "common/loop_pg.h"
#include "common/mem.h"
#include "tests/lib/loop_until.h"

#define WAIT_MS 30000

/* A real server is asked in tests/e2e/postgres_test.py; here is what else there may be. */
struct fixture {
    uv_loop_t loop;
    struct pd_pg *pg;
    bool down, closed;
    int downs;
    char why[PD_ERR_MSG_MAX];
};

static void on_ready(void *arg)
{
    (void)arg;
    fail_msg("connected to nobody");
}

static void on_down(void *arg, const struct pd_err *err)
{
    struct fixture *f = arg;

    f->down = true;
    f->downs++;
    assert_int_equal(err->kind, PD_UNAVAILABLE);
    pd_strcpy(f->why, sizeof f->why, err->msg);
}

static const struct pd_pg_events events = {.ready = on_ready, .down = on_down};

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static int set_up(void **state)
{
    struct fixture *f = PD_NEW(struct fixture);

    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->pg) {
        pd_pg_close(f->pg, on_closed, &f->closed);
        pd_pg_close(f->pg, on_closed, &f->closed); /* idempotent */
        assert_true(pd_loop_until(&f->loop, &f->closed, WAIT_MS));
    }
    assert_true(pd_loop_finish(&f->loop, WAIT_MS));
    assert_true(f->downs <= 1);
    free(f);
    return 0;
}

static void open_pg(struct fixture *f, const char *url)
{
    struct pd_err err = {.msg = ""};

    if (pd_pg_open(&f->loop, url, &events, f, &f->pg, &err) < 0)
        fail_msg("%s", err.msg);
}

/* A socket that listens on 127.0.0.1. */
static int listen_somewhere(int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static int accept_soon(struct fixture *f, int fd)
{
    int peer = -1;

    for (int ms = 0; peer < 0 && ms < WAIT_MS; ms += 10) {
        pd_loop_for(&f->loop, 10);
        peer = accept(fd, NULL, NULL);
    }
    assert_true(peer >= 0);
    return peer;
}

static char *url_of(int port)
{
    return pd_asprintf("host=127.0.0.1 port=%d user=u dbname=d password=secret sslmode=disable",
                       port);
}

static void test_what_cannot_be_read_is_not_quoted(void **state)
{
    static const char *const urls[] = {
        "postgres//u:secret@h/d", "password='secret", "pass word=secret",
        "postgresql://u:secret@h/d?pass%2gword=1", "postgresql://u@h/d?secret",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < PD_COUNT(urls); i++) {
        struct pd_err err = {.msg = ""};
        assert_int_equal(pd_pg_open(&f->loop, urls[i], &events, f, &f->pg, &err), PD_INVALID);
        assert_non_null(strstr(err.msg, "connection string"));
        assert_null(strstr(err.msg, "secret"));
    }
}

static void test_part_of_a_password_as_port(void **state)
{
    struct fixture *f = *state;

    open_pg(f, "postgresql://u:secret/more@127.0.0.1/d");
    assert_true(pd_loop_until(&f->loop, &f->down, WAIT_MS));
    assert_null(strstr(f->why, "secret"));
}

static void test_no_socket(void **state)
{
    struct fixture *f = *state;
    struct pd_err err;

    open_pg(f, "host=/nonexistent user=u dbname=d");
    assert_false(f->down); /* never before the call has returned */
    assert_int_equal(pd_pg_query(f->pg, "SELECT 1", NULL, 0, NULL, NULL, &err), PD_CONFLICT);
    assert_true(pd_loop_until(&f->loop, &f->down, WAIT_MS));
    assert_non_null(strstr(f->why, "/nonexistent"));
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    int port;
    int fd = listen_somewhere(&port);
    pd_autofree char *url = url_of(port);

    close(fd);
    open_pg(f, url);
    assert_true(pd_loop_until(&f->loop, &f->down, WAIT_MS));
    assert_non_null(strstr(f->why, "refused"));
    assert_null(strstr(f->why, "secret"));
}

/* Of several hosts the next one is asked. */
static void test_next_host(void **state)
{
    struct fixture *f = *state;
    int dead, port;
    int fd = listen_somewhere(&dead);
    int second;
    pd_autofree char *url = NULL;

    close(fd);
    fd = listen_somewhere(&port);
    url = pd_asprintf("host=127.0.0.1,127.0.0.1 port=%d,%d user=u dbname=d sslmode=disable", dead,
                      port);
    open_pg(f, url);
    second = accept_soon(f, fd);
    assert_false(f->down);
    close(second);
    close(fd);
    assert_true(pd_loop_until(&f->loop, &f->down, WAIT_MS));
}

static void test_a_server_that_hangs_up_or_talks_nonsense(void **state)
{
    struct fixture *f = *state;
    int port;
    int fd = listen_somewhere(&port);
    pd_autofree char *url = url_of(port);
    int peer;

    open_pg(f, url);
    peer = accept_soon(f, fd);
    assert_int_equal(write(peer, "HTTP/1.1 400 Bad Request\r\n\r\n", 28), 28);
    close(peer);
    close(fd);
    assert_true(pd_loop_until(&f->loop, &f->down, WAIT_MS));
    assert_non_null(strstr(f->why, "PostgreSQL: "));
}

/* Closed in the middle: nothing is heard of it any more. */
static void test_close_while_connecting(void **state)
{
    struct fixture *f = *state;
    int port;
    int fd = listen_somewhere(&port);
    pd_autofree char *url = url_of(port);

    open_pg(f, url);
    pd_loop_for(&f->loop, 20);
    pd_pg_close(PD_STEAL(f->pg), on_closed, &f->closed);
    assert_true(pd_loop_until(&f->loop, &f->closed, WAIT_MS));
    close(fd);
    pd_loop_for(&f->loop, 50);
    assert_false(f->down);
}

#define IN_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FIXTURE(test_what_cannot_be_read_is_not_quoted),
        IN_FIXTURE(test_part_of_a_password_as_port),
        IN_FIXTURE(test_no_socket),
        IN_FIXTURE(test_refused),
        IN_FIXTURE(test_next_host),
        IN_FIXTURE(test_a_server_that_hangs_up_or_talks_nonsense),
        IN_FIXTURE(test_close_while_connecting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
