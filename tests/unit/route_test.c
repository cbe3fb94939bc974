#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/route.h"
#include "common/mem.h"

static void on_a(void *arg, struct pd_exchange *exchange)
{
    (void)arg;
    (void)exchange;
}

static const struct pd_route table[] = {
    {PD_METHOD_GET, "/a", 0, on_a},
    {PD_METHOD_POST, "/a", 1, on_a},
    {PD_METHOD_DELETE, "/b", 1, on_a},
    {PD_METHOD_GET, "/c/{}", 1, on_a},
    {PD_METHOD_GET, "/c/{}/d", 1, on_a},
    {.path = NULL},
};

static void test_find(void **state)
{
    static const struct {
        const char *what;
        enum pd_method method;
        const char *path;
        enum pd_route_match match;
        int index; /* of the route found, -1 for none */
        const char *allow;
    } cases[] = {
        {"first", PD_METHOD_GET, "/a", PD_ROUTE_FOUND, 0, "GET, HEAD, POST, OPTIONS"},
        {"same path", PD_METHOD_POST, "/a", PD_ROUTE_FOUND, 1, "GET, HEAD, POST, OPTIONS"},
        {"HEAD is GET's", PD_METHOD_HEAD, "/a", PD_ROUTE_FOUND, 0, "GET, HEAD, POST, OPTIONS"},
        {"no HEAD without GET", PD_METHOD_HEAD, "/b", PD_ROUTE_NO_METHOD, -1, "DELETE, OPTIONS"},
        {"wrong method", PD_METHOD_PUT, "/a", PD_ROUTE_NO_METHOD, -1, "GET, HEAD, POST, OPTIONS"},
        {"unknown method", PD_METHOD_OTHER, "/b", PD_ROUTE_NO_METHOD, -1, "DELETE, OPTIONS"},
        {"options", PD_METHOD_OPTIONS, "/b", PD_ROUTE_OPTIONS, -1, "DELETE, OPTIONS"},
        {"nowhere", PD_METHOD_GET, "/c", PD_ROUTE_NO_PATH, -1, ""},
        {"whole paths only", PD_METHOD_GET, "/a/", PD_ROUTE_NO_PATH, -1, ""},
        {"no prefixes", PD_METHOD_GET, "/", PD_ROUTE_NO_PATH, -1, ""},
        {"case counts", PD_METHOD_GET, "/A", PD_ROUTE_NO_PATH, -1, ""},
        {"a segment", PD_METHOD_GET, "/c/x.y", PD_ROUTE_FOUND, 3, "GET, HEAD, OPTIONS"},
        {"an empty segment", PD_METHOD_GET, "/c/", PD_ROUTE_NO_PATH, -1, ""},
        {"after a segment", PD_METHOD_GET, "/c/x/d", PD_ROUTE_FOUND, 4, "GET, HEAD, OPTIONS"},
        {"more segments", PD_METHOD_GET, "/c/x/d/e", PD_ROUTE_NO_PATH, -1, ""},
        {"cut short", PD_METHOD_GET, "/c/x/", PD_ROUTE_NO_PATH, -1, ""},
        {"options nowhere", PD_METHOD_OPTIONS, "/c", PD_ROUTE_NO_PATH, -1, ""},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        const struct pd_route *route = NULL;
        char allow[PD_ALLOW_BYTES];
        enum pd_route_match match =
            pd_route_find(table, cases[i].method, cases[i].path, &route, allow);
        if (match != cases[i].match || strcmp(allow, cases[i].allow) != 0 ||
            route != (cases[i].index < 0 ? NULL : &table[cases[i].index]))
            fail_msg("%s: %d, %s", cases[i].what, match, allow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_find)};

    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
