#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/journal.h"
#include "api/textstream.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/node.h"

static void add(struct pd_journal *journal, enum pd_entry_type type, const char *members,
                size_t output_bytes)
{
    pd_journal_add(journal, type, 1500000, members, strlen(members), output_bytes);
}

static void test_what_an_entry_says(void **state)
{
    struct pd_journal journal;
    struct pd_node *node = NULL;

    (void)state;
    pd_journal_init(&journal);
    assert_null(pd_journal_at(&journal, 1));
    add(&journal, PD_ENTRY_STARTED, "", 0);
    add(&journal, PD_ENTRY_STDOUT, "\"data\":\"x\"", 1);
    assert_string_equal(journal.events[0]->json,
                        "{\"type\":\"started\",\"seq\":1,\"time\":1.500000}");
    assert_string_equal(journal.events[1]->json,
                        "{\"type\":\"stdout\",\"seq\":2,\"time\":1.500000,\"data\":\"x\"}");
    assert_int_equal(pd_json_parse(journal.events[1]->json, journal.events[1]->len, &node, NULL),
                     0);
    pd_node_free(node);
    assert_ptr_equal(pd_journal_at(&journal, 2), journal.events[1]);
    assert_null(pd_journal_at(&journal, 3));
    pd_journal_fini(&journal);
}

/* Whatever is trimmed, numbers stay contiguous and no byte goes uncounted. */
static void check(const struct pd_journal *journal, uint64_t last, size_t output_bytes)
{
    uint64_t next = 1;
    size_t bytes = 0;

    for (size_t i = 0; i < journal->count; i++) {
        const struct pd_entry *entry = journal->events[i];
        assert_int_equal(entry->from_seq, next);
        assert_true(entry->seq >= entry->from_seq);
        bytes += entry->output_bytes;
        next = entry->seq + 1;
    }
    assert_int_equal(next, last + 1);
    assert_int_equal(bytes, output_bytes);
    for (uint64_t seq = 1; seq <= last; seq++) {
        const struct pd_entry *entry = pd_journal_at(journal, seq);
        assert_true(entry && entry->from_seq <= seq && seq <= entry->seq);
    }
}

static void fill(struct pd_journal *journal)
{
    pd_journal_init(journal);
    add(journal, PD_ENTRY_ACCEPTED, "", 0);
    for (int i = 0; i < 50; i++)
        add(journal, i % 3 ? PD_ENTRY_STDOUT : PD_ENTRY_STDERR, "\"data\":\"0123456789\"", 10);
    add(journal, PD_ENTRY_STAGE, "", 0);
    for (int i = 0; i < 50; i++)
        add(journal, PD_ENTRY_STDOUT, "\"data\":\"0123456789\"", 10);
    add(journal, PD_ENTRY_ARTIFACT, "\"path\":\"a\"", 0);
    add(journal, PD_ENTRY_EXIT, "", 0);
}

static void test_trimming(void **state)
{
    struct pd_journal journal;

    (void)state;
    for (size_t step = 0; step < 3; step++) {
        fill(&journal);
        check(&journal, 104, 1000);
        size_t all = journal.output_bytes;
        for (size_t left = all; left > 0;
             left -= left < 300 * (step + 1) ? left : 300 * (step + 1)) {
            pd_journal_trim(&journal, left, UINT64_MAX, false);
            assert_true(journal.output_bytes <= left);
            check(&journal, 104, 1000);
        }
        pd_journal_trim(&journal, 0, UINT64_MAX, false);
        check(&journal, 104, 1000);
        assert_int_equal(journal.output_bytes, 0);
        /* accepted, gap, stage, gap, artifact, exit */
        assert_int_equal(journal.count, 6);
        assert_non_null(
            strstr(journal.events[1]->json, "\"from_seq\":2,\"to_seq\":51,\"bytes\":500"));
        pd_journal_trim(&journal, 0, UINT64_MAX, true);
        assert_int_equal(journal.count, 5); /* the artifact joined the gap before it */
        check(&journal, 104, 1000);
        pd_journal_fini(&journal);
        assert_int_equal(journal.bytes, 0);
    }
}

static void test_what_the_owner_still_wants_stays(void **state)
{
    struct pd_journal journal;

    (void)state;
    fill(&journal);
    pd_journal_trim(&journal, 0, 21, false);
    check(&journal, 104, 1000);
    assert_int_equal(pd_journal_at(&journal, 20)->type, PD_ENTRY_DROPPED);
    assert_int_equal(pd_journal_at(&journal, 21)->type, PD_ENTRY_STDOUT);
    pd_journal_fini(&journal);
}

static void test_an_entry_outlives_its_trimming(void **state)
{
    struct pd_journal journal;
    struct pd_entry *entry;

    (void)state;
    fill(&journal);
    entry = pd_journal_at(&journal, 2);
    pd_entry_ref(entry);
    pd_journal_trim(&journal, 0, UINT64_MAX, true);
    pd_journal_fini(&journal);
    assert_non_null(strstr(entry->json, "0123456789"));
    pd_entry_unref(entry);
}

/* ---- text ---- */

/* Cut a text into two pieces everywhere: never within a character, all of it arrives. */
/* What was written down and is read again is the same journal; what was not is a gap. */
static void test_recalled(void **state)
{
    static const char later[] = "{\"type\":\"exit\",\"seq\":9,\"time\":1}";
    struct pd_journal journal, again;

    (void)state;
    fill(&journal);
    pd_journal_trim(&journal, 1000, UINT64_MAX, false);
    pd_journal_init(&again);
    for (size_t i = 0; i < journal.count; i++)
        assert_int_equal(
            pd_journal_recall(&again, journal.events[i]->json, journal.events[i]->len, NULL), 0);
    assert_int_equal(again.count, journal.count);
    assert_int_equal(again.last_seq, journal.last_seq);
    for (size_t i = 0; i < journal.count; i++) {
        const struct pd_entry *was = journal.events[i], *is = again.events[i];
        assert_string_equal(is->json, was->json);
        assert_true(is->type == was->type && is->seq == was->seq && is->from_seq == was->from_seq);
        if (was->type == PD_ENTRY_DROPPED)
            assert_int_equal(is->output_bytes, was->output_bytes);
    }
    pd_journal_fini(&again);
    assert_int_equal(
        pd_journal_recall(&again, journal.events[0]->json, journal.events[0]->len, NULL), 0);
    assert_int_equal(pd_journal_recall(&again, later, sizeof later - 1, NULL), 0);
    assert_string_equal(again.events[1]->json,
                        "{\"type\":\"dropped\",\"seq\":8,\"time\":0.000000,"
                        "\"from_seq\":2,\"to_seq\":8,\"bytes\":0}");
    check(&again, 9, 0);
    pd_journal_fini(&again);
    pd_journal_fini(&journal);
}

static void test_what_is_no_event_is_not_recalled(void **state)
{
    static const char *const texts[] = {
        "",
        "{}",
        "x",
        "{\"type\":\"stdout\",\"seq\":",
        "{\"type\":\"stdout\",\"seq\":0,\"time\":1}",
        "{\"type\":\"stdout\",\"seq\":1,\"time\":1}",
        "{\"type\":\"stdout\",\"seq\":-3,\"time\":1}",
        "{\"type\":\"stdout\",\"seq\":99999999999999999999,\"time\":1}",
        "{\"type\":\"stdin\",\"seq\":3,\"time\":1}",
        "{\"type\":\"stdout\",\"seq\":3,\"time\":1",
        "{\"type\":\"dropped\",\"seq\":3,\"time\":1}",
        "{\"type\":\"dropped\",\"seq\":3,\"time\":1,\"from_seq\":4,\"to_seq\":3,\"bytes\":1}",
        "{\"type\":\"dropped\",\"seq\":3,\"time\":1,\"from_seq\":1,\"to_seq\":3,\"bytes\":1}",
    };
    struct pd_journal journal;
    struct pd_err err;

    (void)state;
    pd_journal_init(&journal);
    add(&journal, PD_ENTRY_ACCEPTED, "", 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(pd_journal_recall(&journal, texts[i], strlen(texts[i]), &err), PD_INVALID);
    check(&journal, 1, 0);
    pd_journal_fini(&journal);
}

static int follow(struct pd_journal *journal, const char *json, size_t bytes)
{
    struct pd_err err;

    return pd_journal_follow(journal, json, strlen(json), bytes, &err);
}

/* As another journal has it, message by message: twice, with a hole, in another cut. */
static void test_followed(void **state)
{
    struct pd_journal journal;

    (void)state;
    pd_journal_init(&journal);
    assert_int_equal(follow(&journal, "{\"type\":\"accepted\",\"seq\":1,\"time\":0.0}", 0), 0);
    assert_int_equal(follow(&journal, "{\"type\":\"stdout\",\"seq\":3,\"time\":0.1}", 4),
                     PD_CONFLICT);
    assert_int_equal(journal.last_seq, 1);
    assert_int_equal(follow(&journal, "{\"type\":\"stdout\",\"seq\":2,\"time\":0.1}", 4), 0);
    assert_int_equal(follow(&journal, "{\"type\":\"stdout\",\"seq\":2,\"time\":0.1}", 4), 0);
    assert_int_equal(follow(&journal, "{\"type\":\"stdout\",\"seq\":0,\"time\":0.1}", 4),
                     PD_INVALID);
    assert_int_equal(follow(&journal, "no event", 4), PD_INVALID);
    check(&journal, 2, 4);
    /* There it was trimmed meanwhile; what is here stays. */
    assert_int_equal(follow(&journal,
                            "{\"type\":\"dropped\",\"seq\":5,\"time\":0,\"from_seq\":2,"
                            "\"to_seq\":5,\"bytes\":16}",
                            16),
                     0);
    check(&journal, 5, 16);
    assert_int_equal(journal.events[1]->type, PD_ENTRY_STDOUT);
    assert_int_equal(journal.events[2]->type, PD_ENTRY_DROPPED);
    assert_int_equal(journal.events[2]->from_seq, 3);
    assert_int_equal(follow(&journal,
                            "{\"type\":\"dropped\",\"seq\":8,\"time\":0,\"from_seq\":7,"
                            "\"to_seq\":8,\"bytes\":1}",
                            1),
                     PD_CONFLICT);
    assert_int_equal(follow(&journal, "{\"type\":\"exit\",\"seq\":6,\"time\":0.2}", 0), 0);
    check(&journal, 6, 16);
    pd_journal_fini(&journal);
}

static void test_characters_are_not_split(void **state)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\r\x1b[31mz";

    (void)state;
    for (size_t cut = 0; cut < sizeof text; cut++) {
        struct pd_text_stream stream = {.tail_len = 0};
        struct pd_buf first, second;
        size_t len;
        pd_buf_init(&first, 1000);
        pd_buf_init(&second, 1000);
        len = pd_text_stream_put(&stream, text, cut, &first);
        len += pd_text_stream_put(&stream, text + cut, sizeof text - 1 - cut, &second);
        assert_int_equal(len, sizeof text - 1);
        assert_int_equal(stream.tail_len, 0);
        assert_null(first.data ? strstr(first.data, "base64") : NULL);
        assert_null(second.data ? strstr(second.data, "base64") : NULL);
        assert_null(first.data ? strstr(first.data, "\xef\xbf\xbd") : NULL);
        assert_int_equal(pd_text_stream_flush(&stream, &first), 0);
        pd_buf_fini(&first);
        pd_buf_fini(&second);
    }
}

static void test_other_bytes_go_as_base64(void **state)
{
    struct pd_text_stream stream = {.tail_len = 0};
    struct pd_buf out;

    (void)state;
    pd_buf_init(&out, 1000);
    assert_int_equal(pd_text_stream_put(&stream, "\xff\xfe", 2, &out), 2);
    assert_string_equal(out.data, "\"data\":\"//4=\",\"encoding\":\"base64\"");
    pd_buf_clear(&out);
    assert_int_equal(pd_text_stream_put(&stream, "\xe2\x82", 2, &out), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(pd_text_stream_put(&stream, "x", 1, &out), 3);
    assert_string_equal(out.data, "\"data\":\"4oJ4\",\"encoding\":\"base64\"");
    pd_buf_clear(&out);
    assert_int_equal(pd_text_stream_put(&stream, "ok\xf0\x9f", 4, &out), 2);
    assert_string_equal(out.data, "\"data\":\"ok\"");
    pd_buf_clear(&out);
    assert_int_equal(pd_text_stream_flush(&stream, &out), 2);
    assert_string_equal(out.data, "\"data\":\"8J8=\",\"encoding\":\"base64\"");
    pd_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_an_entry_says),
        cmocka_unit_test(test_trimming),
        cmocka_unit_test(test_what_the_owner_still_wants_stays),
        cmocka_unit_test(test_an_entry_outlives_its_trimming),
        cmocka_unit_test(test_recalled),
        cmocka_unit_test(test_what_is_no_event_is_not_recalled),
        cmocka_unit_test(test_followed),
        cmocka_unit_test(test_characters_are_not_split),
        cmocka_unit_test(test_other_bytes_go_as_base64),
    };

    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
