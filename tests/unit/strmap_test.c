#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/strmap.h"

static void test_an_empty_map(void **state)
{
    struct pd_strmap map = {0};

    (void)state;
    assert_null(pd_strmap_get(&map, "a"));
    assert_null(pd_strmap_remove(&map, "a"));
    assert_null(pd_strmap_any(&map));
    pd_strmap_fini(&map);
}

/* Against a plain table of what should be in it. */
#define KEYS 500

static void test_random_adds_and_removes(void **state)
{
    static char keys[KEYS][8];
    bool in[KEYS] = {false};
    struct pd_strmap map = {0};
    size_t count = 0;
    uint64_t random = 1;

    (void)state;
    for (size_t i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "k%zu", i);
    for (int step = 0; step < 100000; step++) {
        size_t i;
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        i = (size_t)(random >> 33) % KEYS;
        assert_ptr_equal(pd_strmap_get(&map, keys[i]), in[i] ? keys[i] : NULL);
        if (in[i])
            assert_ptr_equal(pd_strmap_remove(&map, keys[i]), keys[i]);
        else
            pd_strmap_add(&map, keys[i], keys[i]);
        in[i] = !in[i];
        count = in[i] ? count + 1 : count - 1;
        assert_int_equal(map.count, count);
    }
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(pd_strmap_get(&map, keys[i]), in[i] ? keys[i] : NULL);
    while (map.count > 0)
        assert_non_null(pd_strmap_remove(&map, pd_strmap_any(&map)));
    pd_strmap_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_map),
        cmocka_unit_test(test_random_adds_and_removes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
