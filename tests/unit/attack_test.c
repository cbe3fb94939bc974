#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cli/attack.h"
#include "common/json.h"
#include "common/mem.h"

static const struct pd_attack plain = {.ends = "exited", .n_steps = 1, .exit_code = -1};

static struct pd_node *answer_of(const char *text)
{
    struct pd_node *node = NULL;
    struct pd_err err = {0};

    if (pd_json_parse(text, strlen(text), &node, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return node;
}

static void test_every_attack_is_complete(void **state)
{
    struct pd_attack attack;
    unsigned n = 0;

    (void)state;
    for (; pd_attack_at(n, &attack); n++) {
        pd_autonode struct pd_node *request = pd_attack_request(&attack, 0, "p");
        assert_true(strlen(attack.tries) > 5);
        assert_true(strlen(attack.tries) < 100);
        assert_in_range(attack.timeout_s, 1, 60);
        assert_in_range(attack.n_steps, 1, PD_ATTACK_STEPS_MAX);
        assert_true(strstr(attack.code, "BROKEN") || strstr(attack.code, "broken(") ||
                    attack.silent);
        if (strcmp(attack.language, "python") == 0)
            assert_non_null(strstr(attack.code, "def broken("));
        assert_string_equal(pd_node_text(pd_node_get(request, "pool"), ""), "p");
        pd_attack_fini(&attack);
    }
    assert_in_range(n, 25, 100);
}

static void test_steps_become_arguments(void **state)
{
    struct pd_attack attack = plain;
    pd_autonode struct pd_node *first = NULL;
    pd_autonode struct pd_node *second = NULL;

    (void)state;
    attack.code = (char *)(uintptr_t) "x";
    attack.language = "python";
    attack.n_steps = 2;
    pd_strcpy(attack.steps[1], sizeof attack.steps[1], "look");
    first = pd_attack_request(&attack, 0, NULL);
    second = pd_attack_request(&attack, 1, NULL);
    assert_null(pd_node_get(first, "args"));
    assert_null(pd_node_get(first, "pool"));
    assert_string_equal(pd_node_get(second, "args")->list.items[0]->string.text, "look");
}

static void test_judge(void **state)
{
    static const struct {
        const char *what, *answer;
        const char *ends;
        int exit_code;
        bool silent;
        enum pd_verdict verdict;
    } cases[] = {
        {"held", "{\"status\":\"exited\",\"exit_code\":0,\"stdout\":\"HELD\\n\"}", "exited", -1,
         false, PD_VERDICT_HELD},
        {"held behind NULs", "{\"status\":\"exited\",\"stdout\":\"\\u0000\\u0001HELD\"}", "exited",
         -1, false, PD_VERDICT_HELD},
        {"broken", "{\"status\":\"exited\",\"stdout\":\"BROKEN: in\\nHELD\\n\"}", "exited", -1,
         false, PD_VERDICT_BROKEN},
        {"broken behind NULs", "{\"status\":\"exited\",\"stdout\":\"\\u0000BROKEN: in\"}", "exited",
         -1, true, PD_VERDICT_BROKEN},
        {"broken on stderr", "{\"status\":\"exited\",\"stdout\":\"\",\"stderr\":\"BROKEN: x\"}",
         "exited", -1, true, PD_VERDICT_BROKEN},
        {"it failed by itself", "{\"status\":\"exited\",\"exit_code\":1,\"stdout\":\"\"}", "exited",
         -1, false, PD_VERDICT_UNCLEAR},
        {"silence is allowed", "{\"status\":\"exited\",\"stdout\":\"\"}", "exited", -1, true,
         PD_VERDICT_HELD},
        {"another end", "{\"status\":\"lost\",\"stdout\":\"HELD\"}", "exited timed_out", -1, true,
         PD_VERDICT_UNCLEAR},
        {"one of the ends", "{\"status\":\"timed_out\",\"stdout\":\"\"}", "exited timed_out", -1,
         false, PD_VERDICT_HELD},
        {"a part of a word is no end", "{\"status\":\"timed\",\"stdout\":\"\"}", "exited timed_out",
         -1, true, PD_VERDICT_UNCLEAR},
        {"the exit code was forged", "{\"status\":\"exited\",\"exit_code\":0,\"stdout\":\"HELD\"}",
         "exited", 7, false, PD_VERDICT_BROKEN},
        {"the exit code is true", "{\"status\":\"exited\",\"exit_code\":7,\"stdout\":\"HELD\"}",
         "exited", 7, false, PD_VERDICT_HELD},
        {"no answer to speak of", "{}", "exited", -1, true, PD_VERDICT_UNCLEAR},
        {"another shape", "{\"status\":3,\"stdout\":[1],\"artifacts\":7}", "exited", -1, true,
         PD_VERDICT_UNCLEAR},
    };
    char why[64];

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autonode struct pd_node *answer = answer_of(cases[i].answer);
        struct pd_attack attack = plain;
        pd_strcpy(attack.ends, sizeof attack.ends, cases[i].ends);
        attack.exit_code = cases[i].exit_code;
        attack.silent = cases[i].silent;
        if (pd_attack_judge(&attack, answer, why, sizeof why) != cases[i].verdict)
            fail_msg("%s: %s", cases[i].what, why);
    }
}

static void test_judge_looks_into_artifacts(void **state)
{
    static const struct {
        const char *artifacts;
        enum pd_verdict verdict;
    } cases[] = {
        {"[]", PD_VERDICT_HELD},
        {"[{\"path\":\"a\",\"encoding\":\"base64\",\"content\":\"cm9vdDp4OjA=\"}]",
         PD_VERDICT_BROKEN},
        {"[{\"path\":\"a\",\"content\":\"root:x:0\"}]", PD_VERDICT_BROKEN},
        {"[{\"path\":\"a\",\"encoding\":\"base64\",\"content\":\"bWluZQ==\"}]", PD_VERDICT_HELD},
        {"[{\"path\":\"a\",\"error\":\"root:x:0\"}]", PD_VERDICT_HELD},
    };
    struct pd_attack attack = plain;
    char why[64];

    (void)state;
    pd_strcpy(attack.secret, sizeof attack.secret, "root:x:0");
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autofree char *text = pd_asprintf(
            "{\"status\":\"exited\",\"stdout\":\"HELD\",\"artifacts\":%s}", cases[i].artifacts);
        pd_autonode struct pd_node *answer = answer_of(text);
        assert_int_equal(pd_attack_judge(&attack, answer, why, sizeof why), cases[i].verdict);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_attack_is_complete),
        cmocka_unit_test(test_steps_become_arguments),
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_judge_looks_into_artifacts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
