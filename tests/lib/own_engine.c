#include "tests/lib/own_engine.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/mem.h"
#include "controller/docker_tar.h"
#include "tests/lib/engine_test.h"

#define ANSWER_TRIES 300 /* of 100 ms */

struct pd_own_engine {
    char folder[32];
    char host[64];
    pid_t pid;
};

static bool is_in_path(const char *program)
{
    pd_autofree char *path = pd_strdup(getenv("PATH") ? getenv("PATH") : "");
    char *rest = path, *folder;

    while ((folder = strsep(&rest, ":"))) {
        pd_autofree char *file = pd_asprintf("%s/%s", folder, program);
        if (access(file, X_OK) == 0)
            return true;
    }
    return false;
}

const char *pd_own_engine_lacks(void)
{
    if (geteuid() != 0)
        return "an engine of its own needs root";
    if (!is_in_path("dockerd"))
        return "there is no dockerd";
    return NULL;
}

const char *pd_own_engine_host(const struct pd_own_engine *engine)
{
    return engine->host;
}

/* In a folder of its own and, should it find a containerd of the system's, in a
 * namespace of its own. */
static void exec_engine(const struct pd_own_engine *engine, pid_t parent)
{
    pd_autofree char *data = pd_asprintf("--data-root=%s/data", engine->folder);
    pd_autofree char *exec = pd_asprintf("--exec-root=%s/exec", engine->folder);
    pd_autofree char *pid = pd_asprintf("--pidfile=%s/pid", engine->folder);
    pd_autofree char *host = pd_asprintf("--host=%s", engine->host);
    pd_autofree char *name = pd_asprintf("--containerd-namespace=pd-test-%d", (int)parent);
    pd_autofree char *plugins =
        pd_asprintf("--containerd-plugins-namespace=pd-test-plugins-%d", (int)parent);
    pd_autofree char *log = pd_asprintf("%s/log", engine->folder);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    prctl(PR_SET_PDEATHSIG, SIGTERM); /* it does not outlive the test */
    if (getppid() != parent)
        _exit(127);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    unshare(CLONE_NEWNET); /* --bridge=none takes docker0 away, and another engine uses it */
    execlp("dockerd", "dockerd", data, exec, pid, host, name, plugins, "--bridge=none",
           "--iptables=false", "--ip6tables=false", "--storage-driver=vfs", NULL);
    _exit(127);
}

static void wait_ms(int ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

static void show_log(const struct pd_own_engine *engine)
{
    pd_autofree char *show = pd_asprintf("tail -n 20 %s/log", engine->folder);
    (void)!system(show);
}

bool pd_own_engine_start(struct pd_own_engine *engine)
{
    pid_t parent = getpid();

    engine->pid = fork();
    if (engine->pid == 0)
        exec_engine(engine, parent);
    for (int i = 0; i < ANSWER_TRIES; i++) {
        if (pd_test_engine_call_at(engine->host, "GET", "/_ping", NULL, 0, NULL, 0) == 200)
            return true;
        if (waitpid(engine->pid, NULL, WNOHANG) == engine->pid) {
            engine->pid = 0;
            break;
        }
        wait_ms(100);
    }
    show_log(engine);
    return false;
}

struct pd_own_engine *pd_own_engine_new(void)
{
    struct pd_own_engine *engine = PD_NEW(struct pd_own_engine);

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pd_strcpy(engine->folder, sizeof engine->folder, "/tmp/pd-engine-XXXXXX");
    if (!mkdtemp(engine->folder))
        abort();
    snprintf(engine->host, sizeof engine->host, "unix://%s/sock", engine->folder);
    if (pd_own_engine_start(engine))
        return engine;
    pd_own_engine_free(engine);
    return NULL;
}

int pd_own_engine_import(const struct pd_own_engine *engine, const char *image)
{
    pd_autofree char *path = pd_asprintf("/images/create?fromSrc=-&repo=%s", image);
    pd_autobuf struct pd_buf tar;
    char answer[1024];

    pd_buf_init(&tar, 1 << 16);
    if (pd_tar_add_folder(&tar, "etc/", 0755, NULL) < 0 || pd_tar_finish(&tar, NULL) < 0 ||
        pd_test_engine_call_at(engine->host, "POST", path, tar.data, tar.len, answer,
                               sizeof answer) != 200)
        return -1;
    return strstr(answer, "sha256:") ? 0 : -1;
}

static void end(struct pd_own_engine *engine, int signo)
{
    if (engine->pid <= 0)
        return;
    kill(engine->pid, signo);
    waitpid(engine->pid, NULL, 0);
    engine->pid = 0;
}

static bool containerd_lives(const struct pd_own_engine *engine)
{
    pd_autofree char *path = pd_asprintf("%s/exec/containerd/containerd.pid", engine->folder);
    FILE *file = fopen(path, "r");
    int pid = 0;

    if (!file)
        return false;
    if (fscanf(file, "%d", &pid) != 1)
        pid = 0;
    fclose(file);
    return pid > 0 && kill(pid, 0) == 0;
}

/* Its containerd dies with it and is then a child of ours; the next engine takes
 * a process that nobody has waited for to be alive. */
void pd_own_engine_kill(struct pd_own_engine *engine)
{
    end(engine, SIGKILL);
    for (int i = 0; i < 100 && containerd_lives(engine); i++) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
        wait_ms(20);
    }
}

void pd_own_engine_freeze(struct pd_own_engine *engine, bool frozen)
{
    if (engine->pid > 0) /* 0 would mean ourselves */
        kill(engine->pid, frozen ? SIGSTOP : SIGCONT);
}

void pd_own_engine_free(struct pd_own_engine *engine)
{
    pd_autofree char *clean = pd_asprintf(
        "for m in $(grep -o '%s[^ ]*' /proc/mounts); do umount -l $m; done 2>/dev/null; rm -rf %s",
        engine->folder, engine->folder);

    end(engine, SIGTERM);
    if (system(clean) != 0)
        printf("%s could not be removed\n", engine->folder);
    free(engine);
}
