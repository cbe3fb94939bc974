#include "tests/lib/server_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/loop_until.h"

void server_rig_open(struct server_rig *rig, const struct pd_server_limits *limits,
                     void (*on_request)(void *arg, struct pd_exchange *exchange), void *arg)
{
    struct pd_err err = {.msg = ""};
    const struct pd_server_config config = {
        .loop = &rig->loop,
        .address = "127.0.0.1",
        .limits = limits,
        .on_request = on_request,
        .arg = arg,
    };

    uv_loop_init(&rig->loop);
    if (pd_server_open(&config, &rig->server, &err) < 0)
        fail_msg("%s", err.msg);
}

void server_rig_on_closed(void *arg)
{
    struct server_rig *rig = arg;

    rig->closed = true;
}

void server_rig_on_gone(void *arg)
{
    struct server_rig *rig = arg;

    rig->gone++;
}

void server_rig_close(struct server_rig *rig)
{
    if (rig->server)
        pd_server_close(rig->server, server_rig_on_closed, rig);
    assert_true(pd_loop_until(&rig->loop, &rig->closed, SERVER_RIG_WAIT_MS));
    assert_true(pd_loop_finish(&rig->loop, SERVER_RIG_WAIT_MS));
}

int server_rig_dial(struct server_rig *rig)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)pd_server_port(rig->server)),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    size_t before = pd_server_connections(rig->server);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    for (int i = 0; i < 100 && pd_server_connections(rig->server) == before; i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    return fd;
}

void server_rig_ask(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
}

const char *server_rig_hear(struct server_rig *rig, int fd, const char *until,
                            char out[static SERVER_RIG_TEXT_BYTES])
{
    size_t len = 0;

    out[0] = '\0';
    for (int i = 0; i < SERVER_RIG_WAIT_MS; i++) {
        ssize_t n = recv(fd, out + len, SERVER_RIG_TEXT_BYTES - 1 - len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            if (*until)
                fail_msg("it ended: %s", out);
            return out;
        }
        if (n > 0) {
            len += (size_t)n;
            out[len] = '\0';
            if (*until && strstr(out, until))
                return out;
        } else {
            pd_loop_for(&rig->loop, 1);
        }
    }
    fail_msg("it did not come: %s", out);
    return NULL;
}

void server_rig_await(struct server_rig *rig, const int *count, int wanted)
{
    for (int i = 0; i < SERVER_RIG_WAIT_MS && *count < wanted; i++)
        pd_loop_for(&rig->loop, 1);
    assert_int_equal(*count, wanted);
}
