#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/mirror_message.h"
#include "common/mem.h"

#define NAME "0123456789abcdef0123456789abcdef"

static void test_every_word_comes_back(void **state)
{
    (void)state;
    for (int word = 0; word < PD_MIRROR_WORDS; word++) {
        struct pd_mirror_message sent = {.word = (enum pd_mirror_word)word,
                                         .ask = 17,
                                         .from = NAME,
                                         .run = "run_1a-B",
                                         .key = "4b533d593c33",
                                         .number = 999999999999999999u,
                                         .born = 3,
                                         .done = true};
        struct pd_mirror_message heard;
        char text[PD_MIRROR_HEAD_BYTES_MAX];
        struct pd_err err;
        pd_mirror_message_format(&sent, text);
        assert_int_equal(pd_mirror_message_parse(text, strlen(text), &heard, &err), 0);
        assert_int_equal(heard.word, word);
        assert_int_equal(heard.ask, 17);
        assert_string_equal(heard.from, NAME);
        if (*heard.run)
            assert_string_equal(heard.run, sent.run);
        if (*heard.key)
            assert_string_equal(heard.key, sent.key);
        if (heard.born) {
            assert_int_equal(heard.born, 3);
            assert_true(heard.done);
        }
        assert_true(heard.number == 0 || heard.number == sent.number);
        /* One that is cut short is none, or says less: never more. */
        for (size_t len = 0; len < strlen(text); len++) {
            if (pd_mirror_message_parse(text, len, &heard, &err) == 0)
                assert_true(heard.number <= sent.number && heard.ask <= 17);
            else
                assert_int_equal(err.kind, PD_INVALID);
        }
    }
}

static void test_what_they_say(void **state)
{
    static const struct {
        const char *what, *text;
        int word; /* -1: it is no message */
    } cases[] = {
        {"who has it", "where " NAME " 1 run_1", PD_MIRROR_WHERE},
        {"nothing after the run", "where " NAME " 1 run_1 more", -1},
        {"no run", "where " NAME " 1", -1},
        {"a run of other letters", "where " NAME " 1 run/1", -1},
        {"anybody's", "cancel " NAME " 1 run_1 *", PD_MIRROR_CANCEL},
        {"anybody's, and more", "cancel " NAME " 1 run_1 **", -1},
        {"no key", "cancel " NAME " 1 run_1 ", -1},
        {"here", "here " NAME " 1 5 0 9 key", PD_MIRROR_HERE},
        {"done is yes or no", "here " NAME " 1 5 2 9 key", -1},
        {"a number that is none", "here " NAME " 1 5 0 x9 key", -1},
        {"a negative one", "more " NAME " 1 -1", -1},
        {"one that is too long", "more " NAME " 1 1234567890123456789", -1},
        {"two spaces", "more  " NAME " 1 1", -1},
        {"a space at the end", "stop " NAME " 1 ", -1},
        {"events", "events " NAME " 1\n", PD_MIRROR_EVENTS},
        {"events without a payload", "events " NAME " 1", -1},
        {"a payload that may not be", "stop " NAME " 1\nx", -1},
        {"no word", "", -1},
        {"an unknown word", "hello " NAME " 1", -1},
        {"a name that is too long", "stop " NAME "0 1", -1},
        {"a line without an end", NULL, -1},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_mirror_message message;
        char endless[2 * PD_MIRROR_HEAD_BYTES_MAX];
        const char *text = cases[i].text;
        struct pd_err err;
        int rc;
        if (!text) {
            memset(endless, 'a', sizeof endless);
            endless[sizeof endless - 1] = '\0';
            text = endless;
        }
        rc = pd_mirror_message_parse(text, strlen(text), &message, &err);
        if (rc != (cases[i].word < 0 ? PD_INVALID : 0) ||
            (rc == 0 && (int)message.word != cases[i].word))
            fail_msg("%s: %d", cases[i].what, rc);
    }
}

static void test_what_can_be_a_run(void **state)
{
    char longest[PD_MIRROR_RUN_BYTES + 1];

    (void)state;
    memset(longest, 'r', sizeof longest);
    longest[PD_MIRROR_RUN_BYTES] = '\0';
    assert_false(pd_mirror_is_run(longest));
    longest[PD_MIRROR_RUN_BYTES - 1] = '\0';
    assert_true(pd_mirror_is_run(longest));
    assert_false(pd_mirror_is_run(""));
    assert_false(pd_mirror_is_run("run 1"));
    assert_false(pd_mirror_is_run("run\n1"));
    assert_false(pd_mirror_is_run("*"));
}

static void test_events_line_by_line(void **state)
{
    static const char text[] = "5 {\"a\":1}\n0 {}\n7 cut";
    const char *at = text, *json;
    size_t len = strlen(text), json_len, bytes;
    struct pd_err err;

    (void)state;
    assert_int_equal(pd_mirror_next_event(&at, &len, &json, &json_len, &bytes, &err), 1);
    assert_int_equal(bytes, 5);
    assert_memory_equal(json, "{\"a\":1}", json_len);
    assert_int_equal(json_len, 7);
    assert_int_equal(pd_mirror_next_event(&at, &len, &json, &json_len, &bytes, &err), 1);
    assert_int_equal(bytes, 0);
    assert_int_equal(json_len, 2);
    /* The rest is not whole, and stays. */
    assert_int_equal(pd_mirror_next_event(&at, &len, &json, &json_len, &bytes, &err), PD_INVALID);
    assert_int_equal(len, 5);
    len = 0;
    assert_int_equal(pd_mirror_next_event(&at, &len, &json, &json_len, &bytes, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_word_comes_back),
        cmocka_unit_test(test_what_they_say),
        cmocka_unit_test(test_what_can_be_a_run),
        cmocka_unit_test(test_events_line_by_line),
    };

    return cmocka_run_group_tests_name("mirror_message", tests, NULL, NULL);
}
