#include "agent/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
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

#define DEPTH_MAX 64

struct linux_dirent64 {
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

/* Wherever the container lets a program write (controller/provider_docker.c). */
static const char *const places[] = {"/workspace", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"};

/* ---- processes ---- */

static int kill_all_of(uid_t uid)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        /* As that user, kill(-1) reaches its processes and no other's, at once. */
        if (setresuid(uid, uid, uid) < 0)
            _exit(2);
        _exit(kill(-1, SIGKILL) == 0 ? 1 : 0);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void sweep_processes(struct agent *agent, uid_t uid)
{
    if (agent->platform.isolation == ISOLATION_CONTAINER)
        kill(-1, SIGKILL); /* the container ends with its run */
    if (agent->platform.isolation != ISOLATION_UID || uid == 0)
        return;
    while (kill_all_of(uid) == 1) {
        /* Orphans are ours to reap; the program itself is reaped by the loop. */
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
            break;
        for (size_t i = 0; i < SLOTS_MAX; i++) {
            if (agent->slots[i].prog == info.si_pid || agent->slots[i].cell.init == info.si_pid)
                return;
        }
        if (info.si_pid > 0)
            waitpid(info.si_pid, NULL, WNOHANG);
    }
}

/* ---- files ---- */

static bool empty_folder(int dirfd, int depth);

static bool remove_entry(int dirfd, const char *name, int depth)
{
    int fd;
    bool emptied;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(dirfd, name, 0) == 0)
        return true;
    if (errno != EISDIR || depth == 0)
        return false;
    fchmodat(dirfd, name, 0700, 0);
    fd = sys_open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0)
        return false;
    emptied = empty_folder(fd, depth - 1);
    close(fd);
    return emptied && unlinkat(dirfd, name, AT_REMOVEDIR) == 0;
}

static bool empty_folder(int dirfd, int depth)
{
    _Alignas(struct linux_dirent64) char entries[2048];
    bool clean = true;
    long n;

    /* Again from the start after every removal, until a pass finds nothing. */
    for (bool found = true; found && clean;) {
        found = false;
        lseek(dirfd, 0, SEEK_SET);
        while (clean && (n = syscall(SYS_getdents64, dirfd, entries, sizeof entries)) > 0) {
            for (long at = 0; at < n && clean;) {
                const struct linux_dirent64 *entry = (const void *)(entries + at);
                bool is_self = strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0;
                found = found || !is_self;
                clean = remove_entry(dirfd, entry->name, depth);
                at += entry->reclen;
            }
        }
    }
    return clean;
}

static bool hand_over(const char *path, uid_t uid)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool clean;

    if (fd < 0)
        return errno == ENOENT;
    clean = empty_folder(fd, DEPTH_MAX) && fchown(fd, uid, uid) == 0 && fchmod(fd, 0700) == 0;
    close(fd);
    return clean;
}

/* ---- System V ---- */

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
        int id = shmctl(i, SHM_STAT, &buf.shm);
        if (id >= 0)
            shmctl(id, IPC_RMID, NULL);
    }
    last = msgctl(0, MSG_INFO, &buf.msg);
    for (int i = 0; i <= last; i++) {
        int id = msgctl(i, MSG_STAT, &buf.msg);
        if (id >= 0)
            msgctl(id, IPC_RMID, NULL);
    }
    last = semctl(0, 0, SEM_INFO, &buf.sem);
    for (int i = 0; i <= last; i++) {
        int id = semctl(i, 0, SEM_STAT, &buf.sem);
        if (id >= 0)
            semctl(id, 0, IPC_RMID);
    }
}

bool sweep_files(struct agent *agent, uid_t uid)
{
    if (agent->platform.isolation != ISOLATION_UID)
        return true;
    remove_system_v();
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (!hand_over(places[i], uid))
            return false;
    }
    return true;
}
