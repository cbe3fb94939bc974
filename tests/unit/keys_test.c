#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/keys.h"
#include "common/mem.h"

static int dir_new(void **state)
{
    char *dir = pd_strdup("/tmp/paddock-keys-XXXXXX");

    assert_non_null(mkdtemp(dir));
    *state = dir;
    return 0;
}

static int dir_free(void **state)
{
    pd_autofree char *dir = *state;
    pd_autofree char *path = pd_asprintf("%s/key", dir);

    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* nothing else is left in it */
    return 0;
}

static bool accepts(const struct pd_keys *keys, const char *text)
{
    return pd_keys_check(keys, text, strlen(text)) != NULL;
}

static void test_key_of_the_environment(void **state)
{
    struct pd_keys *keys = NULL;
    struct pd_err err;

    assert_int_equal(pd_keys_open(*state, "correct horse", &keys, &err), PD_INVALID);
    assert_int_equal(pd_keys_open(*state, "correct-horse", &keys, &err), 0);
    assert_int_equal(pd_keys_count(keys), 1);
    assert_true(accepts(keys, "correct-horse"));
    assert_false(accepts(keys, "correct-hors"));
    assert_false(accepts(keys, "correct-horsf"));
    assert_false(accepts(keys, "correct-horse "));
    assert_false(accepts(keys, "correct-horse-battery"));
    assert_false(accepts(keys, ""));
    assert_null(pd_keys_check(keys, "correct-horse\0x", 15));
    assert_null(strstr(pd_keys_check(keys, "correct-horse", 13), "horse"));
    pd_keys_free(keys);
}

static void test_key_is_made_once(void **state)
{
    pd_autofree char *path = pd_asprintf("%s/key", (char *)*state);
    char text[PD_KEY_TEXT_MAX + 1];
    char again[PD_KEY_TEXT_MAX + 1];
    struct pd_keys *keys = NULL;
    struct pd_err err = {.msg = ""};
    struct stat info;

    assert_int_equal(pd_keys_open(*state, NULL, &keys, &err), 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(pd_keys_load(*state, text, &err), 0);
    assert_true(strlen(text) >= 40);
    assert_true(accepts(keys, text));
    pd_keys_free(keys);
    assert_int_equal(pd_keys_open(*state, "", &keys, &err), 0);
    assert_true(accepts(keys, text));
    pd_keys_free(keys);
    assert_int_equal(pd_keys_load(*state, again, &err), 0);
    assert_string_equal(text, again);
}

/* Several first starts at once must all end with the same key. */
static void test_first_starts_at_once(void **state)
{
    enum { MANY = 8 };
    char text[MANY][PD_KEY_TEXT_MAX + 1];
    int fds[MANY][2];

    for (int i = 0; i < MANY; i++) {
        assert_int_equal(pipe(fds[i]), 0);
        if (fork() == 0) {
            char mine[PD_KEY_TEXT_MAX + 1] = "";
            pd_keys_load(*state, mine, NULL);
            _exit(write(fds[i][1], mine, sizeof mine) == (ssize_t)sizeof mine ? 0 : 1);
        }
    }
    for (int i = 0; i < MANY; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(read(fds[i][0], text[i], sizeof text[i]), (int)sizeof text[i]);
        assert_true(*text[i]);
        assert_string_equal(text[i], text[0]);
        close(fds[i][0]);
        close(fds[i][1]);
    }
}

static void test_bad_files(void **state)
{
    static const char *const texts[] = {"", "short", "has a space in it", "tab\there-and-there",
                                        "\n\n\nlater-than-the-first-line"};
    pd_autofree char *path = pd_asprintf("%s/key", (char *)*state);
    char text[PD_KEY_TEXT_MAX + 1];
    struct pd_err err;

    for (size_t i = 0; i < PD_COUNT(texts); i++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, texts[i], strlen(texts[i])), (int)strlen(texts[i]));
        close(fd);
        assert_int_equal(pd_keys_load(*state, text, &err), PD_INVALID);
        assert_non_null(strstr(err.msg, path));
        unlink(path);
    }
    assert_int_equal(symlink("/etc/hostname", path), 0);
    assert_true(pd_keys_load(*state, text, &err) < 0);
    assert_int_equal(pd_keys_load("/nonexistent", text, &err), PD_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_key_of_the_environment, dir_new, dir_free),
        cmocka_unit_test_setup_teardown(test_key_is_made_once, dir_new, dir_free),
        cmocka_unit_test_setup_teardown(test_first_starts_at_once, dir_new, dir_free),
        cmocka_unit_test_setup_teardown(test_bad_files, dir_new, dir_free),
    };

    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
