#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/asset.h"
#include "common/languages.h"
#include "common/mem.h"
#include "common/yaml.h"

static struct pd_languages *parse(const char *text, size_t len, struct pd_problems *problems)
{
    struct pd_languages *languages = NULL;
    int rc;

    *problems = (struct pd_problems){0};
    rc = pd_languages_parse(text, len, &languages, problems);
    assert_int_equal(rc, problems->count ? PD_INVALID : 0);
    return languages;
}

static struct pd_languages *shipped(void)
{
    struct pd_asset asset = pd_asset_find("conf/languages.yaml");
    struct pd_problems problems;
    struct pd_languages *languages = parse((const char *)asset.data, asset.len, &problems);
    struct pd_err err;

    if (!languages) {
        pd_problems_err(&problems, &err);
        fail_msg("%s", err.msg);
    }
    return languages;
}

static void the_shipped_catalogue_is_right(void **state)
{
    static const char *const names[] = {"python", "javascript", "bash", "c",    "cpp", "java",
                                        "go",     "ruby",       "php",  "perl", "lua", "r"};
    struct pd_languages *languages = shipped();

    (void)state;
    for (size_t i = 0; i < PD_COUNT(names); i++) {
        const struct pd_language *language = pd_languages_find(languages, names[i]);
        if (!language)
            fail_msg("%s is missing", names[i]);
        assert_string_equal(language->name, names[i]);
        assert_true(language->run.count > 0);
        assert_true(language->version.count > 0);
    }
    pd_languages_free(languages);
}

/* Every command works on the file that the program stands in. */
static void every_program_is_read_by_some_command(void **state)
{
    struct pd_languages *languages = shipped();

    (void)state;
    for (size_t i = 0; i < languages->count; i++) {
        const struct pd_language *language = &languages->items[i];
        const struct pd_strings *command =
            language->compile.count ? &language->compile : &language->run;
        bool found = false;
        for (size_t j = 0; j < command->count; j++)
            found |= strcmp(command->items[j], language->file) == 0;
        if (!found)
            fail_msg("no command of %s reads %s", language->name, language->file);
    }
    pd_languages_free(languages);
}

static void every_hook_is_built_in(void **state)
{
    struct pd_languages *languages = shipped();

    (void)state;
    for (size_t i = 0; i < languages->count; i++) {
        pd_autofree char *name = pd_asprintf("spares/%s", languages->items[i].spare);
        if (*languages->items[i].spare && !pd_asset_find(name).name)
            fail_msg("%s is missing", name);
    }
    pd_languages_free(languages);
}

/* What the hook is told to wait in is the hook that the sandbox has. */
static void every_spare_starts_with_its_hook_and_its_file(void **state)
{
    struct pd_languages *languages = shipped();

    (void)state;
    for (size_t i = 0; i < languages->count; i++) {
        const struct pd_language *language = &languages->items[i];
        const struct pd_strings *command = &language->spare_command;
        bool has_hook = false;
        if (!*language->spare)
            continue;
        for (size_t j = 0; j < command->count; j++)
            has_hook |= strstr(command->items[j], "/paddock/spares") != NULL;
        if (!has_hook || strcmp(command->items[command->count - 1], language->file) != 0)
            fail_msg("a spare of %s has no hook or no program", language->name);
        if (language->start_env.count == 0)
            fail_msg("%s reads nothing from its environment as it starts?", language->name);
    }
    pd_languages_free(languages);
}

static void every_field_arrives(void **state)
{
    struct pd_languages *languages = shipped();
    const struct pd_language *python = pd_languages_find(languages, "py");
    const struct pd_language *c = pd_languages_find(languages, "c");

    (void)state;
    assert_string_equal(python->name, "python");
    assert_string_equal(python->file, "main.py");
    assert_int_equal(python->compile.count, 0);
    assert_string_equal(python->run.items[0], "python3");
    assert_true(*python->spare != '\0');
    assert_true(python->spare_command.count > 0);
    assert_true(python->zygote);
    assert_false(python->spare_file);
    assert_true(pd_languages_find(languages, "perl")->spare_file);
    assert_string_equal(python->start_env.items[0], "PYTHON*");
    assert_string_equal(python->env.items[0], "PYTHONUNBUFFERED=1");
    assert_string_equal(c->compile.items[0], "gcc");
    assert_string_equal(c->spare, "");
    assert_false(c->zygote);
    assert_int_equal(c->env.count, 0);
    assert_null(pd_languages_find(languages, "cobol"));
    assert_null(pd_languages_find(languages, ""));
    assert_null(pd_languages_find(languages, "Python"));
    pd_languages_free(languages);
    pd_languages_free(NULL);
}

#define ONE "languages:\n- {name: a, file: main.a, run: [a]}\n"

static void what_is_wrong_is_said_with_path_and_line(void **state)
{
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"", "must be a map, got null"},
        {"languages: []\n", "languages: must have at least 1 items, has 0 (line 1)"},
        {"languages: [a]\n", "languages[0]: must be a map, got \"a\" (line 1)"},
        {"languages:\n- {name: a, file: b}\n", "languages[0].run: is required (line 2)"},
        {"languages:\n- {name: a, file: b, run: []}\n",
         "languages[0].run: must have at least 1 items, has 0 (line 2)"},
        {"languages:\n- {name: a, file: b, run: ['']}\n",
         "languages[0].run[0]: must not be empty (line 2)"},
        {"languages:\n- {name: A B, file: b, run: [c]}\n",
         "languages[0].name: must match ^[a-z0-9+#-]+$, got \"A B\" (line 2)"},
        {"languages:\n- {name: a, file: ../b, run: [c]}\n",
         "languages[0].file: must match ^[A-Za-z0-9_][A-Za-z0-9_.-]*$, got \"../b\" (line 2)"},
        {ONE "- {name: a, file: b, run: [c]}\n", "languages[1].name: a is taken by a (line 3)"},
        {ONE "- {name: b, aliases: [a], file: b, run: [c]}\n",
         "languages[1].aliases: a is taken by a (line 3)"},
        {ONE "- {name: b, file: b, run: [c], spare: x}\n",
         "languages[1].spareCommand: must not be empty where there is a spare (line 3)"},
        {ONE "- {name: b, file: b, run: [c], startEnv: ['A=B']}\n",
         "languages[1].startEnv[0]: must match ^[A-Za-z_][A-Za-z0-9_]*[*]?$, got \"A=B\" (line 3)"},
        {ONE "- {name: b, file: b, run: [c], zygote: true}\n",
         "languages[1].zygote: needs a spare (line 3)"},
        {ONE "- {name: b, file: b, run: [c], env: {'A=B': x}}\n",
         "languages[1].env.A=B: must match ^[A-Za-z_][A-Za-z0-9_]*$, got \"A=B\" (line 3)"},
        {ONE "- {name: b, file: b, run: [c], runs: x}\n",
         "languages[1].runs: is not known; did you mean run? (line 3)"},
        {ONE "more: 1\n", "more: is not known (line 3)"},
        {"a: [\n", "while parsing a flow node: did not find expected node content (line 2)"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_problems problems;
        char text[512];
        assert_null(parse(cases[i].text, strlen(cases[i].text), &problems));
        assert_string_equal(pd_problem_format(&problems.items[0], text, sizeof text),
                            cases[i].problem);
    }
}

static void no_more_languages_than_fit(void **state)
{
    struct pd_buf text pd_autobuf;
    struct pd_problems problems;
    struct pd_languages *languages;

    (void)state;
    pd_buf_init(&text, 65536);
    assert_int_equal(pd_buf_addf(&text, NULL, "languages:\n"), 0);
    for (int i = 0; i < PD_LANGUAGES_MAX; i++)
        assert_int_equal(pd_buf_addf(&text, NULL, "- {name: a%d, file: b, run: [c]}\n", i), 0);
    languages = parse(text.data, text.len, &problems);
    assert_int_equal(languages->count, PD_LANGUAGES_MAX);
    pd_languages_free(languages);
    assert_int_equal(pd_buf_addf(&text, NULL, "- {name: b, file: b, run: [c]}\n"), 0);
    assert_null(parse(text.data, text.len, &problems));
}

static void pools_name_languages_of_the_catalogue(void **state)
{
    struct pd_languages *languages = shipped();
    char *names[] = {"python", "js", "pyton", "cobol"};
    struct pd_pool_spec spec = {.languages = {names, PD_COUNT(names)}};
    struct pd_problems problems = {0};

    (void)state;
    pd_languages_check_pool(languages, &spec, &problems);
    assert_int_equal(problems.count, 3);
    assert_string_equal(problems.items[0].path, "spec.languages[1]");
    assert_string_equal(problems.items[0].text,
                        "js is not in the catalogue of languages; did you mean javascript?");
    assert_string_equal(problems.items[1].text,
                        "pyton is not in the catalogue of languages; did you mean python?");
    assert_string_equal(problems.items[2].text, "cobol is not in the catalogue of languages");
    pd_languages_free(languages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_catalogue_is_right),
        cmocka_unit_test(every_program_is_read_by_some_command),
        cmocka_unit_test(every_hook_is_built_in),
        cmocka_unit_test(every_spare_starts_with_its_hook_and_its_file),
        cmocka_unit_test(every_field_arrives),
        cmocka_unit_test(what_is_wrong_is_said_with_path_and_line),
        cmocka_unit_test(no_more_languages_than_fit),
        cmocka_unit_test(pools_name_languages_of_the_catalogue),
    };

    return cmocka_run_group_tests_name("languages", tests, NULL, NULL);
}
