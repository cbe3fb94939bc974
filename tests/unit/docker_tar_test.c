#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "controller/docker_tar.h"

static void fill(struct pd_buf *tar)
{
    static const char block[512] = "exactly one block";

    pd_buf_init(tar, 1 << 20);
    assert_int_equal(pd_tar_add_folder(tar, "spares/", 0755, NULL), 0);
    assert_int_equal(pd_tar_add(tar, "agent", 0755, "#!/bin/true\n", 12, NULL), 0);
    assert_int_equal(pd_tar_add(tar, "spares/empty", 0644, "", 0, NULL), 0);
    assert_int_equal(pd_tar_add(tar, "spares/block", 0600, block, sizeof block, NULL), 0);
    assert_int_equal(pd_tar_finish(tar, NULL), 0);
}

static void test_read_back(void **state)
{
    static const struct {
        const char *name;
        char type;
        unsigned mode;
        size_t len;
    } want[] = {{"spares/", '5', 0755, 0},
                {"agent", '0', 0755, 12},
                {"spares/empty", '0', 0644, 0},
                {"spares/block", '0', 0600, 512}};
    pd_autobuf struct pd_buf tar;
    struct pd_tar_entry entry;
    size_t offset = 0;

    (void)state;
    fill(&tar);
    assert_int_equal(tar.len % 512, 0);
    for (size_t i = 0; i < PD_COUNT(want); i++) {
        assert_int_equal(pd_tar_next(tar.data, tar.len, &offset, &entry, NULL), 1);
        assert_string_equal(entry.name, want[i].name);
        assert_int_equal(entry.type, want[i].type);
        assert_int_equal(entry.mode, want[i].mode);
        assert_int_equal(entry.len, want[i].len);
    }
    assert_int_equal(pd_tar_next(tar.data, tar.len, &offset, &entry, NULL), 0);
}

/* The system's own tar agrees. */
static void test_system_tar_reads_it(void **state)
{
    static const char want[] =
        "drwxr-xr-x 0/0               0 1970-01-01 00:00 spares/\n"
        "-rwxr-xr-x 0/0              12 1970-01-01 00:00 agent\n"
        "-rw-r--r-- 0/0               0 1970-01-01 00:00 spares/empty\n"
        "-rw------- 0/0             512 1970-01-01 00:00 spares/block\n";
    char path[] = "/tmp/pd-tar-XXXXXX", command[128], listed[1024];
    pd_autobuf struct pd_buf tar;
    int fd = mkstemp(path);
    size_t len;
    FILE *out;

    (void)state;
    fill(&tar);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, tar.data, tar.len), tar.len);
    close(fd);
    snprintf(command, sizeof command, "TZ=UTC LC_ALL=C tar --numeric-owner -tvf %s 2>&1", path);
    out = popen(command, "r");
    assert_non_null(out);
    len = fread(listed, 1, sizeof listed - 1, out);
    listed[len] = '\0';
    assert_int_equal(pclose(out), 0);
    unlink(path);
    assert_string_equal(listed, want);
}

static void test_every_cut_is_noticed(void **state)
{
    pd_autobuf struct pd_buf tar;

    (void)state;
    fill(&tar);
    for (size_t len = 1; len < tar.len - 1024; len += 13) {
        char *exact = malloc(len);
        struct pd_tar_entry entry;
        size_t offset = 0;
        int rc;
        memcpy(exact, tar.data, len);
        while ((rc = pd_tar_next(exact, len, &offset, &entry, NULL)) > 0)
            ;
        assert_int_equal(rc, len % 512 == 0 && offset == len ? 0 : PD_INVALID);
        free(exact);
    }
}

static void test_damage_is_noticed(void **state)
{
    pd_autobuf struct pd_buf tar;
    struct pd_tar_entry entry;

    (void)state;
    fill(&tar);
    for (size_t at = 0; at < 512; at += 7) {
        size_t offset = 0;
        tar.data[at] ^= 0x15;
        assert_int_equal(pd_tar_next(tar.data, tar.len, &offset, &entry, NULL), PD_INVALID);
        tar.data[at] ^= 0x15;
    }
}

static void test_limits(void **state)
{
    pd_autobuf struct pd_buf tar;
    char name[PD_TAR_NAME_MAX + 1];

    (void)state;
    pd_buf_init(&tar, 1000);
    memset(name, 'n', sizeof name);
    name[PD_TAR_NAME_MAX] = '\0';
    assert_int_equal(pd_tar_add(&tar, name, 0644, "", 0, NULL), PD_INVALID);
    assert_int_equal(pd_tar_add(&tar, "", 0644, "", 0, NULL), PD_INVALID);
    name[PD_TAR_NAME_MAX - 1] = '\0';
    assert_int_equal(pd_tar_add(&tar, name, 0644, "", 0, NULL), 0);
    assert_int_equal(pd_tar_add(&tar, "b", 0644, "", 0, NULL), PD_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_system_tar_reads_it),
        cmocka_unit_test(test_every_cut_is_noticed),
        cmocka_unit_test(test_damage_is_noticed),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
