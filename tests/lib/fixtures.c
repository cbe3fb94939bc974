#include "tests/lib/fixtures.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/file.h"
#include "common/mem.h"

#define FIXTURE_BYTES_MAX (4 * 1024 * 1024)

static char *read_part(const char *folder, const char *name, const char *part, size_t *ret_len)
{
    pd_autofree char *path = pd_asprintf("%s/%s/%s", folder, name, part);
    struct pd_err err;
    char *text;

    if (pd_file_read(path, FIXTURE_BYTES_MAX, &text, ret_len, &err) < 0)
        fail_msg("%s", err.msg);
    return text;
}

/* Whether it is as wanted. */
static bool run_case(const char *folder, const char *name, pd_fixture_cb cb, void *arg)
{
    size_t len, error_len;
    pd_autofree char *input = read_part(folder, name, "input", &len);
    pd_autofree char *wanted = read_part(folder, name, "error", &error_len);
    pd_autofree char *got = cb(arg, input, len);

    if (strcmp(got, wanted) == 0)
        return true;
    print_error("%s/%s: wanted\n%sgot\n%s", folder, name, wanted, got);
    return false;
}

static int is_case(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

void pd_fixtures_run(const char *kind, pd_fixture_cb cb, void *arg)
{
    pd_autofree char *folder = pd_asprintf("%s/tests/fixtures/%s", PD_SOURCE_DIR, kind);
    struct dirent **entries;
    int count = scandir(folder, &entries, is_case, alphasort), failed = 0;

    if (count <= 0)
        fail_msg("%s: no cases", folder);
    for (int i = 0; i < count; i++) {
        failed += !run_case(folder, entries[i]->d_name, cb, arg);
        free(entries[i]);
    }
    free(entries);
    if (failed)
        fail_msg("%d cases of %s", failed, kind);
}
