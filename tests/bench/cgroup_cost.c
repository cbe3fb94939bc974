/* What a control group of its own would cost each run: made, given limits, entered by a
 * child, read, removed. As root, outside of containers:
 *
 *   cgroup_cost ROUNDS [FOLDER]
 *
 * Finds version 2 at FOLDER (/sys/fs/cgroup by default), else one hierarchy for each of
 * memory, cpu, cpuacct and pids. Medians in microseconds, one line a step; with version 2
 * also entering by clone3 (CLONE_INTO_CGROUP) in place of fork and cgroup.procs. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAME "paddock-bench"
#define ROUNDS_MAX 100000
#define INTO_CGROUP 0x200000000ULL

enum step { MAKE, LIMIT, FORK, ENTER, READ, END, REMOVE, STEPS };

static const char *const step_names[] = {
    [MAKE] = "mkdir",
    [LIMIT] = "limits written",
    [FORK] = "fork",
    [ENTER] = "entered (cgroup.procs)",
    [READ] = "usage and oom_kill read",
    [END] = "child killed and waited for",
    [REMOVE] = "rmdir",
};

/* One hierarchy: its folder, what is written to a new group, what is read of it. */
struct tree {
    const char *folder, *limits[2][2], *reads[2];
};

static const struct tree trees_v1[] = {
    {"memory",
     {{"memory.limit_in_bytes", "268435456"}, {NULL, NULL}},
     {"memory.oom_control", "memory.max_usage_in_bytes"}},
    {"cpu", {{"cpu.cfs_quota_us", "100000"}, {NULL, NULL}}, {NULL, NULL}},
    {"cpuacct", {{NULL, NULL}, {NULL, NULL}}, {"cpuacct.usage", NULL}},
    {"pids", {{"pids.max", "64"}, {NULL, NULL}}, {NULL, NULL}},
};
static const struct tree trees_v2[] = {
    {".", {{"memory.max", "268435456"}, {"pids.max", "64"}}, {"memory.events", "cpu.stat"}},
};

struct bench {
    const char *root;
    const struct tree *trees;
    size_t n_trees;
    int rounds;
    bool into; /* by clone3 */
    double *times[STEPS];
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

static const char *path_of(const struct bench *bench, const struct tree *tree, const char *file)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s/" NAME "%s%s", bench->root, tree->folder, *file ? "/" : "",
             file);
    return path;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die(path);
    close(fd);
}

static void read_file(const char *path)
{
    char text[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || read(fd, text, sizeof text) <= 0)
        die(path);
    close(fd);
}

static void limit(const struct bench *bench, const struct tree *tree)
{
    for (size_t i = 0; i < 2 && tree->limits[i][0]; i++)
        write_file(path_of(bench, tree, tree->limits[i][0]), tree->limits[i][1]);
}

static pid_t start(const struct bench *bench)
{
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
            set_tid_size, cgroup;
    } args = {.flags = INTO_CGROUP, .exit_signal = SIGCHLD};
    int folder = -1;
    pid_t pid;

    if (bench->into) {
        folder = open(path_of(bench, bench->trees, ""), O_PATH | O_DIRECTORY | O_CLOEXEC);
        args.cgroup = (uint64_t)folder;
        pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    } else {
        pid = fork();
    }
    if (pid == 0) {
        for (;;)
            pause();
    }
    if (pid < 0)
        die("fork");
    if (folder >= 0)
        close(folder);
    return pid;
}

/* A group is busy for a moment after its last process was waited for. */
static void remove_group(const struct bench *bench, const struct tree *tree)
{
    while (rmdir(path_of(bench, tree, "")) < 0) {
        if (errno != EBUSY)
            die("rmdir");
    }
}

static void step(const struct bench *bench, enum step which, pid_t *pid)
{
    char text[16];

    if (which == FORK)
        *pid = start(bench);
    if (which == END && (kill(*pid, SIGKILL) < 0 || waitpid(*pid, NULL, 0) != *pid))
        die("kill");
    snprintf(text, sizeof text, "%d", *pid);
    for (size_t i = 0; i < bench->n_trees; i++) {
        const struct tree *tree = &bench->trees[i];
        if (which == MAKE && mkdir(path_of(bench, tree, ""), 0755) < 0)
            die(path_of(bench, tree, ""));
        if (which == LIMIT)
            limit(bench, tree);
        if (which == ENTER && !bench->into)
            write_file(path_of(bench, tree, "cgroup.procs"), text);
        for (size_t j = 0; which == READ && j < 2 && tree->reads[j]; j++)
            read_file(path_of(bench, tree, tree->reads[j]));
        if (which == REMOVE)
            remove_group(bench, tree);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const struct bench *bench, double *times)
{
    qsort(times, (size_t)bench->rounds, sizeof *times, compare);
    return times[bench->rounds / 2];
}

static void measure(struct bench *bench, const char *what)
{
    double group = 0;

    for (int i = 0; i < bench->rounds; i++) {
        pid_t pid = 0;
        for (int which = 0; which < STEPS; which++) {
            double began = now_us();
            step(bench, (enum step)which, &pid);
            bench->times[which][i] = now_us() - began;
        }
    }
    printf("%s\n", what);
    for (int which = 0; which < STEPS; which++) {
        double us = median(bench, bench->times[which]);
        if (which != FORK && which != END)
            group += us;
        printf("  %-28s %7.1f us\n", step_names[which], us);
    }
    printf("  %-28s %7.1f us\n", "all but fork and the end", group);
}

int main(int argc, char **argv)
{
    struct bench bench = {.root = argc > 2 ? argv[2] : "/sys/fs/cgroup"};
    char controllers[512];

    bench.rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1000;
    if (bench.rounds < 1 || bench.rounds > ROUNDS_MAX)
        die("ROUNDS");
    for (int which = 0; which < STEPS; which++) {
        bench.times[which] = calloc((size_t)bench.rounds, sizeof(double));
        if (!bench.times[which])
            die("memory");
    }
    snprintf(controllers, sizeof controllers, "%s/cgroup.subtree_control", bench.root);
    if (access(controllers, F_OK) == 0) {
        write_file(controllers, "+memory +cpu +pids");
        bench.trees = trees_v2;
        bench.n_trees = sizeof trees_v2 / sizeof trees_v2[0];
    } else {
        bench.trees = trees_v1;
        bench.n_trees = sizeof trees_v1 / sizeof trees_v1[0];
    }
    measure(&bench, bench.trees == trees_v2 ? "a group of version 2" : "four groups of version 1");
    bench.into = bench.trees == trees_v2;
    if (bench.into)
        measure(&bench, "a group of version 2, entered by clone3");
    return 0;
}
