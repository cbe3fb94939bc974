#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/file.h"
#include "common/mem.h"

struct folder {
    char path[64];
    char file[128];
    char link[128];
};

static int set_up(void **state)
{
    struct folder *folder = PD_NEW(struct folder);

    strcpy(folder->path, "/tmp/paddock-file-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->file, sizeof folder->file, "%s/x", folder->path);
    snprintf(folder->link, sizeof folder->link, "%s/l", folder->path);
    *state = folder;
    return 0;
}

static int tear_down(void **state)
{
    struct folder *folder = *state;

    unlink(folder->file);
    unlink(folder->link);
    assert_int_equal(rmdir(folder->path), 0); /* nothing else is left there */
    free(folder);
    return 0;
}

static void what_was_written_is_read(void **state)
{
    const struct folder *folder = *state;
    char *data = pd_calloc(1, 300000);
    pd_autofree char *text = NULL;
    struct stat st;
    size_t len;

    memset(data, 'x', 300000);
    data[7] = '\0';
    assert_int_equal(pd_file_write_atomic(folder->file, data, 300000, 0640, NULL), 0);
    assert_int_equal(pd_file_read(folder->file, 300000, &text, &len, NULL), 0);
    assert_int_equal(len, 300000);
    assert_memory_equal(text, data, len);
    assert_int_equal(text[len], '\0');
    assert_int_equal(stat(folder->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    free(data);
}

static void an_empty_file_is_an_empty_text(void **state)
{
    const struct folder *folder = *state;
    pd_autofree char *text = NULL;
    size_t len = 9;

    assert_int_equal(pd_file_write_atomic(folder->file, "", 0, 0600, NULL), 0);
    assert_int_equal(pd_file_read(folder->file, 0, &text, &len, NULL), 0);
    assert_int_equal(len, 0);
    assert_string_equal(text, "");
}

static void reads_are_bounded(void **state)
{
    const struct folder *folder = *state;
    char *text = NULL;
    struct pd_err err;
    size_t len;

    assert_int_equal(pd_file_write_atomic(folder->file, "1234", 4, 0600, NULL), 0);
    assert_int_equal(pd_file_read(folder->file, 3, &text, &len, &err), PD_LIMIT);
    assert_non_null(strstr(err.msg, "more than 3 bytes"));
    assert_int_equal(pd_file_read("/dev/zero", 100000, &text, &len, &err), PD_LIMIT);
    assert_null(text);
}

static void errors_say_which_file_and_why(void **state)
{
    const struct folder *folder = *state;
    char *text = NULL;
    struct pd_err err;
    size_t len;

    assert_int_equal(pd_file_read("/nonexistent/a", 9, &text, &len, &err), PD_NOT_FOUND);
    assert_string_equal(err.msg, "/nonexistent/a: No such file or directory");
    assert_int_equal(pd_file_read(folder->path, 9, &text, &len, &err), PD_INVALID);
    assert_int_equal(pd_file_write_atomic("/nonexistent/a", "", 0, 0600, &err), PD_NOT_FOUND);
    assert_true(pd_file_write_atomic(folder->path, "", 0, 0600, &err) < 0);
}

static void a_write_replaces_what_was_there_whole(void **state)
{
    const struct folder *folder = *state;
    pd_autofree char *target = NULL, *now = NULL;
    size_t len;

    assert_int_equal(pd_file_write_atomic(folder->file, "target", 6, 0600, NULL), 0);
    assert_int_equal(symlink(folder->file, folder->link), 0);
    assert_int_equal(pd_file_write_atomic(folder->link, "new", 3, 0600, NULL), 0);
    assert_int_equal(pd_file_read(folder->file, 99, &target, &len, NULL), 0);
    assert_string_equal(target, "target"); /* the link was not followed */
    assert_int_equal(pd_file_read(folder->link, 99, &now, &len, NULL), 0);
    assert_string_equal(now, "new");
}

/* Whatever stands in the way of the new content. */
static void a_failed_write_leaves_the_old_content(void **state)
{
    const struct folder *folder = *state;
    pd_autofree char *text = NULL, *beside = NULL;
    size_t len;

    assert_int_equal(pd_file_write_atomic(folder->file, "old", 3, 0600, NULL), 0);
    beside = pd_asprintf("%s.%d.new", folder->file, (int)getpid());
    assert_int_equal(mkdir(beside, 0700), 0); /* stands where the new content would go */
    assert_true(pd_file_write_atomic(folder->file, "new", 3, 0600, NULL) < 0);
    assert_int_equal(rmdir(beside), 0);
    assert_int_equal(pd_file_read(folder->file, 99, &text, &len, NULL), 0);
    assert_string_equal(text, "old");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_file_is_an_empty_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_say_which_file_and_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_write_replaces_what_was_there_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_write_leaves_the_old_content, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
