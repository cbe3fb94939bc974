#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/guesses.h"
#include "common/mem.h"

static const struct pd_time start = {INT64_C(1000000000000)};

static struct pd_time at_ms(int64_t ms)
{
    return pd_time_add_ms(start, ms);
}

static struct pd_address address(const char *text)
{
    struct pd_address made = {{0}};

    assert_true(pd_address_forwarded(text, &made));
    return made;
}

static void fail_times(struct pd_guesses *guesses, const struct pd_address *who, int times,
                       int64_t ms)
{
    for (int i = 0; i < times; i++)
        pd_guesses_failed(guesses, who, at_ms(ms));
}

static void test_a_burst_then_one_at_a_time(void **state)
{
    struct pd_guesses *guesses = pd_guesses_new();
    const struct pd_address who = address("192.0.2.1");
    const struct pd_address other = address("192.0.2.2");

    (void)state;
    for (int i = 0; i < PD_GUESSES_BURST; i++) {
        assert_int_equal(pd_guesses_wait_ms(guesses, &who, start), 0);
        pd_guesses_failed(guesses, &who, start);
    }
    assert_int_equal(pd_guesses_wait_ms(guesses, &who, start), PD_GUESS_EVERY_MS);
    assert_int_equal(pd_guesses_wait_ms(guesses, &other, start), 0);
    assert_int_equal(pd_guesses_wait_ms(guesses, &who, at_ms(PD_GUESS_EVERY_MS - 1)), 1);
    assert_int_equal(pd_guesses_wait_ms(guesses, &who, at_ms(PD_GUESS_EVERY_MS)), 0);
    pd_guesses_failed(guesses, &who, at_ms(PD_GUESS_EVERY_MS));
    assert_int_equal(pd_guesses_wait_ms(guesses, &who, at_ms(PD_GUESS_EVERY_MS)),
                     PD_GUESS_EVERY_MS);
    fail_times(guesses, &who, PD_GUESSES_BURST, 60 * PD_GUESS_EVERY_MS); /* all is forgotten */
    assert_int_equal(pd_guesses_wait_ms(guesses, &who, at_ms(60 * PD_GUESS_EVERY_MS)),
                     PD_GUESS_EVERY_MS);
    pd_guesses_free(guesses);
}

static void test_a_network_of_ipv6_is_one(void **state)
{
    struct pd_guesses *guesses = pd_guesses_new();
    const struct pd_address a = address("2001:db8:1:2:3:4:5:6"), b = address("2001:db8:1:2::9");
    const struct pd_address c = address("2001:db8:1:3::9");

    (void)state;
    fail_times(guesses, &a, PD_GUESSES_BURST, 0);
    assert_true(pd_guesses_wait_ms(guesses, &b, start) > 0);
    assert_int_equal(pd_guesses_wait_ms(guesses, &c, start), 0);
    pd_guesses_free(guesses);
}

/* However many addresses: no more guesses than there are accounts, and their rest. */
static void test_many_addresses_are_bounded(void **state)
{
    struct pd_guesses *guesses = pd_guesses_new();
    int tried = 0;

    (void)state;
    for (unsigned i = 0; i < 4 * PD_GUESS_ADDRESSES; i++) {
        struct pd_address who = address("10.0.0.0");
        who.bytes[14] = (unsigned char)(i >> 8);
        who.bytes[15] = (unsigned char)i;
        for (int n = 0; n < 2 * PD_GUESSES_BURST; n++) {
            if (pd_guesses_wait_ms(guesses, &who, start) > 0)
                continue;
            pd_guesses_failed(guesses, &who, start);
            tried++;
        }
    }
    assert_int_equal(tried, (PD_GUESS_ADDRESSES + 1) * PD_GUESSES_BURST);
    pd_guesses_free(guesses);
}

static void test_what_proxies_say(void **state)
{
    static const struct {
        const char *header, *same; /* NULL: none */
    } rows[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"203.0.113.9, 192.0.2.1", "192.0.2.1"},
        {"evil,  192.0.2.1 ", "192.0.2.1"},
        {"192.0.2.1:4711", "192.0.2.1"},
        {"[2001:db8::1]:443", "2001:db8::1"},
        {"[2001:db8::1]", "2001:db8::1"},
        {"2001:db8::1", "2001:db8::1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"192.0.2.1,", NULL},
        {"", NULL},
        {"unknown", NULL},
        {"192.0.2.1, unknown", NULL},
        {"192.0.2.256", NULL},
        {"[]", NULL},
        {"1111111111111111111111111111111111111111111111111111111111111111111111", NULL},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        struct pd_address got = {{7}};
        bool found = pd_address_forwarded(rows[i].header, &got);
        if (found != (rows[i].same != NULL))
            fail_msg("'%s'", rows[i].header);
        if (found) {
            const struct pd_address want = address(rows[i].same);
            assert_memory_equal(&got, &want, sizeof got);
        } else {
            assert_int_equal(got.bytes[0], 7);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_burst_then_one_at_a_time),
        cmocka_unit_test(test_a_network_of_ipv6_is_one),
        cmocka_unit_test(test_many_addresses_are_bounded),
        cmocka_unit_test(test_what_proxies_say),
    };

    return cmocka_run_group_tests_name("guesses", tests, NULL, NULL);
}
