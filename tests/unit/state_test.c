#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/state.h"
#include "common/mem.h"

/* A temporary folder for each test; *state is a path in it that does not exist. */
struct place {
    char root[32];
    char dir[64];
};

static int set_up(void **state)
{
    struct place *place = PD_NEW(struct place);

    strcpy(place->root, "/tmp/pd-state-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(place->dir, sizeof place->dir, "%s/deep/state", place->root);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    pd_autofree char *command = pd_asprintf("rm -rf %s", place->root);

    assert_int_equal(system(command), 0);
    free(place);
    return 0;
}

static void test_makes_a_private_folder(void **state)
{
    struct place *place = *state;
    struct pd_state opened;
    struct pd_err err;
    struct stat st;

    assert_int_equal(pd_state_open(place->dir, &opened, &err), 0);
    assert_int_equal(stat(place->dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(strlen(opened.instance), PD_INSTANCE_BYTES - 1);
    assert_int_equal(strspn(opened.instance, "0123456789abcdef"), PD_INSTANCE_BYTES - 1);
    pd_state_close(&opened);
    pd_state_close(&opened);
}

static void test_instance_lasts(void **state)
{
    struct place *place = *state;
    struct pd_state first, second;
    char instance[PD_INSTANCE_BYTES];
    struct pd_err err;

    assert_int_equal(pd_state_open(place->dir, &first, &err), 0);
    memcpy(instance, first.instance, sizeof instance);
    pd_state_close(&first);
    assert_int_equal(pd_state_open(place->dir, &second, &err), 0);
    assert_string_equal(instance, second.instance);
    pd_state_close(&second);
}

static void test_instances_differ(void **state)
{
    struct place *place = *state;
    pd_autofree char *other = pd_asprintf("%s/other", place->root);
    struct pd_state first, second;
    struct pd_err err;

    assert_int_equal(pd_state_open(place->dir, &first, &err), 0);
    assert_int_equal(pd_state_open(other, &second, &err), 0);
    assert_string_not_equal(first.instance, second.instance);
    pd_state_close(&first);
    pd_state_close(&second);
}

static void test_second_holder_is_refused(void **state)
{
    struct place *place = *state;
    struct pd_state first, second;
    struct pd_err err;
    char pid[24];

    assert_int_equal(pd_state_open(place->dir, &first, &err), 0);
    assert_int_equal(pd_state_open(place->dir, &second, &err), PD_CONFLICT);
    snprintf(pid, sizeof pid, "process %ld)", (long)getpid());
    assert_non_null(strstr(err.msg, pid));
    assert_non_null(strstr(err.msg, place->dir));
    pd_state_close(&first);
    assert_int_equal(pd_state_open(place->dir, &second, &err), 0);
    pd_state_close(&second);
}

/* A holder that was killed leaves no lock behind. */
static void test_lock_dies_with_its_process(void **state)
{
    struct place *place = *state;
    struct pd_state mine;
    struct pd_err err;
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (pd_state_open(place->dir, &mine, NULL) < 0)
            _exit(1);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(pd_state_open(place->dir, &mine, &err), 0);
    pd_state_close(&mine);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    pd_autofree char *path = pd_asprintf("%s/%s", dir, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_broken_instance_is_not_guessed(void **state)
{
    struct place *place = *state;
    struct pd_state opened;
    struct pd_err err;
    static const char *const broken[] = {"", "abc\n", "0123456789abcdeg\n", "ABCDEF0123456789\n"};

    assert_int_equal(pd_state_prepare(place->dir, &err), 0);
    for (size_t i = 0; i < PD_COUNT(broken); i++) {
        write_text(place->dir, "instance", broken[i]);
        assert_int_equal(pd_state_open(place->dir, &opened, &err), PD_INVALID);
        assert_non_null(strstr(err.msg, "instance"));
    }
}

static void test_folder_that_others_may_write_is_refused(void **state)
{
    struct place *place = *state;
    struct pd_err err;
    struct stat st;

    assert_int_equal(pd_state_prepare(place->dir, &err), 0);
    assert_int_equal(chmod(place->dir, 0770), 0);
    assert_int_equal(pd_state_prepare(place->dir, &err), PD_DENIED);
    assert_int_equal(chmod(place->dir, 0755), 0);
    assert_int_equal(pd_state_prepare(place->dir, &err), 0);
    assert_int_equal(stat(place->dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void test_file_in_the_way(void **state)
{
    struct place *place = *state;
    pd_autofree char *inside = pd_asprintf("%s/file/state", place->root);
    pd_autofree char *itself = pd_asprintf("%s/file", place->root);
    struct pd_err err;

    write_text(place->root, "file", "x");
    assert_int_equal(pd_state_prepare(inside, &err), PD_DENIED);
    assert_int_equal(pd_state_prepare(itself, &err), PD_INVALID);
}

static void test_where_it_is(void **state)
{
    pd_autofree char *by_flag = NULL, *by_env = NULL, *by_default = NULL;

    (void)state;
    setenv("PADDOCK_STATE_DIR", "/from/env", 1);
    by_flag = pd_state_dir("/from/flag");
    by_env = pd_state_dir(NULL);
    setenv("PADDOCK_STATE_DIR", "", 1);
    by_default = pd_state_dir(NULL);
    assert_string_equal(by_flag, "/from/flag");
    assert_string_equal(by_env, "/from/env");
    assert_non_null(strstr(by_default, "paddock"));
    unsetenv("PADDOCK_STATE_DIR");
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(test_makes_a_private_folder),
        IN_PLACE(test_instance_lasts),
        IN_PLACE(test_instances_differ),
        IN_PLACE(test_second_holder_is_refused),
        IN_PLACE(test_lock_dies_with_its_process),
        IN_PLACE(test_broken_instance_is_not_guessed),
        IN_PLACE(test_folder_that_others_may_write_is_refused),
        IN_PLACE(test_file_in_the_way),
        cmocka_unit_test(test_where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
