/* What each part of a cell costs, measured where cells are made: in a container
 * like a sandbox's. Built statically and started as its only process:
 *
 *   cell_cost ROUNDS
 *
 * One line a variant: microseconds until the child is ready, and from SIGKILL
 * until it has been waited for. Every variant has all that the one before it has;
 * the last two show what a fork of a process with an interpreter's memory adds. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STAGING "/run/paddock"

enum variant { PLAIN, USER, PID, IPC_UTS, MOUNT, TMPFS, BINDS, PROC, VARIANTS };

static const struct {
    const char *what;
    unsigned long flags;
} variants[] = {
    [PLAIN] = {"fork alone", 0},
    [USER] = {"+ user namespace and its maps", CLONE_NEWUSER},
    [PID] = {"+ pid namespace", CLONE_NEWUSER | CLONE_NEWPID},
    [IPC_UTS] = {"+ ipc and uts namespaces",
                 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS},
    [MOUNT] = {"+ mount namespace",
               CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS},
    [TMPFS] = {"+ a tmpfs",
               CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS},
    [BINDS] = {"+ its three binds, let go of",
               CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS},
    [PROC] = {"+ a proc of its own",
              CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS},
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die(path);
    close(fd);
}

static void map_ids(unsigned uid, unsigned gid)
{
    char map[64];

    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1", uid, uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "%u %u 1", gid, gid);
    write_file("/proc/self/gid_map", map);
}

static void bind_one(const char *folder, const char *to)
{
    if (mkdir(folder, 0700) < 0 || mount(folder, to, NULL, MS_BIND, NULL) < 0)
        die(to);
}

static void mounts(enum variant variant)
{
    if (variant >= TMPFS && mount("cell", STAGING, "tmpfs", MS_NOSUID | MS_NODEV,
                                  "mode=700,size=64m,nr_inodes=4096") < 0)
        die("tmpfs");
    if (variant >= BINDS) {
        bind_one(STAGING "/w", "/workspace");
        bind_one(STAGING "/t", "/tmp");
        bind_one(STAGING "/v", "/var/tmp");
        if (umount2(STAGING, MNT_DETACH) < 0)
            die("umount");
    }
    if (variant >= PROC &&
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) < 0)
        die("proc");
}

static void child(enum variant variant, unsigned uid, unsigned gid, int ready)
{
    if (variant >= USER)
        map_ids(uid, gid);
    mounts(variant);
    if (write(ready, "R", 1) == 1)
        pause();
    _exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(enum variant variant, const char *what, int rounds, unsigned uid, unsigned gid)
{
    double *up = calloc((size_t)rounds, sizeof *up), *down = calloc((size_t)rounds, sizeof *down);

    if (!up || !down)
        die("memory");
    for (int i = 0; i < rounds; i++) {
        double began = now_us();
        int ready[2];
        char byte;
        pid_t pid;
        if (pipe(ready) < 0)
            die("pipe");
        pid = (pid_t)syscall(SYS_clone, variants[variant].flags | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            child(variant, uid, gid, ready[1]);
        close(ready[1]);
        if (pid < 0 || read(ready[0], &byte, 1) != 1)
            die(what);
        up[i] = now_us() - began;
        began = now_us();
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        down[i] = now_us() - began;
        close(ready[0]);
    }
    qsort(up, (size_t)rounds, sizeof *up, compare);
    qsort(down, (size_t)rounds, sizeof *down, compare);
    printf("%-32s up %6.0f us   down %6.0f us\n", what, up[rounds / 2], down[rounds / 2]);
    free(up);
    free(down);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 200;
    unsigned uid = getuid(), gid = getgid();
    size_t interpreter_bytes = 10u << 20;
    char *memory;

    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        die("unshare: a container like a sandbox's is needed");
    map_ids(uid, gid);
    for (int variant = 0; variant < VARIANTS; variant++)
        measure((enum variant)variant, variants[variant].what, rounds, uid, gid);
    memory = mmap(NULL, interpreter_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                  0);
    if (memory == MAP_FAILED)
        die("mmap");
    madvise(memory, interpreter_bytes, MADV_NOHUGEPAGE);
    memset(memory, 1, interpreter_bytes);
    measure(PLAIN, "fork of 10 MiB", rounds, uid, gid);
    measure(PROC, "the same, into a whole cell", rounds, uid, gid);
    return 0;
}
