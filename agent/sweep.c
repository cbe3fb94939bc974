#include "agent/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

#define DEPTH_MAX 32      /* deeper folders are moved to the top first */
#define DEATH_US 5000000  /* for a killed process to be gone */
#define SWEEPER_UID 49999 /* nobody's: whom the processes of a run may not signal */
#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif
#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif
#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

/* Wherever the container lets a program write (controller/docker_request.c). */
static const char *const places[] = {"/workspace", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"};

/* ---- processes ---- */

static bool is_alive_of(const char *pid, uid_t uid)
{
    char path[64], status[1024];
    const char *state, *ids;

    snprintf(path, sizeof path, "/proc/%.20s/status", pid);
    if (sys_read_file(path, status, sizeof status) <= 0)
        return false;
    state = strstr(status, "\nState:\t");
    ids = strstr(status, "\nUid:\t");
    if (!state || !ids || state[8] == 'Z' || state[8] == 'X')
        return false;
    return strtoul(ids + 6, NULL, 10) == uid;
}

static bool is_anyone_alive(uid_t uid)
{
    _Alignas(struct linux_dirent64) char entries[4096];
    int dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool found = dir < 0;
    long n;

    while (!found && (n = syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0) {
        for (long at = 0; at < n && !found;) {
            const struct linux_dirent64 *entry = (const void *)(entries + at);
            found = entry->name[0] >= '1' && entry->name[0] <= '9' && is_alive_of(entry->name, uid);
            at += entry->reclen;
        }
    }
    sys_close(&dir);
    return found;
}

/* Segments, queues and semaphores: only their owner may remove them (the agent
 * lacks CAP_SYS_ADMIN), whatever their mode says. */
static void remove_system_v(void)
{
    union {
        struct shmid_ds shm;
        struct msqid_ds msg;
        struct semid_ds sem;
    } buf;
    int last;

    last = shmctl(0, SHM_INFO, &buf.shm);
    for (int i = 0; i <= last; i++) {
        int id = shmctl(i, SHM_STAT_ANY, &buf.shm);
        if (id >= 0)
            shmctl(id, IPC_RMID, NULL);
    }
    last = msgctl(0, MSG_INFO, &buf.msg);
    for (int i = 0; i <= last; i++) {
        int id = msgctl(i, MSG_STAT_ANY, &buf.msg);
        if (id >= 0)
            msgctl(id, IPC_RMID, NULL);
    }
    last = semctl(0, 0, SEM_INFO, &buf.sem);
    for (int i = 0; i <= last; i++) {
        int id = semctl(i, 0, SEM_STAT_ANY, &buf.sem);
        if (id >= 0)
            semctl(id, 0, IPC_RMID);
    }
}

/* With the run's effective uid kill(-1) reaches all of its processes at once and
 * nobody else's, and none can be forked meanwhile. They cannot kill this one:
 * what counts against it are its real and saved uids. */
static _Noreturn void sweeper_main(uid_t uid)
{
    int64_t until = sys_now_us() + DEATH_US;

    if (setresuid(SWEEPER_UID, uid, SWEEPER_UID) < 0)
        _exit(2);
    if (kill(-1, SIGKILL) < 0 && errno != ESRCH)
        _exit(3);
    remove_system_v();
    while (is_anyone_alive(uid)) {
        if (sys_now_us() > until)
            _exit(4);
        usleep(200);
    }
    _exit(0);
}

bool sweep_processes(struct agent *agent, uid_t uid)
{
    int status = -1;
    pid_t child;

    if (agent->platform.isolation == ISOLATION_CONTAINER)
        kill(-1, SIGKILL); /* the container ends with its run */
    if (agent->platform.isolation != ISOLATION_UID || uid == 0)
        return true;
    child = fork();
    if (child == 0)
        sweeper_main(uid);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return child > 0 && status == 0;
}

/* ---- files ---- */

struct sweep {
    int top;        /* the folder that is being emptied */
    unsigned moved; /* folders that were too deep */
};

static bool empty_folder(struct sweep *sweep, int dirfd, int depth);

/* A run can nest folders deeper than a stack: from a bound on they come up. */
static bool move_up(struct sweep *sweep, int dirfd, const char *name)
{
    char to[32];

    do {
        snprintf(to, sizeof to, ".deep-%u", sweep->moved++);
        if (renameat(dirfd, name, sweep->top, to) == 0)
            return true;
    } while (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR);
    return false;
}

static bool remove_entry(struct sweep *sweep, int dirfd, const char *name, int depth)
{
    int fd;
    bool emptied;

    if (unlinkat(dirfd, name, 0) == 0)
        return true;
    if (errno != EISDIR)
        return false;
    if (depth == 0)
        return move_up(sweep, dirfd, name);
    fd = sys_open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0)
        return false;
    emptied = empty_folder(sweep, fd, depth - 1);
    close(fd);
    return emptied && unlinkat(dirfd, name, AT_REMOVEDIR) == 0;
}

static bool remove_entries(struct sweep *sweep, int dirfd, int depth, bool *ret_found)
{
    _Alignas(struct linux_dirent64) char entries[1024];
    long n;

    *ret_found = false;
    lseek(dirfd, 0, SEEK_SET);
    while ((n = syscall(SYS_getdents64, dirfd, entries, sizeof entries)) > 0) {
        for (long at = 0; at < n;) {
            const struct linux_dirent64 *entry = (const void *)(entries + at);
            at += entry->reclen;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                continue;
            *ret_found = true;
            if (!remove_entry(sweep, dirfd, entry->name, depth))
                return false;
        }
    }
    return n == 0;
}

/* The folder becomes the agent's first: a sticky bit would protect its entries
 * from everybody but their owner. Passes until one finds nothing. */
static bool empty_folder(struct sweep *sweep, int dirfd, int depth)
{
    bool found = true, clean = fchown(dirfd, 0, 0) == 0;

    while (found && clean)
        clean = remove_entries(sweep, dirfd, depth, &found);
    return clean;
}

/* Empty, of no telling time or mode, and `uid`'s alone (0: nobody's). */
static bool hand_over(const char *path, uid_t uid)
{
    static const struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    struct sweep sweep = {.top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    bool clean;

    if (sweep.top < 0)
        return errno == ENOENT;
    clean = empty_folder(&sweep, sweep.top, DEPTH_MAX) && fchmod(sweep.top, 0700) == 0 &&
            futimens(sweep.top, now) == 0 && fchown(sweep.top, uid, uid) == 0;
    sys_close(&sweep.top);
    return clean;
}

/* The device files are the agent's, but anybody may set their times to now. */
static void forget_touches(void)
{
    static const char *const files[] = {"/dev/null", "/dev/zero",   "/dev/full",
                                        "/dev/tty",  "/dev/random", "/dev/urandom"};

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        (void)!utimensat(AT_FDCWD, files[i], NULL, 0);
}

static bool is_system_v_empty(void)
{
    struct shm_info shm;
    struct msginfo msg;
    union {
        struct seminfo info;
        struct semid_ds ds;
    } sem;

    return shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&shm) >= 0 && shm.used_ids == 0 &&
           msgctl(0, MSG_INFO, (struct msqid_ds *)(void *)&msg) >= 0 && msg.msgpool == 0 &&
           semctl(0, 0, SEM_INFO, &sem) >= 0 && sem.info.semusz == 0;
}

bool sweep_files(struct agent *agent, uid_t uid)
{
    if (agent->platform.isolation != ISOLATION_UID)
        return true;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (!hand_over(places[i], uid))
            return false;
    }
    forget_touches();
    return is_system_v_empty();
}
