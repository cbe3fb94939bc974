#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/kube_request.h"
#include "api/kube_selector.h"
#include "common/json.h"
#include "common/mem.h"

static const char object_text[] =
    "{\"metadata\":{\"name\":\"py\",\"labels\":{\"team\":\"green\",\"x.dev/tier\":\"\"}},"
    "\"status\":{\"phase\":\"Warm\",\"runs\":3}}";

static void test_labels(void **state)
{
    static const struct {
        const char *text;
        bool matches;
    } cases[] = {
        {"", true},
        {" ", true},
        {"team=green", true},
        {"team==green", true},
        {"team = green", true},
        {"team=blue", false},
        {"team!=blue", true},
        {"team!=green", false},
        {"other!=x", true},
        {"team", true},
        {"other", false},
        {"!other", true},
        {"!team", false},
        {"team in (blue, green)", true},
        {"team in(green)", true},
        {"team in (blue)", false},
        {"team notin (blue)", true},
        {"team notin (green)", false},
        {"other notin (x)", true},
        {"x.dev/tier=", true},
        {"x.dev/tier in (,a)", true},
        {"team=green,!other,x.dev/tier", true},
        {"team=green,other", false},
        {"team=green,", true},
        {"in=1", false},
        {"notin", false},
    };
    pd_autonode struct pd_node *object = NULL;

    (void)state;
    assert_int_equal(pd_json_parse(object_text, strlen(object_text), &object, NULL), 0);
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_kube_selector selector;
        struct pd_err err = {.msg = ""};
        if (pd_kube_labels_parse(cases[i].text, &selector, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.msg);
        if (pd_kube_labels_match(&selector, object) != cases[i].matches)
            fail_msg("%s", cases[i].text);
        pd_kube_selector_fini(&selector);
    }
}

static void test_labels_refused(void **state)
{
    static const char *const cases[] = {"=a", "a b", "a in b", "a in (b", "a in (b c)", "a=b c",
                                        "!",  ",",   "a,,b",   "a;b",     "a>1",        "(a)"};
    char many[256] = "";

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_kube_selector selector;
        if (pd_kube_labels_parse(cases[i], &selector, NULL) != PD_INVALID)
            fail_msg("%s", cases[i]);
        pd_kube_selector_fini(&selector);
    }
    for (size_t i = 0; i <= PD_KUBE_SELECTOR_TERMS_MAX; i++)
        strncat(many, "a,", sizeof many - strlen(many) - 1);
    struct pd_kube_selector selector;
    assert_int_equal(pd_kube_labels_parse(many, &selector, NULL), PD_LIMIT);
    pd_kube_selector_fini(&selector);
}

static void test_fields(void **state)
{
    static const struct {
        const char *text;
        bool matches;
    } cases[] = {
        {"", true},
        {"metadata.name=py", true},
        {"metadata.name=other", false},
        {"metadata.name!=other,status.phase=Warm", true},
        {"metadata.none=", true},
        {"metadata.name.deeper=", true},
        {"status.phase=W\\arm", true},
        {"status.phase=a\\,b", false},
        {"status.runs=3", false}, /* not a text */
    };
    pd_autonode struct pd_node *object = NULL;
    struct pd_kube_selector selector;

    (void)state;
    assert_int_equal(pd_json_parse(object_text, strlen(object_text), &object, NULL), 0);
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        assert_int_equal(pd_kube_fields_parse(cases[i].text, &selector, NULL), 0);
        if (pd_kube_fields_match(&selector, object) != cases[i].matches)
            fail_msg("%s", cases[i].text);
        pd_kube_selector_fini(&selector);
    }
    assert_int_equal(pd_kube_fields_parse("metadata.name", &selector, NULL), PD_INVALID);
    pd_kube_selector_fini(&selector);
}

static void test_targets(void **state)
{
    static const struct {
        const char *path;
        int kind; /* -1: none */
        const char *namespace, *name;
        int part;
    } cases[] = {
        {"/apis/paddock.dev/v1/sandboxpools", PD_KUBE_POOL, "", "", PD_KUBE_WHOLE},
        {"/apis/paddock.dev/v1/namespaces/default/sandboxpools/", PD_KUBE_POOL, "default", "", 0},
        {"/apis/paddock.dev/v1/namespaces/x/sandboxpools/py", PD_KUBE_POOL, "x", "py", 0},
        {"/apis/paddock.dev/v1/namespaces/x/sandboxpools/py/scale", PD_KUBE_POOL, "x", "py",
         PD_KUBE_SCALE},
        {"/apis/paddock.dev/v1/namespaces/x/sandboxpools/py/status", PD_KUBE_POOL, "x", "py",
         PD_KUBE_STATUS},
        {"/apis/paddock.dev/v1/sandboxes", PD_KUBE_SANDBOX, "", "", 0},
        {"/api/v1/events", PD_KUBE_EVENT, "", "", 0},
        {"/api/v1/namespaces/default/events/e", PD_KUBE_EVENT, "default", "e", 0},
        {"/api/v1/namespaces", PD_KUBE_NAMESPACES, "", "", 0},
        {"/api/v1/namespaces/default", PD_KUBE_NAMESPACES, "", "default", 0},
        {"/api/v1", -1, "", "", 0},
        {"/api/v1/pods", -1, "", "", 0},
        {"/api/v1/sandboxpools", -1, "", "", 0},
        {"/apis/paddock.dev/v1", -1, "", "", 0},
        {"/apis/paddock.dev/v2/sandboxpools", -1, "", "", 0},
        {"/apis/paddock.dev/v1/events", -1, "", "", 0},
        {"/apis/paddock.dev/v1/sandboxpools/py", -1, "", "", 0},
        {"/apis/paddock.dev/v1/namespaces/x/sandboxes/s/scale", -1, "", "", 0},
        {"/apis/paddock.dev/v1/namespaces/x/sandboxpools/py/log", -1, "", "", 0},
        {"/apis/paddock.dev/v1/namespaces/x/sandboxpools/py/scale/y", -1, "", "", 0},
        {"/apis/paddock.dev/v1/namespaces/x", -1, "", "", 0},
        {"", -1, "", "", 0},
        {"////////////////", -1, "", "", 0},
    };
    struct pd_kube_kinds kinds;

    (void)state;
    assert_int_equal(pd_kube_kinds_load(&kinds, NULL), 0);
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_kube_target target;
        bool found = pd_kube_target_parse(&kinds, cases[i].path, &target);
        if (found != (cases[i].kind >= 0))
            fail_msg("%s", cases[i].path);
        if (!found)
            continue;
        assert_int_equal(target.kind->id, cases[i].kind);
        assert_string_equal(target.namespace, cases[i].namespace);
        assert_string_equal(target.name, cases[i].name);
        assert_int_equal(target.part, cases[i].part);
    }
    pd_kube_kinds_fini(&kinds);
}

static void test_accept(void **state)
{
    (void)state;
    assert_true(
        pd_kube_wants_table("application/json;as=Table;v=v1;g=meta.k8s.io,application/"
                            "json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"));
    assert_false(pd_kube_wants_table("application/json"));
    assert_false(pd_kube_wants_table("*/*"));
    assert_false(pd_kube_wants_table(""));
    assert_false(pd_kube_wants_table("application/json;as=Table;v=v1beta1;g=meta.k8s.io"));
    assert_false(pd_kube_wants_table("application/json, application/json;as=Table;v=v1"));
    assert_true(
        pd_kube_wants_table("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s."
                            "io"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels), cmocka_unit_test(test_labels_refused),
        cmocka_unit_test(test_fields), cmocka_unit_test(test_targets),
        cmocka_unit_test(test_accept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
