/* The floor: a bare interpreter spawned in a sandbox image's own root, with no
 * isolation but chroot.
 *
 *   bench_spawn ROOT RUNS PARALLEL PROGRAM [ARG...]
 *
 * "{}" in an argument becomes a nonce, which the program must print. ROOT "/"
 * spawns outside any root (for programs like bwrap and docker). One line comes
 * out, as from bench_client. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PARALLEL_MAX 64
#define ARGS_MAX 64
#define ARG_BYTES 512
#define OUTPUT_BYTES 256

struct slot {
    pid_t pid; /* 0: free */
    int out;
    int64_t began_ns;
    long nonce;
    char output[OUTPUT_BYTES];
    size_t len;
};

struct floor_run {
    char **program;
    long runs, started, done, failed;
    uint32_t *us;
    int null;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

/* The argument with "{}" replaced. */
static void fill(char out[static ARG_BYTES], const char *arg, long nonce)
{
    const char *mark = strstr(arg, "{}");

    if (mark)
        snprintf(out, ARG_BYTES, "%.*sn%ld%s", (int)(mark - arg), arg, nonce, mark + 2);
    else
        snprintf(out, ARG_BYTES, "%s", arg);
}

static void start(struct floor_run *run, struct slot *slot)
{
    static char storage[ARGS_MAX][ARG_BYTES];
    char *argv[ARGS_MAX + 1];
    char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp",
                   NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], n = 0;

    for (; run->program[n] && n < ARGS_MAX; n++) {
        fill(storage[n], run->program[n], run->started);
        argv[n] = storage[n];
    }
    argv[n] = NULL;
    if (pipe2(ends, O_CLOEXEC) < 0)
        die("pipe2");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, run->null, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    *slot = (struct slot){.out = ends[0], .nonce = run->started++, .began_ns = now_ns()};
    errno = posix_spawnp(&slot->pid, argv[0], &actions, NULL, argv, env);
    if (errno)
        die(argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
}

static void finish(struct floor_run *run, struct slot *slot)
{
    char wanted[32];
    int status;

    close(slot->out);
    if (waitpid(slot->pid, &status, 0) < 0)
        die("waitpid");
    run->us[run->done++] = (uint32_t)((now_ns() - slot->began_ns) / 1000);
    snprintf(wanted, sizeof wanted, "n%ld\n", slot->nonce);
    slot->output[slot->len] = '\0';
    if (status != 0 || strcmp(slot->output, wanted) != 0)
        run->failed++;
    slot->pid = 0;
}

static void on_output(struct floor_run *run, struct slot *slot)
{
    ssize_t n = read(slot->out, slot->output + slot->len, OUTPUT_BYTES - 1 - slot->len);

    if (n > 0 && slot->len + (size_t)n < OUTPUT_BYTES - 1) {
        slot->len += (size_t)n;
        return;
    }
    finish(run, slot);
    if (run->started < run->runs)
        start(run, slot);
}

static void run_all(struct floor_run *run, struct slot *slots, long parallel)
{
    for (long i = 0; i < parallel && run->started < run->runs; i++)
        start(run, &slots[i]);
    while (run->done < run->runs) {
        struct pollfd fds[PARALLEL_MAX];
        for (long i = 0; i < parallel; i++)
            fds[i] = (struct pollfd){.fd = slots[i].pid ? slots[i].out : -1, .events = POLLIN};
        if (poll(fds, (nfds_t)parallel, -1) < 0)
            die("poll");
        for (long i = 0; i < parallel; i++)
            if (fds[i].revents)
                on_output(run, &slots[i]);
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    struct slot slots[PARALLEL_MAX] = {{0}};
    struct floor_run run = {.null = open("/dev/null", O_RDWR | O_CLOEXEC)};
    long parallel;
    int64_t began;
    double seconds;

    if (argc < 5) {
        fputs("usage: bench_spawn ROOT RUNS PARALLEL PROGRAM [ARG...]\n", stderr);
        return 2;
    }
    run.runs = strtol(argv[2], NULL, 10);
    parallel = strtol(argv[3], NULL, 10);
    run.program = argv + 4;
    if (run.runs < 1 || parallel < 1 || parallel > PARALLEL_MAX)
        return 2;
    if (strcmp(argv[1], "/") != 0 && (chroot(argv[1]) < 0 || chdir("/") < 0))
        die(argv[1]);
    run.us = calloc((size_t)run.runs, sizeof *run.us);
    if (!run.us || run.null < 0)
        die("set up");
    began = now_ns();
    run_all(&run, slots, parallel);
    seconds = (double)(now_ns() - began) / 1e9;
    qsort(run.us, (size_t)run.done, sizeof *run.us, by_value);
    printf("runs=%ld failed=%ld seconds=%.3f runs_s=%.1f p50=%u p90=%u p99=%u max=%u\n", run.done,
           run.failed, seconds, (double)run.done / seconds, run.us[run.done / 2],
           run.us[run.done * 9 / 10], run.us[run.done * 99 / 100], run.us[run.done - 1]);
    return run.failed ? 1 : 0;
}
