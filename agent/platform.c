#include "agent/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/sys.h"
#include "common/proto.h"

/* A tmpfs that the container was created with, for what is being put together. */
#define STAGING "/run/paddock"

/* Docker's default masked paths: what of /proc tells of the host. A cell's /proc
 * is mounted read-only as a whole, so Docker's read-only paths need no more. */
static const char *const proc_masks[] = {
    "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
    "/proc/acpi/",      "/proc/asound/",     "/proc/scsi/",
};
/* Besides, the folder of the direct pipes is the agent's alone (agent/direct.c). */
static const char *const masks[] = {"/sys/firmware", "/sys/devices/virtual/powercap",
                                    PD_DIRECT_FOLDER};
/* Covered by every cell with its own (agent/cell.c). */
static const char *const covered[] = {"/workspace", "/tmp", "/var/tmp", "/dev", "/proc"};

static void weaker(struct platform *platform, const char *what, int error)
{
    platform->isolation = ISOLATION_CONTAINER;
    snprintf(platform->reason, sizeof platform->reason, "%s: %s", what, strerror(error));
}

static bool map_ids(const struct platform *platform)
{
    char map[64];

    if (sys_write_file("/proc/self/setgroups", "deny") < 0)
        return false;
    snprintf(map, sizeof map, "%u %u 1", platform->uid, platform->uid);
    if (sys_write_file("/proc/self/uid_map", map) < 0)
        return false;
    snprintf(map, sizeof map, "%u %u 1", platform->gid, platform->gid);
    return sys_write_file("/proc/self/gid_map", map) == 0;
}

static bool bind_device(const char *name)
{
    char from[64], to[64];
    int fd;

    snprintf(from, sizeof from, "/dev/%s", name);
    snprintf(to, sizeof to, STAGING "/%s", name);
    fd = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    close(fd);
    /* Read-only is the file, not the device: nobody can leave a time stamp on it. */
    return mount(from, to, NULL, MS_BIND, NULL) == 0 &&
           mount(NULL, to, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL) ==
               0;
}

/* null, zero, full, random, urandom, tty and the usual links; nothing else. */
static bool make_dev(void)
{
    static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const char *const links[][2] = {
        {"/proc/self/fd", "fd"},
        {"/proc/self/fd/0", "stdin"},
        {"/proc/self/fd/1", "stdout"},
        {"/proc/self/fd/2", "stderr"},
    };

    if (mount("dev", STAGING, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k,nr_inodes=64") < 0)
        return false;
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        if (!bind_device(devices[i]))
            return false;
    }
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        char to[64];
        snprintf(to, sizeof to, STAGING "/%s", links[i][1]);
        if (symlink(links[i][0], to) < 0)
            return false;
    }
    if (mkdir(STAGING "/shm", 0700) < 0 || mkdir(STAGING "/pts", 0700) < 0)
        return false;
    return mount(STAGING, "/dev", NULL, MS_MOVE, NULL) == 0 &&
           mount(NULL, "/dev", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC,
                 NULL) == 0;
}

static bool is_covered(const char *path)
{
    for (size_t i = 0; i < sizeof covered / sizeof covered[0]; i++) {
        size_t len = strlen(covered[i]);
        if (strncmp(path, covered[i], len) == 0 && (path[len] == '/' || path[len] == '\0'))
            return true;
    }
    return false;
}

/* "36 35 98:0 / /mnt rw,noatime ...": the mount point and its own options. */
static void close_mount(char *line)
{
    char *path = line, *options, *end;
    unsigned long keep = 0;

    for (int field = 0; field < 4 && path; field++) {
        path = strchr(path, ' ');
        path = path ? path + 1 : NULL;
    }
    options = path ? strchr(path, ' ') : NULL;
    if (!options)
        return;
    *options++ = '\0';
    end = strchr(options, ' ');
    if (end)
        *end = '\0';
    if (strncmp(options, "rw", 2) != 0 || is_covered(path))
        return;
    keep |= strstr(options, "nosuid") ? MS_NOSUID : 0;
    keep |= strstr(options, "nodev") ? MS_NODEV : 0;
    keep |= strstr(options, "noexec") ? MS_NOEXEC : 0;
    keep |= strstr(options, "noatime") ? MS_NOATIME : 0;
    keep |= strstr(options, "relatime") ? MS_RELATIME : 0;
    mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | keep, NULL);
}

/* Whatever else came writable with the container (volumes of the image, files
 * that the engine binds) is writable no more. */
static bool close_writable_mounts(void)
{
    static char text[64 * 1024];
    char *line = text, *next;

    if (sys_read_file("/proc/self/mountinfo", text, sizeof text) <= 0)
        return false;
    for (; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        close_mount(line);
    }
    return true;
}

static bool make_ground(void)
{
    struct stat st;

    if (!make_dev())
        return false;
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        if (stat(masks[i], &st) == 0 &&
            mount("none", masks[i], "tmpfs", MS_RDONLY, "size=0,nr_inodes=1") < 0)
            return false;
    }
    return close_writable_mounts();
}

static void find_masks(struct platform *platform)
{
    struct stat st;

    for (size_t i = 0; i < sizeof proc_masks / sizeof proc_masks[0]; i++) {
        if (stat(proc_masks[i], &st) == 0)
            platform->masks[platform->n_masks++] = proc_masks[i];
    }
}

static void find_cgroup(struct platform *platform)
{
    platform->has_cgroup2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
    platform->oom_fd = open(platform->has_cgroup2 ? "/sys/fs/cgroup/memory.events"
                                                  : "/sys/fs/cgroup/memory/memory.oom_control",
                            O_RDONLY | O_CLOEXEC);
    platform->cpu_fd = open(platform->has_cgroup2 ? "/sys/fs/cgroup/cpu.stat"
                                                  : "/sys/fs/cgroup/cpuacct/cpuacct.usage",
                            O_RDONLY | O_CLOEXEC);
}

static bool is_kernel_at_least(int major, int minor)
{
    struct utsname name;
    char *rest;
    long has_major, has_minor;

    if (uname(&name) < 0)
        return false;
    has_major = strtol(name.release, &rest, 10);
    has_minor = *rest == '.' ? strtol(rest + 1, NULL, 10) : 0;
    return has_major > major || (has_major == major && has_minor >= minor);
}

static void enter_cells(struct platform *platform)
{
    if (platform->uid == 0)
        weaker(platform, "cells need a non-zero uid", EPERM);
    else if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        weaker(platform,
               "unshare of user and mount namespaces (seccomp profile, AppArmor or "
               "user.max_user_namespaces)",
               errno);
    else if (!map_ids(platform))
        weaker(platform, "id map of the user namespace (AppArmor)", errno);
    else if (!make_ground())
        weaker(platform, "mounts in the user namespace (seccomp or AppArmor profile)", errno);
}

void platform_give_up_cells(struct platform *platform, int error)
{
    weaker(platform, "a trial cell (seccomp or AppArmor profile, or masked paths in /proc)", error);
}

#define RUN_UID_FIRST 50001
#define RUN_UIDS_PER_SANDBOX 65536

/* The kernel's quotas count by user across containers, so sandboxes do not share
 * users where this one has all there are. */
static uid_t choose_run_uids(void)
{
    char map[64];
    uint32_t random;

    if (sys_read_file("/proc/self/uid_map", map, sizeof map) <= 0 || !strstr(map, "4294967295") ||
        getrandom(&random, sizeof random, 0) != sizeof random)
        return RUN_UID_FIRST;
    return (16 + random % 16384) * RUN_UIDS_PER_SANDBOX;
}

void platform_enter(struct platform *platform, enum isolation asked)
{
    *platform = (struct platform){
        .isolation = asked,
        .uid = getuid(),
        .gid = getgid(),
        .first_run_uid = choose_run_uids(),
        .has_nproc_per_cell = is_kernel_at_least(5, 14),
    };
    platform->pts_fd = open("/dev/pts", O_PATH | O_DIRECTORY | O_CLOEXEC);
    find_cgroup(platform);
    find_masks(platform);
    if (asked == ISOLATION_CELL)
        enter_cells(platform);
    else if (asked == ISOLATION_UID && platform->uid != 0)
        weaker(platform, "uids of their own for runs need CAP_SETUID", EPERM);
}

static int64_t read_number(int fd, const char *key, int64_t fallback)
{
    char text[512];
    ssize_t len = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);

    if (len <= 0)
        return fallback;
    text[len] = '\0';
    return key ? sys_keyed_number(text, key) : strtoll(text, NULL, 10);
}

int64_t platform_oom_kills(const struct platform *platform)
{
    return read_number(platform->oom_fd, "oom_kill", -1);
}

int64_t platform_cpu_us(const struct platform *platform)
{
    if (platform->has_cgroup2)
        return read_number(platform->cpu_fd, "usage_usec", -1);
    return read_number(platform->cpu_fd, NULL, -1000) / 1000;
}
