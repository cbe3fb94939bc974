#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/mem.h"
#include "controller/docker_operation.h"

static const struct {
    const char *method, *path, *operation;
} rows[] = {
    {"POST", "/containers/create?name=a/b", "containers_create"},
    {"POST", "/containers/0123abcd/start", "containers_start"},
    {"GET", "/containers/0123abcd/json", "containers_json"},
    {"GET", "/containers/json?all=1&filters=%7B%7D", "containers_json"},
    {"DELETE", "/containers/0123abcd?force=1&v=1", "delete_containers"},
    {"GET", "/images/registry.example.org/a/b:1/json", "images_json"},
    {"POST", "/images/create?fromImage=a", "images_create"},
    {"POST", "/images/load", "images_load"},
    {"PUT", "/containers/paddock-x/archive?path=/paddock", "containers_archive"},
    {"GET", "/volumes/paddock-agent-0123", "get_volumes"},
    {"GET", "/events?since=1", "get_events"},
    {"GET", "/_ping", "get__ping"},
};

static void test_few_words(void **state)
{
    char operation[PD_DOCKER_OPERATION_BYTES];

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        pd_docker_operation(rows[i].method, rows[i].path, operation);
        assert_string_equal(operation, rows[i].operation);
    }
}

/* However long a name is: it is not told, and what is told fits. */
static void test_long_paths(void **state)
{
    char operation[PD_DOCKER_OPERATION_BYTES];
    char path[600] = "/containers/";

    (void)state;
    memset(path + strlen(path), 'x', sizeof path - strlen(path) - 1);
    pd_docker_operation("DELETE", path, operation);
    assert_string_equal(operation, "delete_containers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_words),
        cmocka_unit_test(test_long_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
