/* Accepted executions over real sockets, with SQLite and sandboxes that do what the code
 * says: POST, GET, DELETE /executions, keys that are used twice, batches, lists, and what
 * is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "tests/lib/api_rig.h"

#define WAIT_TURNS 2000 /* of 10 ms */

struct fixture {
    struct rig *rig;
    char dir[64];
};

static int set_up(void **state)
{
    struct fixture *f = PD_NEW(struct fixture);
    void *rig = NULL;

    strcpy(f->dir, "/tmp/pd-async-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(rig_open(&rig, NULL, f->dir), 0);
    f->rig = rig;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    pd_autofree char *command = pd_asprintf("rm -rf %s", f->dir);
    void *rig = f->rig;

    assert_int_equal(rig_close(&rig), 0);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* ---- asking ---- */

/* headers: "" or lines that end with CR LF. The caller frees. */
static struct pd_node *ask(struct fixture *f, int expected, const char *method, const char *path,
                           const char *headers, const char *body)
{
    pd_autofree char *text =
        pd_asprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nX-API-Key: " KEY
                    "\r\n%s%sContent-Length: %zu\r\n\r\n%s",
                    method, path, *body ? "Content-Type: application/json\r\n" : "", headers,
                    strlen(body), body);
    struct reply reply;
    struct pd_node *node = NULL;

    exchange(f->rig, text, &reply);
    if (reply.status != expected)
        fail_msg("%s %s: %d, not %d: %s", method, path, reply.status, expected, reply.body);
    if (reply.body_len > 0)
        node = reply_json(&reply);
    reply_fini(&reply);
    return node;
}

static void expect(struct fixture *f, int expected, const char *method, const char *path,
                   const char *headers, const char *body)
{
    pd_node_free(ask(f, expected, method, path, headers, body));
}

static void accept_code(struct fixture *f, const char *code, char id[static 64])
{
    pd_autofree char *body = pd_asprintf("{\"code\":\"%s\"}", code);
    pd_autonode struct pd_node *node = ask(f, 202, "POST", "/executions", "", body);

    pd_strcpy(id, 64, text_at(node, "id"));
}

/* Until its status is this; the caller frees. */
static struct pd_node *await_status(struct fixture *f, const char *id, const char *status)
{
    pd_autofree char *path = pd_asprintf("/executions/%s", id);

    for (int i = 0; i < WAIT_TURNS; i++) {
        struct pd_node *node = ask(f, 200, "GET", path, "", "");
        if (strcmp(text_at(node, "status"), status) == 0)
            return node;
        pd_node_free(node);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("%s is not %s", id, status);
    return NULL;
}

static void expect_end(struct fixture *f, const char *id, const char *cause, const char *output)
{
    pd_autonode struct pd_node *node = await_status(f, id, "done");

    assert_string_equal(text_at(node, "cause"), cause);
    if (output)
        assert_string_equal(text_at(pd_node_get(node, "result"), "output"), output);
}

static size_t count_items(struct fixture *f, const char *path)
{
    pd_autonode struct pd_node *node = ask(f, 200, "GET", path, "", "");

    return pd_node_get(node, "items")->list.count;
}

/* ---- tests ---- */

static void test_accepted_and_done(void **state)
{
    struct fixture *f = *state;
    char id[64], other[64];

    accept_code(f, "print hello", id);
    expect_end(f, id, "exited", "hello");
    accept_code(f, "exit 3", other);
    expect_end(f, other, "exited", NULL);
    assert_string_not_equal(id, other);
    assert_int_equal(count_items(f, "/executions"), 2);
    assert_int_equal(count_items(f, "/executions?status=done&language=python"), 2);
    assert_int_equal(count_items(f, "/executions?status=queued"), 0);
    assert_int_equal(count_items(f, "/executions?language=bash"), 0);
    assert_int_equal(count_items(f, "/executions?limit=1"), 1);
}

static void test_canceled(void **state)
{
    struct fixture *f = *state;
    char id[64];
    pd_autofree char *path = NULL;

    accept_code(f, "hold", id);
    pd_node_free(await_status(f, id, "running"));
    path = pd_asprintf("/executions/%s", id);
    expect(f, 202, "DELETE", path, "", "");
    expect_end(f, id, "canceled", NULL);
    expect(f, 409, "DELETE", path, "", ""); /* it is over */
}

static void test_one_key_one_run(void **state)
{
    static const char key[] = "Idempotency-Key: \"k1\"\r\n";
    struct fixture *f = *state;
    pd_autonode struct pd_node *first =
        ask(f, 202, "POST", "/executions", key, "{\"code\":\"print one\"}");
    pd_autonode struct pd_node *again = NULL, *now = NULL, *replay = NULL;

    expect_end(f, text_at(first, "id"), "exited", "one");
    again = ask(f, 202, "POST", "/executions", key, "{\"code\":\"print one\"}");
    assert_string_equal(text_at(again, "id"), text_at(first, "id"));
    expect(f, 422, "POST", "/executions", key, "{\"code\":\"print two\"}");
    assert_int_equal(count_items(f, "/executions"), 1);
    /* Likewise where the answer is waited for. */
    now = ask(f, 200, "POST", "/execute", "Idempotency-Key: k2\r\n", "{\"code\":\"print two\"}");
    replay = ask(f, 200, "POST", "/execute", "Idempotency-Key: k2\r\n", "{\"code\":\"print two\"}");
    assert_string_equal(text_at(now, "id"), text_at(replay, "id"));
    assert_string_equal(text_at(replay, "output"), "two");
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    pd_autofree char *large = pd_asprintf("{\"code\":\"%0*d\"}", 70000, 0);

    expect(f, 422, "POST", "/executions", "", "{\"code\":1}");
    expect(f, 422, "POST", "/executions", "", "{}");
    expect(f, 400, "POST", "/executions", "", "{");
    expect(f, 422, "POST", "/executions", "", "{\"code\":\"x\",\"language\":\"cobol\"}");
    expect(f, 413, "POST", "/executions", "", large);
    expect(f, 404, "GET", "/executions/run_none", "", "");
    expect(f, 404, "DELETE", "/executions/run_none", "", "");
    expect(f, 404, "GET", "/executions/run_none/stream", "Accept: text/event-stream\r\n", "");
    expect(f, 400, "GET", "/executions?limit=0", "", "");
    expect(f, 400, "GET", "/executions?cursor=nonsense", "", "");
    assert_int_equal(count_items(f, "/executions"), 0);
}

static void test_begun_is_not_begun_again(void **state)
{
    struct fixture *f = *state;
    char id[64];

    accept_code(f, "lose", id);
    expect_end(f, id, "lost", NULL);
    accept_code(f, "cause timed_out", id);
    expect_end(f, id, "timed_out", NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_accepted_and_done),        TEST(test_canceled),
        TEST(test_one_key_one_run),          TEST(test_refused),
        TEST(test_begun_is_not_begun_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
