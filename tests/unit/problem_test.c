#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/problem.h"
#include "common/json.h"
#include "common/mem.h"

static struct pd_node *format(const struct pd_problem_details *details)
{
    struct pd_node *node = NULL;
    struct pd_err err = {.msg = ""};
    struct pd_buf body;

    pd_buf_init(&body, PD_PROBLEM_BYTES_MAX);
    assert_int_equal(pd_problem_details_format(details, &body, &err), 0);
    if (pd_json_parse(body.data, body.len, &node, &err) < 0)
        fail_msg("%s: %s", err.msg, body.data);
    pd_buf_fini(&body);
    return node;
}

static const char *text_at(const struct pd_node *node, const char *key)
{
    return pd_node_text(pd_node_get(node, key), "(absent)");
}

static void test_plain(void **state)
{
    pd_autonode struct pd_node *node = format(
        &(struct pd_problem_details){.status = 404, .detail = "a \"quote\"\n", .request_id = "r"});

    (void)state;
    assert_string_equal(text_at(node, "type"), "about:blank");
    assert_string_equal(text_at(node, "title"), "Not Found");
    assert_int_equal(pd_node_int(pd_node_get(node, "status"), 0), 404);
    assert_string_equal(text_at(node, "detail"), "a \"quote\"\n");
    assert_string_equal(text_at(node, "request_id"), "r");
    assert_null(pd_node_get(node, "errors"));
}

static void test_errors_by_field(void **state)
{
    struct pd_problems problems = {.count = 0};
    pd_autonode struct pd_node *node = NULL;
    struct pd_node *errors;

    (void)state;
    pd_problems_add(&problems, "timeout", 0, "must be > 0, got %d", -1);
    pd_problems_add(&problems, "args[0]", 0, "must be a string");
    node = format(&(struct pd_problem_details){.status = 422, .errors = &problems});
    errors = pd_node_get(node, "errors");
    assert_int_equal(pd_node_count(errors), 2);
    assert_string_equal(text_at(errors->list.items[0], "path"), "timeout");
    assert_string_equal(text_at(errors->list.items[0], "message"), "must be > 0, got -1");
    assert_string_equal(text_at(errors->list.items[1], "path"), "args[0]");
}

/* Text from outside, of whatever bytes and length, always leaves JSON that fits. */
static void test_worst_text(void **state)
{
    struct pd_problems problems = {.count = 0};
    char text[PD_PROBLEM_TEXT_MAX];

    (void)state;
    memset(text, '\x01', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < PD_PROBLEMS_MAX; i++)
        pd_problems_add(&problems, text, 0, "%s", text);
    pd_node_free(format(&(struct pd_problem_details){
        .status = 400, .detail = "\xff\xfe\x80", .errors = &problems}));
}

static void test_every_growth_may_fail(void **state)
{
    struct pd_problems problems = {.count = 0};
    const struct pd_problem_details details = {
        .status = 422, .detail = "d", .request_id = "r", .errors = &problems};
    size_t max = 0;
    int rc = PD_LIMIT;

    (void)state;
    pd_problems_add(&problems, "a", 0, "b");
    while (rc < 0) {
        struct pd_err err = {.msg = ""};
        struct pd_buf body;
        pd_buf_init(&body, max++);
        rc = pd_problem_details_format(&details, &body, &err);
        assert_true(rc == 0 || rc == PD_LIMIT);
        pd_buf_fini(&body);
        assert_true(max < 4096);
    }
    assert_true(max > 100);
}

static void test_retry_after(void **state)
{
    (void)state;
    assert_int_equal(pd_retry_after_s(-5), 1);
    assert_int_equal(pd_retry_after_s(0), 1);
    assert_int_equal(pd_retry_after_s(1), 1);
    assert_int_equal(pd_retry_after_s(1000), 1);
    assert_int_equal(pd_retry_after_s(1001), 2);
    assert_int_equal(pd_retry_after_s(INT64_MAX), PD_RETRY_AFTER_MAX_S);
}

static void test_titles(void **state)
{
    static const int statuses[] = {400, 401, 403, 404, 405, 408, 409, 413, 414, 415,
                                   417, 422, 429, 431, 500, 501, 503, 504, 505};

    (void)state;
    for (size_t i = 0; i < PD_COUNT(statuses); i++) {
        if (strcmp(pd_status_title(statuses[i]), "Error") == 0)
            fail_msg("%d has no title", statuses[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),       cmocka_unit_test(test_errors_by_field),
        cmocka_unit_test(test_worst_text),  cmocka_unit_test(test_every_growth_may_fail),
        cmocka_unit_test(test_retry_after), cmocka_unit_test(test_titles),
    };

    return cmocka_run_group_tests_name("problem", tests, NULL, NULL);
}
