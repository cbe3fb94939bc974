#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/fair.h"
#include "common/mem.h"

struct item {
    struct pd_fair_item place;
    char name[8];
};

static struct item *item_of(struct pd_fair_item *place)
{
    return place ? PD_CONTAINER_OF(place, struct item, place) : NULL;
}

static void add(struct pd_fair *fair, struct item *item, const char *name, const char *key_id,
                int64_t since)
{
    *item = (struct item){.place = {.since = {since}}};
    pd_strcpy(item->name, sizeof item->name, name);
    pd_fair_add(fair, &item->place, key_id, 1);
}

/* Serve everything, a turn each; the names in order. */
static const char *drain(struct pd_fair *fair, char out[static 128])
{
    struct pd_fair_item *place;

    out[0] = '\0';
    while ((place = pd_fair_next_key(fair, NULL))) {
        snprintf(out + strlen(out), 128 - strlen(out), "%s ", item_of(place)->name);
        pd_fair_take(fair, place);
        assert_false(pd_fair_waits(place));
    }
    assert_int_equal(fair->count, 0);
    assert_null(pd_fair_oldest(fair));
    return out;
}

static void test_turns(void **state)
{
    struct pd_fair fair;
    struct item items[6];
    char out[128];

    (void)state;
    pd_fair_init(&fair);
    add(&fair, &items[0], "a1", "a", 1);
    add(&fair, &items[1], "a2", "a", 2);
    add(&fair, &items[2], "a3", "a", 3);
    add(&fair, &items[3], "b1", "b", 4);
    add(&fair, &items[4], "c1", "c", 5);
    add(&fair, &items[5], "b2", "b", 6);
    assert_int_equal(fair.count, 6);
    assert_string_equal(item_of(pd_fair_oldest(&fair))->name, "a1");
    assert_string_equal(drain(&fair, out), "a1 b1 c1 a2 b2 a3 ");
}

static void test_walk_by_key(void **state)
{
    struct pd_fair fair;
    struct item items[3];
    struct pd_fair_item *at;
    char out[128];

    (void)state;
    pd_fair_init(&fair);
    assert_null(pd_fair_next_key(&fair, NULL));
    add(&fair, &items[0], "a1", "a", 1);
    add(&fair, &items[1], "a2", "a", 2);
    add(&fair, &items[2], "b1", "b", 3);
    at = pd_fair_next_key(&fair, NULL);
    assert_string_equal(item_of(at)->name, "a1");
    at = pd_fair_next_key(&fair, at);
    assert_string_equal(item_of(at)->name, "b1");
    assert_null(pd_fair_next_key(&fair, at));
    drain(&fair, out);
}

/* Whoever gives up does not cost its key the turn. */
static void test_giving_up(void **state)
{
    struct pd_fair fair;
    struct item items[4];
    char out[128];

    (void)state;
    pd_fair_init(&fair);
    add(&fair, &items[0], "a1", "a", 1);
    add(&fair, &items[1], "b1", "b", 2);
    add(&fair, &items[2], "a2", "a", 3);
    add(&fair, &items[3], "b2", "b", 4);
    pd_fair_remove(&fair, &items[0].place);
    assert_string_equal(item_of(pd_fair_oldest(&fair))->name, "b1");
    assert_string_equal(drain(&fair, out), "a2 b1 b2 ");
}

static void test_coming_back_by_age(void **state)
{
    struct pd_fair fair;
    struct item items[4];
    char out[128];

    (void)state;
    pd_fair_init(&fair);
    add(&fair, &items[0], "a1", "a", 1);
    add(&fair, &items[1], "b2", "b", 2);
    add(&fair, &items[2], "a3", "a", 3);
    add(&fair, &items[3], "b4", "b", 4);
    pd_fair_take(&fair, &items[0].place);
    pd_fair_add(&fair, &items[0].place, "a", 1);
    assert_string_equal(item_of(pd_fair_oldest(&fair))->name, "a1");
    assert_string_equal(drain(&fair, out), "b2 a1 b4 a3 ");
}

static void test_victims(void **state)
{
    struct pd_fair fair;
    struct item items[4];
    char out[128];

    (void)state;
    pd_fair_init(&fair);
    assert_null(pd_fair_victim(&fair, "x"));
    add(&fair, &items[0], "a1", "a", 1);
    assert_null(pd_fair_victim(&fair, "x"));
    add(&fair, &items[1], "a2", "a", 2);
    assert_string_equal(item_of(pd_fair_victim(&fair, "x"))->name, "a2");
    assert_null(pd_fair_victim(&fair, "a"));
    add(&fair, &items[2], "b1", "b", 3);
    assert_null(pd_fair_victim(&fair, "b"));
    assert_string_equal(item_of(pd_fair_victim(&fair, "x"))->name, "a2");
    add(&fair, &items[3], "a3", "a", 4);
    assert_string_equal(item_of(pd_fair_victim(&fair, "b"))->name, "a3");
    drain(&fair, out);
}

/* Whatever the arrivals, no key is served twice more than another that waits. */
static void test_nobody_is_passed_over(void **state)
{
    enum { KEYS = 5, ITEMS = 200 };
    struct pd_fair fair;
    struct item items[ITEMS];
    unsigned seed = 3;
    int served[KEYS] = {0};
    struct pd_fair_item *place;

    (void)state;
    pd_fair_init(&fair);
    for (int i = 0; i < ITEMS; i++) {
        char key[2] = {(char)('a' + ((seed = seed * 1103515245 + 12345) >> 16) % KEYS), 0};
        add(&fair, &items[i], key, key, i + 1);
    }
    for (int i = 0; i < KEYS * 10; i++) {
        place = pd_fair_next_key(&fair, NULL);
        served[item_of(place)->name[0] - 'a']++;
        pd_fair_take(&fair, place);
    }
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(served[i], 10);
    while ((place = pd_fair_oldest(&fair)))
        pd_fair_remove(&fair, place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),     cmocka_unit_test(test_walk_by_key),
        cmocka_unit_test(test_giving_up), cmocka_unit_test(test_coming_back_by_age),
        cmocka_unit_test(test_victims),   cmocka_unit_test(test_nobody_is_passed_over),
    };

    return cmocka_run_group_tests_name("fair", tests, NULL, NULL);
}
