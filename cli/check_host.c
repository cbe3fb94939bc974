#include "cli/check_host.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"

#define PROFILE "paddock-sandbox"
#define KNOB_BYTES_MAX 4096
#define PROFILES_BYTES_MAX (1024 * 1024)

struct host {
    const char *root;
    FILE *out, *problems;
    size_t n_problems;
};

enum profile { PROFILE_LOADED, PROFILE_MISSING, PROFILE_UNKNOWN };

/* A number below proc/sys that must not be zero. Kernels without it have no such gate. */
static const struct gate {
    const char *path, *name, *opened;
} gates[] = {
    {"kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", "1"},
    {"user/max_user_namespaces", "user.max_user_namespaces", "15000"},
    {"user/max_mnt_namespaces", "user.max_mnt_namespaces", "15000"},
    {"user/max_pid_namespaces", "user.max_pid_namespaces", "15000"},
    {"user/max_ipc_namespaces", "user.max_ipc_namespaces", "15000"},
    {"user/max_uts_namespaces", "user.max_uts_namespaces", "15000"},
};

/* NULL where it is not there or not ours to read. */
static char *read_below(const struct host *host, const char *path, size_t max_bytes)
{
    pd_autofree char *full = pd_asprintf("%s/%s", host->root, path);
    char *text = NULL;
    struct pd_err err;
    size_t len;

    return pd_file_read(full, max_bytes, &text, &len, &err) < 0 ? NULL : text;
}

static void check_namespaces(struct host *host)
{
    size_t closed = 0;

    for (size_t i = 0; i < sizeof gates / sizeof gates[0]; i++) {
        pd_autofree char *path = pd_asprintf("proc/sys/%s", gates[i].path);
        pd_autofree char *text = read_below(host, path, KNOB_BYTES_MAX);

        if (!text || strtol(text, NULL, 10) != 0)
            continue;
        closed++;
        fprintf(host->problems,
                "host: %s is 0, which denies cells; open it: sysctl -w %s=%s, and a file in "
                "/etc/sysctl.d that says so\n",
                gates[i].name, gates[i].name, gates[i].opened);
    }
    host->n_problems += closed;
    if (closed == 0)
        fprintf(host->out, "host: namespaces: open\n");
}

static void check_seccomp(struct host *host)
{
    pd_autofree char *actions =
        read_below(host, "proc/sys/kernel/seccomp/actions_avail", KNOB_BYTES_MAX);

    if (actions && strstr(actions, "errno")) {
        fprintf(host->out, "host: seccomp: there\n");
        return;
    }
    host->n_problems++;
    fprintf(host->problems,
            "host: this kernel has no seccomp filters, without which no program is run; "
            "use one built with CONFIG_SECCOMP_FILTER\n");
}

/* The list is root's to read; the folder of policies is anybody's. */
static enum profile find_profile(const struct host *host)
{
    pd_autofree char *list =
        read_below(host, "sys/kernel/security/apparmor/profiles", PROFILES_BYTES_MAX);
    pd_autofree char *folder =
        pd_asprintf("%s/sys/kernel/security/apparmor/policy/profiles", host->root);
    enum profile found = PROFILE_MISSING;
    struct dirent *entry;
    DIR *dir;

    if (list)
        return strncmp(list, PROFILE " ", sizeof PROFILE) == 0 || strstr(list, "\n" PROFILE " ")
                   ? PROFILE_LOADED
                   : PROFILE_MISSING;
    dir = opendir(folder);
    if (!dir)
        return PROFILE_UNKNOWN;
    while ((entry = readdir(dir)))
        if (strncmp(entry->d_name, PROFILE ".", sizeof PROFILE) == 0)
            found = PROFILE_LOADED;
    closedir(dir);
    return found;
}

static void check_apparmor(struct host *host)
{
    pd_autofree char *enabled =
        read_below(host, "sys/module/apparmor/parameters/enabled", KNOB_BYTES_MAX);
    enum profile profile;

    if (!enabled || enabled[0] != 'Y') {
        fprintf(host->out, "host: AppArmor: not in force here\n");
        return;
    }
    profile = find_profile(host);
    if (profile == PROFILE_LOADED) {
        fprintf(host->out, "host: AppArmor: profile " PROFILE " is loaded\n");
        return;
    }
    host->n_problems++;
    if (profile == PROFILE_MISSING)
        fprintf(host->problems,
                "host: AppArmor is in force and its profile " PROFILE
                " is not loaded: the engine's own denies the mounts of cells; open it: "
                "apparmor_parser -r /etc/apparmor.d/" PROFILE
                " (from the package; in the sources conf/apparmor-" PROFILE ")\n");
    else
        fprintf(host->problems,
                "host: AppArmor is in force, and its profiles are not ours to "
                "read: run this as root\n");
}

size_t pd_check_host(const char *root, FILE *out, FILE *problems)
{
    struct host host = {.root = root, .out = out, .problems = problems};

    check_namespaces(&host);
    check_seccomp(&host);
    check_apparmor(&host);
    return host.n_problems;
}
