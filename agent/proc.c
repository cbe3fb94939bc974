#include "agent/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/sys.h"

#define TEXT_BYTES 2048

void proc_init(struct proc *proc)
{
    *proc = (struct proc){.oom_score = -1, .stat = -1, .status = -1};
}

static int open_one(pid_t pid, const char *name, int flags)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return open(path, flags | O_CLOEXEC);
}

void proc_open(struct proc *proc, pid_t pid)
{
    if (clock_getcpuclockid(pid, &proc->clock) != 0)
        return;
    proc->oom_score = open_one(pid, "oom_score_adj", O_WRONLY);
    proc->stat = open_one(pid, "stat", O_RDONLY);
    proc->status = open_one(pid, "status", O_RDONLY);
}

void proc_close(struct proc *proc)
{
    sys_close(&proc->oom_score);
    sys_close(&proc->stat);
    sys_close(&proc->status);
}

void proc_set_oom_score(const struct proc *proc, int score)
{
    if (proc->oom_score >= 0)
        dprintf(proc->oom_score, "%d", score);
}

static bool read_all(int fd, char *text)
{
    ssize_t n = pread(fd, text, TEXT_BYTES - 1, 0);

    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* Fields 16 and 17 of stat: cutime and cstime, in clock ticks. */
static int64_t children_us(const char *stat_text)
{
    const char *at = strrchr(stat_text, ')');
    int64_t ticks = 0;

    for (int field = 3; at && field <= 17; field++) {
        at = strchr(at + 1, ' ');
        if (at && field >= 16)
            ticks += strtoll(at, NULL, 10);
    }
    return ticks * (1000000 / sysconf(_SC_CLK_TCK));
}

int proc_usage(const struct proc *proc, int64_t *ret_cpu_us, int64_t *ret_peak_bytes)
{
    char stat_text[TEXT_BYTES], status_text[TEXT_BYTES];
    struct timespec used;
    const char *peak;

    if (proc->stat < 0 || proc->status < 0 || clock_gettime(proc->clock, &used) < 0 ||
        !read_all(proc->stat, stat_text) || !read_all(proc->status, status_text))
        return -ESRCH;
    *ret_cpu_us = (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000 + children_us(stat_text);
    peak = strstr(status_text, "VmHWM:");
    *ret_peak_bytes = peak ? strtoll(peak + 6, NULL, 10) * 1024 : 0;
    return 0;
}
