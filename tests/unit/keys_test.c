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
#include "tests/lib/loop_until.h"

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

    pd_autofree char *folder = pd_key_folder(dir);
    unlink(path);
    rmdir(folder);
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
    assert_null(strstr(pd_keys_check(keys, "correct-horse", 13)->record.id, "horse"));
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

/* ---- keys in files ---- */

static struct pd_key_record new_record(const char *dir, char *text, const char *name)
{
    struct pd_key_record record = {.scopes = PD_SCOPE_EXECUTE | PD_SCOPE_READ, .share = 2};
    struct pd_err err = {0};

    pd_strcpy(record.name, sizeof record.name, name);
    record.rate_runs = 3;
    record.rate_seconds = 60;
    record.concurrency = 4;
    pd_keys_make(text, &record);
    if (pd_key_record_write(dir, &record, &err) < 0)
        fail_msg("%s", err.msg);
    return record;
}

static void remove_record(const char *dir, const char *id)
{
    pd_autofree char *path = pd_key_path(dir, id);

    assert_int_equal(unlink(path), 0);
}

struct waiting {
    struct pd_keys *keys;
    const char *text;
    bool wanted;
    bool met;
};

static void look(uv_timer_t *timer)
{
    struct waiting *waiting = timer->data;

    waiting->met = accepts(waiting->keys, waiting->text) == waiting->wanted;
}

static void wait_until(uv_loop_t *loop, struct pd_keys *keys, const char *text, bool accepted)
{
    struct waiting waiting = {.keys = keys, .text = text, .wanted = accepted};
    uv_timer_t timer;

    uv_timer_init(loop, &timer);
    timer.data = &waiting;
    uv_timer_start(&timer, look, 1, 5);
    assert_true(pd_loop_until(loop, &waiting.met, 20000));
    uv_close((uv_handle_t *)&timer, NULL);
    pd_loop_for(loop, 1);
}

static void on_unwatched(void *arg)
{
    *(bool *)arg = true;
}

static void test_keys_come_and_go(void **state)
{
    struct pd_key_record first, second;
    struct pd_keys *keys = NULL;
    const struct pd_key *key;
    char one[PD_KEY_TEXT_MAX + 1];
    char two[PD_KEY_TEXT_MAX + 1];
    bool unwatched = false;
    uv_loop_t loop;

    uv_loop_init(&loop);
    first = new_record(*state, one, "one");
    assert_int_equal(pd_keys_open(*state, NULL, &keys, NULL), 0);
    assert_int_equal(pd_keys_count(keys), 1); /* there is one: none is made */
    pd_keys_watch(keys, &loop);
    key = pd_keys_check(keys, one, strlen(one));
    assert_non_null(key);
    assert_string_equal(key->record.name, "one");
    assert_int_equal(key->record.scopes, PD_SCOPE_EXECUTE | PD_SCOPE_READ);
    assert_int_equal(key->record.concurrency, 4);
    assert_int_equal(key->record.share, 2);
    assert_ptr_equal(pd_keys_find(keys, first.id), key);

    second = new_record(*state, two, "two");
    wait_until(&loop, keys, two, true);
    assert_true(accepts(keys, one));
    remove_record(*state, first.id);
    wait_until(&loop, keys, one, false);
    assert_true(accepts(keys, two));
    assert_null(pd_keys_find(keys, first.id));
    assert_true(key->revoked); /* the record stays, for what is under way */
    assert_int_equal(pd_keys_count(keys), 1);
    remove_record(*state, second.id);
    wait_until(&loop, keys, two, false);

    pd_keys_unwatch(keys, on_unwatched, &unwatched);
    assert_true(pd_loop_until(&loop, &unwatched, 20000));
    pd_keys_free(keys);
    assert_true(pd_loop_finish(&loop, 20000));
}

/* A file that went bad changes nothing for its key, nor for others. */
static void test_bad_file_keeps_the_key(void **state)
{
    struct pd_key_record record;
    struct pd_keys *keys = NULL;
    pd_autofree char *path = NULL;
    char text[PD_KEY_TEXT_MAX + 1];
    FILE *file;

    record = new_record(*state, text, "one");
    assert_int_equal(pd_keys_open(*state, "correct-horse", &keys, NULL), 0);
    assert_int_equal(pd_keys_count(keys), 2);
    path = pd_key_path(*state, record.id);
    file = fopen(path, "we");
    fputs("{\"id\": \"", file);
    fclose(file);
    pd_keys_reload(keys);
    assert_true(accepts(keys, text));
    assert_true(accepts(keys, "correct-horse"));
    unlink(path);
    pd_keys_reload(keys);
    assert_false(accepts(keys, text));
    assert_true(accepts(keys, "correct-horse"));
    pd_keys_free(keys);
}

static void test_parts(void **state)
{
    struct pd_keys *keys = NULL;

    assert_int_equal(pd_keys_open(*state, "correct-horse", &keys, NULL), 0);
    assert_int_equal(pd_keys_replicas(keys), 1);
    assert_int_equal(pd_keys_part(keys, 4), 4);
    pd_keys_divide(keys, 9);
    assert_int_equal(pd_keys_part(keys, 4), 1);
    assert_int_equal(pd_keys_part(keys, 90), 10);
    assert_int_equal(pd_keys_part(keys, 0), 0);
    pd_keys_free(keys);
}

static void test_bad_records(void **state)
{
    static const char hash[] =
        "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    static const struct {
        const char *format;
        const char *said;
    } cases[] = {
        {"[]", "object"},
        {"{", "line 1"},
        {"{\"id\":\"000102030405\",\"name\":\"n\",\"hash\":\"sha256:00\",\"scopes\":[]}", "hash"},
        {"{\"id\":\"000102030406\",\"name\":\"n\",\"hash\":\"%s\",\"scopes\":[]}", "id"},
        {"{\"id\":\"000102030405\",\"hash\":\"%s\",\"scopes\":[]}", "name"},
        {"{\"id\":\"000102030405\",\"name\":\"n\",\"hash\":\"%s\"}", "scopes"},
        {"{\"id\":\"000102030405\",\"name\":\"n\",\"hash\":\"%s\",\"scopes\":[\"root\"]}",
         "scopes[0]"},
        {"{\"id\":\"000102030405\",\"name\":\"n\",\"hash\":\"%s\",\"scopes\":[],\"share\":0}",
         "share"},
        {"{\"id\":\"000102030405\",\"name\":\"n\",\"hash\":\"%s\",\"scopes\":[],"
         "\"rate\":{\"runs\":1}}",
         "rate"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        const char *at = strstr(cases[i].format, "%s");
        pd_autofree char *text =
            at ? pd_asprintf("%.*s%s%s", (int)(at - cases[i].format), cases[i].format, hash, at + 2)
               : pd_strdup(cases[i].format);
        struct pd_key_record record;
        struct pd_err err;
        assert_int_equal(pd_key_record_parse(text, strlen(text), &record, &err), PD_INVALID);
        if (!strstr(err.msg, cases[i].said))
            fail_msg("%s: %s", text, err.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_key_of_the_environment, dir_new, dir_free),
        cmocka_unit_test_setup_teardown(test_key_is_made_once, dir_new, dir_free),
        cmocka_unit_test_setup_teardown(test_first_starts_at_once, dir_new, dir_free),
        cmocka_unit_test_setup_teardown(test_bad_files, dir_new, dir_free),
        cmocka_unit_test_setup_teardown(test_keys_come_and_go, dir_new, dir_free),
        cmocka_unit_test_setup_teardown(test_bad_file_keeps_the_key, dir_new, dir_free),
        cmocka_unit_test_setup_teardown(test_parts, dir_new, dir_free),
        cmocka_unit_test(test_bad_records),
    };

    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
