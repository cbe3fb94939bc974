#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/check.h"
#include "common/file.h"
#include "common/mem.h"

struct outcome {
    size_t n_problems;
    char *out, *problems;
};

static struct outcome check(char *const *paths, size_t count)
{
    struct outcome outcome = {0};
    size_t out_len, problems_len;
    FILE *out = open_memstream(&outcome.out, &out_len);
    FILE *problems = open_memstream(&outcome.problems, &problems_len);

    outcome.n_problems = pd_check_files(paths, count, out, problems);
    fclose(out);
    fclose(problems);
    return outcome;
}

static struct outcome check_one(const char *path)
{
    char *paths[] = {(char *)(uintptr_t)path};
    return check(paths, 1);
}

static void outcome_fini(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->problems);
}

struct folder {
    char path[64];
};

static void put(const struct folder *folder, const char *name, const char *text)
{
    pd_autofree char *path = pd_asprintf("%s/%s", folder->path, name);
    struct pd_err err;

    if (pd_file_write_atomic(path, text, strlen(text), 0600, &err) < 0)
        fail_msg("%s", err.msg);
}

static int set_up(void **state)
{
    struct folder *folder = PD_NEW(struct folder);

    unsetenv("SANDBOX_PROVIDER");
    strcpy(folder->path, "/tmp/paddock-check-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    *state = folder;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"a.yaml", "b.yaml",  "c.json",
                                        "d.txt",  "e/f.yml", ".g.yaml"};
    struct folder *folder = *state;

    for (size_t i = 0; i < PD_COUNT(names); i++) {
        pd_autofree char *path = pd_asprintf("%s/%s", folder->path, names[i]);
        unlink(path);
    }
    pd_autofree char *below = pd_asprintf("%s/e", folder->path);
    rmdir(below);
    rmdir(folder->path);
    free(folder);
    return 0;
}

/* Comments aside, which name the file. */
static void assert_same(char *a, char *b)
{
    char *rest_a, *rest_b;
    char *line_a = strtok_r(a, "\n", &rest_a), *line_b = strtok_r(b, "\n", &rest_b);

    for (; line_a && line_b;
         line_a = strtok_r(NULL, "\n", &rest_a), line_b = strtok_r(NULL, "\n", &rest_b)) {
        if (*line_a != '#' || *line_b != '#')
            assert_string_equal(line_a, line_b);
    }
    assert_null(line_a);
    assert_null(line_b);
}

static void every_shipped_file_is_right_and_parses_back_to_itself(void **state)
{
    static const char *const shipped[] = {
        "conf", "conf/default.yaml", "conf/pools.d/node.yaml", "conf/languages.yaml",
        "crds", "api/schemas"};

    for (size_t i = 0; i < PD_COUNT(shipped); i++) {
        pd_autofree char *path = pd_asprintf("%s/%s", PD_SOURCE_DIR, shipped[i]);
        pd_autofree char *again_path = pd_asprintf("%s/a.yaml", ((struct folder *)*state)->path);
        struct outcome first = check_one(path), again;
        if (first.n_problems)
            fail_msg("%s", first.problems);
        assert_true(strlen(first.out) > 0);
        put(*state, "a.yaml", first.out);
        again = check_one(again_path);
        if (again.n_problems)
            fail_msg("%s", again.problems);
        assert_same(first.out, again.out);
        outcome_fini(&first);
        outcome_fini(&again);
    }
}

static void problems_say_file_line_and_path(void **state)
{
    const struct folder *folder = *state;
    pd_autofree char *path = pd_asprintf("%s/a.yaml", folder->path);
    pd_autofree char *wanted = NULL;
    struct outcome outcome;

    put(folder, "a.yaml",
        "sandbox:\n  min_size: 4\n  max_size: 3\n  default_image: x\n---\n"
        "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: p}\n"
        "spec:\n  image: y\n  languages: [python, cobol]\n---\nlanguages:\n- {name: z}\n---\n"
        "what: 1\n---\n");
    outcome = check_one(path);
    wanted = pd_asprintf(
        "%s:2: sandbox.min_size: must be <= sandbox.max_size (3), got 4\n"
        "%s:11: spec.languages[1]: cobol is not in the catalogue of languages\n"
        "%s:14: languages[0].file: is required\n"
        "%s:14: languages[0].run: is required\n"
        "%s:16: neither a SandboxPool, nor its short form (sandbox:), nor a catalogue of languages "
        "(languages:)\n"
        "%s:18: nothing is declared here\n",
        path, path, path, path, path, path);
    assert_string_equal(outcome.problems, wanted);
    assert_int_equal(outcome.n_problems, 6);
    assert_string_equal(outcome.out, "");
    outcome_fini(&outcome);
}

static void what_cannot_be_read_is_a_problem(void **state)
{
    const struct folder *folder = *state;
    pd_autofree char *path = pd_asprintf("%s/a.yaml", folder->path);
    pd_autofree char *json_path = pd_asprintf("%s/c.json", folder->path);
    char *paths[] = {path, json_path, "/nonexistent/x.yaml", ""};
    pd_autofree char *wanted = NULL;
    struct outcome outcome;

    put(folder, "a.yaml", "a: 1\nb: [\n");
    put(folder, "c.json", "{\"sandbox\": {,}}");
    outcome = check(paths, PD_COUNT(paths));
    wanted = pd_asprintf(
        "%s:3: while parsing a flow node: did not find expected node content\n"
        "%s: line 1, column 14: string or '}' expected near ','\n"
        "/nonexistent/x.yaml: No such file or directory\n: No such file or directory\n",
        path, json_path);
    assert_string_equal(outcome.problems, wanted);
    assert_int_equal(outcome.n_problems, 4);
    outcome_fini(&outcome);
}

static void folders_are_read_in_order_and_in_depth(void **state)
{
    const struct folder *folder = *state;
    pd_autofree char *below = pd_asprintf("%s/e", folder->path);
    struct outcome outcome;

    mkdir(below, 0700);
    put(folder, "b.yaml", "sandbox: {default_image: b}\n");
    put(folder, "d.txt", "not: looked at");
    put(folder, ".g.yaml", "not: looked at");
    put(folder, "e/f.yml",
        "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: f}\nspec: {image: f}\n");
    outcome = check_one(folder->path);
    assert_string_equal(outcome.problems, "");
    assert_non_null(strstr(outcome.out, "image: b\n"));
    assert_true(strstr(outcome.out, "image: f\n") > strstr(outcome.out, "image: b\n"));
    outcome_fini(&outcome);
}

static void a_pool_is_declared_once(void **state)
{
    const struct folder *folder = *state;
    pd_autofree char *wanted =
        pd_asprintf("%s/b.yaml:1: metadata.name: pool default is declared already, in %s/a.yaml\n",
                    folder->path, folder->path);
    struct outcome outcome;

    put(folder, "a.yaml", "sandbox: {default_image: a}\n");
    put(folder, "b.yaml", "sandbox: {default_image: b}\n");
    outcome = check_one(folder->path);
    assert_string_equal(outcome.problems, wanted);
    outcome_fini(&outcome);
}

static void a_catalogue_given_along_is_what_pools_are_held_against(void **state)
{
    const struct folder *folder = *state;
    struct outcome outcome;

    put(folder, "a.yaml",
        "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: f}\n"
        "spec: {image: f, languages: [cobol]}\n");
    put(folder, "b.yaml", "languages:\n- {name: cobol, file: main.cob, run: [cobc]}\n");
    outcome = check_one(folder->path);
    assert_string_equal(outcome.problems, "");
    outcome_fini(&outcome);
}

static void the_environment_names_the_provider(void **state)
{
    const struct folder *folder = *state;
    struct outcome outcome;

    put(folder, "a.yaml", "sandbox: {default_image: a}\n");
    setenv("SANDBOX_PROVIDER", "ecs", 1);
    outcome = check_one(folder->path);
    assert_non_null(strstr(outcome.out, "provider: ecs\n"));
    assert_non_null(strstr(outcome.out, "isolation: uid\n"));
    outcome_fini(&outcome);
    setenv("SANDBOX_PROVIDER", "moon", 1);
    outcome = check_one(folder->path);
    assert_string_equal(outcome.problems,
                        "paddock: SANDBOX_PROVIDER must be docker or ecs, got \"moon\"\n");
    outcome_fini(&outcome);
    unsetenv("SANDBOX_PROVIDER");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_shipped_file_is_right_and_parses_back_to_itself,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(problems_say_file_line_and_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_a_problem, set_up, tear_down),
        cmocka_unit_test_setup_teardown(folders_are_read_in_order_and_in_depth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pool_is_declared_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_catalogue_given_along_is_what_pools_are_held_against,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_environment_names_the_provider, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
