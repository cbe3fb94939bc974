#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/check_host.h"
#include "common/file.h"
#include "common/mem.h"

#define APPARMOR "sys/kernel/security/apparmor"
#define SECCOMP                                                                                    \
    {                                                                                              \
        "proc/sys/kernel/seccomp/actions_avail", "kill errno allow\n"                              \
    }
#define ENABLED                                                                                    \
    {                                                                                              \
        "sys/module/apparmor/parameters/enabled", "Y\n"                                            \
    }

struct knob {
    const char *path, *text;
};

static const struct row {
    const char *what;
    struct knob knobs[5];
    size_t problems;
    const char *said; /* in what was printed, good or bad */
} rows[] = {
    {"nothing is closed", {SECCOMP}, 0, "AppArmor: not in force"},
    {"no gate where a number is not zero",
     {SECCOMP, {"proc/sys/user/max_user_namespaces", "15000\n"}},
     0,
     "namespaces: open"},
    {"no user namespaces at all",
     {SECCOMP, {"proc/sys/user/max_user_namespaces", "0\n"}},
     1,
     "sysctl -w user.max_user_namespaces=15000"},
    {"none for users",
     {SECCOMP, {"proc/sys/kernel/unprivileged_userns_clone", "0\n"}},
     1,
     "sysctl -w kernel.unprivileged_userns_clone=1"},
    {"two gates",
     {SECCOMP,
      {"proc/sys/user/max_pid_namespaces", "0\n"},
      {"proc/sys/user/max_mnt_namespaces", "0\n"}},
     2,
     "user.max_pid_namespaces"},
    {"no seccomp", {{"proc/sys/kernel/seccomp/actions_avail", "\n"}}, 1, "CONFIG_SECCOMP_FILTER"},
    {"the profile is loaded",
     {SECCOMP,
      ENABLED,
      {APPARMOR "/profiles", "docker-default (enforce)\npaddock-sandbox (enforce)\n"}},
     0,
     "profile paddock-sandbox is loaded"},
    {"it is the first of the list",
     {SECCOMP, ENABLED, {APPARMOR "/profiles", "paddock-sandbox (enforce)\n"}},
     0,
     "profile paddock-sandbox is loaded"},
    {"another has a name that begins likewise",
     {SECCOMP, ENABLED, {APPARMOR "/profiles", "paddock-sandbox-old (enforce)\n"}},
     1,
     "apparmor_parser -r /etc/apparmor.d/paddock-sandbox"},
    {"the list is root's, the folder has it",
     {SECCOMP, ENABLED, {APPARMOR "/policy/profiles/paddock-sandbox.3/name", "paddock-sandbox\n"}},
     0,
     "profile paddock-sandbox is loaded"},
    {"the list is root's, the folder has it not",
     {SECCOMP, ENABLED, {APPARMOR "/policy/profiles/paddock-sandboxed.3/name", "x\n"}},
     1,
     "is not loaded"},
    {"nothing of it can be read", {SECCOMP, ENABLED}, 1, "run this as root"},
};

static void put(const char *root, const struct knob *knob)
{
    pd_autofree char *path = pd_asprintf("%s/%s", root, knob->path);
    pd_autofree char *folder = pd_asprintf("mkdir -p \"$(dirname '%s')\"", path);
    struct pd_err err;

    assert_int_equal(system(folder), 0);
    if (pd_file_write_atomic(path, knob->text, strlen(knob->text), 0600, &err) < 0)
        fail_msg("%s", err.msg);
}

static void check_row(const struct row *row)
{
    char root[] = "/tmp/pd-host-XXXXXX";
    pd_autofree char *said = NULL, *removal = NULL;
    size_t len, n;
    FILE *out;

    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < sizeof row->knobs / sizeof row->knobs[0] && row->knobs[i].path; i++)
        put(root, &row->knobs[i]);
    out = open_memstream(&said, &len);
    n = pd_check_host(root, out, out);
    fclose(out);
    removal = pd_asprintf("rm -r '%s'", root);
    assert_int_equal(system(removal), 0);
    if (n != row->problems || !strstr(said, row->said))
        fail_msg("%s: %zu problems, said:\n%s", row->what, n, said);
}

static void test_gates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_row(&rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
