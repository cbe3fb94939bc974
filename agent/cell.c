#include "agent/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/artifact.h"
#include "agent/sys.h"

#define STAGING "/run/paddock"
#define CELL_UID 50000 /* as programs see it, whatever the agent's is */
#define CELL_NAMESPACES (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)

static const char *const namespace_files[] = {
    [PD_JOIN_PID] = "/proc/self/ns/pid", [PD_JOIN_USER] = "/proc/self/ns/user",
    [PD_JOIN_MNT] = "/proc/self/ns/mnt", [PD_JOIN_IPC] = "/proc/self/ns/ipc",
    [PD_JOIN_UTS] = "/proc/self/ns/uts",
};

static int map_ids(const struct platform *platform)
{
    char map[64];
    int result = sys_write_file("/proc/self/setgroups", "deny");

    if (result < 0)
        return result;
    snprintf(map, sizeof map, "%u %u 1", CELL_UID, platform->uid);
    result = sys_write_file("/proc/self/uid_map", map);
    if (result < 0)
        return result;
    snprintf(map, sizeof map, "%u %u 1", CELL_UID, platform->gid);
    return sys_write_file("/proc/self/gid_map", map);
}

/* One tmpfs, bounded in bytes and inodes, shows at every place that a program
 * may write to; the place where it was put together is let go of. */
static int mount_writable(const struct cell_limits *limits)
{
    static const struct {
        const char *from, *to;
        mode_t mode;
    } places[] = {
        {STAGING "/w", CELL_WORKSPACE, 0700},
        {STAGING "/t", "/tmp", 01777},
        {STAGING "/v", "/var/tmp", 01777},
        {STAGING "/s", "/dev/shm", 01777},
    };
    char options[96];

    snprintf(options, sizeof options, "mode=700,size=%llu,nr_inodes=%llu",
             (unsigned long long)limits->disk_bytes, (unsigned long long)limits->inodes);
    if (mount("cell", STAGING, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return -errno;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (mkdir(places[i].from, places[i].mode) < 0 ||
            mount(places[i].from, places[i].to, NULL, MS_BIND, NULL) < 0)
            return -errno;
    }
    return umount2(STAGING, MNT_DETACH) < 0 ? -errno : 0;
}

static int mount_proc(const struct platform *platform)
{
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) < 0)
        return -errno;
    for (size_t i = 0; i < platform->n_masks; i++) {
        const char *path = platform->masks[i];
        bool is_dir = path[strlen(path) - 1] == '/';
        int result = is_dir ? mount("none", path, "tmpfs", MS_RDONLY, "size=0,nr_inodes=1")
                            : mount("/dev/null", path, NULL, MS_BIND, NULL);
        if (result < 0)
            return -errno;
    }
    return 0;
}

#define HANDED_OUT (PD_JOIN_UTS + 2) /* the namespaces and the workspace */

static int open_handles(int fds[HANDED_OUT])
{
    for (int i = 0; i <= PD_JOIN_UTS; i++) {
        fds[i] = open(namespace_files[i], O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0)
            return -errno;
    }
    fds[PD_JOIN_UTS + 1] = open(CELL_WORKSPACE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fds[PD_JOIN_UTS + 1] < 0 ? -errno : 0;
}

static int init_set_up(const struct platform *platform, const struct cell_limits *limits,
                       int handles[HANDED_OUT])
{
    int result;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    umask(0);
    result = map_ids(platform);
    if (result == 0 && sethostname("sandbox", 7) < 0)
        result = -errno;
    if (result == 0)
        result = mount_writable(limits);
    if (result == 0)
        result = mount_proc(platform);
    if (result == 0)
        result = open_handles(handles);
    if (result == 0)
        result = pd_confine_drop_capabilities();
    /* From here no program of the cell may look into this process. */
    if (result == 0 && prctl(PR_SET_DUMPABLE, 0) < 0)
        result = -errno;
    return result;
}

/* The cell's pid 1. Orphans are reaped by the kernel, since SIGCHLD is ignored. */
static _Noreturn void init_main(int sock, const struct platform *platform,
                                const struct cell_limits *limits)
{
    int handles[HANDED_OUT];
    int result;

    signal(SIGCHLD, SIG_IGN);
    /* Nothing of the agent's is left to it, the wire to the service least of all. */
    if (dup2(sock, 0) < 0 || syscall(SYS_close_range, 1, ~0U, 0) < 0)
        _exit(1);
    sock = 0;
    result = init_set_up(platform, limits, handles);
    if (result < 0) {
        sys_send_fds(sock, &result, sizeof result, NULL, 0);
        _exit(1);
    }
    sys_send_fds(sock, &result, sizeof result, handles, HANDED_OUT);
    for (int i = 0; i < HANDED_OUT; i++)
        close(handles[i]);
    artifact_serve(sock);
    _exit(0);
}

void cell_init(struct cell *cell)
{
    *cell = (struct cell){.ctl = -1, .dirfd = -1};
    for (int i = 0; i <= PD_JOIN_UTS; i++)
        cell->ns[i] = -1;
}

static int make_init(struct cell *cell, const struct platform *platform,
                     const struct cell_limits *limits)
{
    int socks[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
        return -errno;
    cell->init = sys_clone(CELL_NAMESPACES | SIGCHLD);
    if (cell->init == 0)
        init_main(socks[1], platform, limits);
    close(socks[1]);
    if (cell->init < 0) {
        int result = -errno;
        cell->init = 0;
        close(socks[0]);
        return result;
    }
    cell->ctl = socks[0];
    return 0;
}

static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

/* A child that enters the cell as a program would, and ends. */
static int try_to_enter(const struct cell *cell, const struct pd_confine *confine)
{
    int fds[PD_JOIN_COUNT] = {-1, -1, -1, -1, -1, 0, 1, 2, -1, -1};
    pid_t aiming = fork();

    memcpy(fds, cell->ns, sizeof cell->ns);
    if (aiming == 0) {
        int result = pd_confine_aim(fds[PD_JOIN_PID]);
        pid_t child = result < 0 ? -1 : fork();
        if (child == 0)
            _exit(-pd_confine_enter(confine, fds));
        _exit(child < 0 ? -result : -wait_for(child));
    }
    return aiming < 0 ? -errno : wait_for(aiming);
}

int cell_try(const struct platform *platform, const struct cell_limits *limits,
             const struct pd_confine *confine)
{
    struct cell cell;
    int result = cell_make(&cell, platform, limits);

    if (result < 0)
        return result;
    while ((result = cell_on_ctl(&cell)) == 0)
        continue;
    if (result == 1)
        result = try_to_enter(&cell, confine);
    cell_kill(&cell);
    cell_close(&cell);
    waitpid(cell.init, NULL, 0);
    return result;
}

int cell_make(struct cell *cell, const struct platform *platform, const struct cell_limits *limits)
{
    cell_init(cell);
    if (platform->isolation == ISOLATION_CELL)
        return make_init(cell, platform, limits);
    cell->dirfd = open(CELL_WORKSPACE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return cell->dirfd < 0 ? -errno : 0;
}

int cell_on_ctl(struct cell *cell)
{
    int fds[HANDED_OUT];
    size_t n_fds = HANDED_OUT;
    int result = 0;
    ssize_t len = sys_recv_fds(cell->ctl, &result, sizeof result, fds, &n_fds, SYS_NO_WAIT);

    if (len == -EAGAIN || len == -EINTR)
        return 0;
    if (len == sizeof result && result == 0 && n_fds == HANDED_OUT) {
        memcpy(cell->ns, fds, sizeof cell->ns);
        cell->dirfd = fds[PD_JOIN_UTS + 1];
        return 1;
    }
    for (size_t i = 0; i < n_fds; i++)
        close(fds[i]);
    return len < 0 ? (int)len : result < 0 ? result : -ECHILD;
}

void cell_kill(struct cell *cell)
{
    if (cell->init > 0)
        kill(cell->init, SIGKILL);
}

void cell_close(struct cell *cell)
{
    sys_close(&cell->ctl);
    sys_close(&cell->dirfd);
    for (int i = 0; i <= PD_JOIN_UTS; i++)
        sys_close(&cell->ns[i]);
}
