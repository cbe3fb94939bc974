#include "common/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/time.h"

#define FDS "/proc/self/fd"

/* Newer kernels (6.2) say how many there are; older ones have to be counted. */
static double count_descriptors(void)
{
    struct stat st;
    DIR *dir;
    double count = -3; /* ".", "..", and the folder's own */

    if (stat(FDS, &st) == 0 && st.st_size > 0)
        return (double)st.st_size;
    dir = opendir(FDS);
    if (!dir)
        return 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* proc(5), /proc/pid/stat: the fields behind the name in parentheses. */
static void collect_stat(struct pd_metrics *metrics)
{
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;
    const char *behind;
    unsigned long user, system, virtual_bytes;
    unsigned long long started;
    long threads, resident_pages;
    double ticks = (double)sysconf(_SC_CLK_TCK);

    if (file)
        fclose(file);
    text[len] = '\0';
    behind = strrchr(text, ')');
    if (!behind || sscanf(behind + 1,
                          " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d "
                          "%ld %*d %llu %lu %ld",
                          &user, &system, &threads, &started, &virtual_bytes, &resident_pages) != 6)
        return;
    pd_metrics_set(metrics, PD_M_PROCESS_CPU, NULL, (double)(user + system) / ticks);
    pd_metrics_set(metrics, PD_M_PROCESS_THREADS, NULL, (double)threads);
    pd_metrics_set(metrics, PD_M_PROCESS_VIRTUAL, NULL, (double)virtual_bytes);
    pd_metrics_set(metrics, PD_M_PROCESS_RESIDENT, NULL,
                   (double)resident_pages * (double)sysconf(_SC_PAGESIZE));
    if (pd_metrics_value(metrics, PD_M_PROCESS_START, NULL) > 0)
        return; /* once: it does not move, though the wall clock may */
    pd_metrics_set(metrics, PD_M_PROCESS_START, NULL,
                   (double)pd_wall_ms() / 1e3 -
                       ((double)pd_time_now().ns / 1e9 - (double)started / ticks));
}

void pd_process_collect(void *arg, struct pd_metrics *metrics)
{
    struct rlimit files;

    (void)arg;
    collect_stat(metrics);
    pd_metrics_set(metrics, PD_M_PROCESS_FDS, NULL, count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        pd_metrics_set(metrics, PD_M_PROCESS_FDS_MAX, NULL, (double)files.rlim_cur);
}
