/* The Docker provider and an engine, or what claims to be one, behind TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/docker_address.h"
#include "controller/docker_stream.h"
#include "tests/lib/docker_rig.h"
#include "tests/lib/engine_test.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/tls_front.h"

/* The engine behind a front that demands a certificate: calls, events and links. */
static void test_engine_behind_tls(void **state)
{
    struct docker_rig *ctx = *state;
    char folder[] = "/tmp/pd-tls-XXXXXX";
    pd_autofree char *host = NULL;
    pd_autofree char *text = NULL;
    pd_autofree char *clean = NULL;
    struct pd_tls_front *front;
    size_t bytes = 3 << 20;

    NEED_ENGINE();
    if (strncmp(pd_test_docker_host(), "unix://", 7) != 0) {
        printf("SKIP docker: the engine is not at a unix socket, so no TLS front can be had\n");
        skip();
    }
    assert_non_null(mkdtemp(folder));
    front = pd_tls_front_open(folder, pd_test_docker_host() + 7);
    host = pd_asprintf("tcp://127.0.0.1:%d", pd_tls_front_port(front));
    clean = pd_asprintf("rm -r %s", folder);
    ctx->cert_path = folder;
    docker_rig_open(ctx, host, docker_rig_cat);
    ctx->wait_for = WAIT_UP;
    ctx->provider->ops->watch(ctx->provider, docker_rig_on_event, ctx);
    assert_true(pd_loop_until(&ctx->loop, &ctx->seen, DOCKER_RIG_WAIT_MS));
    docker_rig_ensure_ready(ctx);
    docker_rig_create_well(ctx, "tls");
    assert_int_equal(docker_rig_link(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    docker_rig_say(ctx, "hello\n", 6);
    assert_memory_equal(ctx->data.data, "hello\n", 6);
    pd_buf_clear(&ctx->data);
    text = pd_calloc(bytes + 1, 1);
    for (size_t i = 0; i < bytes; i++)
        text[i] = (char)('a' + (i * 7 + i / 1000) % 26);
    for (size_t at = 0; at < bytes; at += 1 << 16) { /* the front is one thread each way */
        pd_autofree char *part = pd_strndup(text + at, 1 << 16);
        docker_rig_say(ctx, part, at + (1 << 16));
    }
    assert_int_equal(ctx->data.len, bytes);
    assert_memory_equal(ctx->data.data, text, bytes);
    docker_rig_unlink(ctx);
    docker_rig_destroy_all(ctx);
    docker_rig_close(ctx);
    pd_tls_front_close(front);
    assert_int_equal(system(clean), 0);
}

static void attach_is_denied(struct docker_rig *ctx, const char *cert_path, const char *host,
                             int port)
{
    pd_autofree char *text = pd_asprintf("%s:%d", host, port);
    struct pd_docker_address address;

    assert_int_equal(pd_docker_address_parse(text, true, cert_path, &address, NULL), 0);
    pd_docker_attach_open(&ctx->loop, &address, "/x", "x", docker_rig_on_link, ctx);
    docker_rig_wait_done(ctx);
    if (ctx->kind != PD_DENIED)
        fail_msg("%s: %s", text, ctx->msg);
    pd_docker_address_fini(&address);
}

/* Neither calls nor links go to a peer that our authority does not vouch for. */
static void test_peer_that_is_not_trusted(void **state)
{
    struct docker_rig *ctx = *state;
    char folder[] = "/tmp/pd-tls-XXXXXX";
    pd_autofree char *host = NULL;
    pd_autofree char *swap = NULL;
    pd_autofree char *clean = NULL;
    struct pd_tls_front *front;

    assert_non_null(mkdtemp(folder));
    front = pd_tls_front_open(folder, "/nonexistent");
    host = pd_asprintf("tcp://127.0.0.1:%d", pd_tls_front_port(front));
    swap = pd_asprintf("cp %s/other-ca.pem %s/ca.pem", folder, folder);
    clean = pd_asprintf("rm -r %s", folder);
    /* Vouched for, but for another name than the one it was asked by. */
    attach_is_denied(ctx, folder, "tcp://localhost", pd_tls_front_port(front));
    assert_int_equal(system(swap), 0);
    ctx->cert_path = folder;
    docker_rig_open(ctx, host, docker_rig_cat);
    assert_int_equal(ctx->provider->ops->list(ctx->provider, docker_rig_on_list, ctx, NULL), 0);
    docker_rig_wait_done(ctx);
    assert_int_equal(ctx->kind, PD_DENIED);
    attach_is_denied(ctx, folder, "tcp://127.0.0.1", pd_tls_front_port(front));
    docker_rig_close(ctx);
    pd_tls_front_close(front);
    assert_int_equal(system(clean), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_engine_behind_tls, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_peer_that_is_not_trusted, docker_rig_set_up,
                                        docker_rig_tear_down),
    };
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
