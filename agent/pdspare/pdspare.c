/* pdspare: what a Python zygote needs that Python itself does not offer.
 *
 * An extension module of the limited C API (PEP 384), declared here by hand so
 * that it builds without Python's headers and loads into any CPython from 3.7
 * on, with glibc or musl: it is linked to nothing, and what it names is found in
 * the process that loads it.
 *
 *   serve(fd) -> (go_fd, ready_fd)   returns only in a forked child, which is
 *                                    in its cell and confined; the zygote itself
 *                                    stays inside until its socket ends, then exits */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/confine.h"
#include "agent/zygote_proto.h"

/* ---- Python's limited API, as far as it is used ---- */

typedef struct PyObject PyObject;
typedef struct {
    ptrdiff_t refcount;
    void *type;
    PyObject *(*init)(void);
    ptrdiff_t index;
    PyObject *copy;
} module_base;
typedef struct {
    const char *name;
    PyObject *(*function)(PyObject *self, PyObject *arg);
    int flags;
    const char *doc;
} method_def;
typedef struct {
    module_base base;
    const char *name, *doc;
    ptrdiff_t size;
    method_def *methods;
    void *slots, *traverse, *clear, *free;
} module_def;

#define METHOD_ONE_ARGUMENT 0x0008 /* METH_O */
#define LIMITED_API_VERSION 3

PyObject *PyModule_Create2(module_def *def, int api_version);
long PyLong_AsLong(PyObject *object);
PyObject *Py_BuildValue(const char *format, ...);
void PyOS_BeforeFork(void);
void PyOS_AfterFork_Parent(void);
void PyOS_AfterFork_Child(void);
PyObject *PyInit_pdspare(void);

/* ---- the zygote ---- */

static struct {
    int sock;
    struct pd_confine confine;
} state;

static int receive(void *data, size_t bytes, int *fds, size_t *n_fds)
{
    struct iovec iov = {data, bytes};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * PD_JOIN_COUNT)];
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header;
    ssize_t n = recvmsg(state.sock, &msg, MSG_CMSG_CLOEXEC);

    *n_fds = 0;
    if (n <= 0)
        return (int)n;
    header = CMSG_FIRSTHDR(&msg);
    if (header && header->cmsg_type == SCM_RIGHTS) {
        *n_fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(header), *n_fds * sizeof(int));
    }
    return (int)n;
}

static void tell(const struct zygote_message *message)
{
    while (send(state.sock, message, sizeof *message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue;
}

static void on_signal(int signo)
{
    (void)signo; /* its only purpose is to end ppoll */
}

static void reap(void)
{
    struct rusage usage;
    int status;
    pid_t pid;

    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        struct zygote_message message = {
            .type = ZYGOTE_ENDED,
            .pid = pid,
            .by_signal = WIFSIGNALED(status),
            .status = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
            .cpu_us = (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                      usage.ru_utime.tv_usec + usage.ru_stime.tv_usec,
            .maxrss_bytes = (int64_t)usage.ru_maxrss * 1024,
        };
        tell(&message);
    }
}

/* In the child: true when it is where and what it should be. */
static int enter(const struct zygote_message *message, int *fds)
{
    sigset_t none;

    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    state.confine.uid = message->uid;
    return pd_confine_enter(&state.confine, fds) == 0;
}

/* One child into one cell. Returns 1 in the child. */
static int fork_one(const struct zygote_message *message, int *fds)
{
    struct zygote_message reply = {.type = ZYGOTE_FORKED, .slot = message->slot};
    int aimed = state.confine.has_cell ? pd_confine_aim(fds[PD_JOIN_PID]) : 0;
    pid_t pid = -1;

    if (aimed == 0) {
        PyOS_BeforeFork();
        pid = fork();
        if (pid == 0) {
            if (!enter(message, fds))
                _exit(126);
            PyOS_AfterFork_Child();
            return 1;
        }
        PyOS_AfterFork_Parent();
    }
    reply.pid = pid > 0 ? pid : -1;
    tell(&reply);
    return 0;
}

static int on_fork(const struct zygote_message *message, const int *received, size_t n)
{
    int fds[PD_JOIN_COUNT];
    size_t first = PD_JOIN_COUNT - n;

    if (n > PD_JOIN_COUNT)
        return 0;
    for (size_t i = 0; i < PD_JOIN_COUNT; i++)
        fds[i] = i < first ? -1 : received[i - first];
    if (fork_one(message, fds))
        return 1;
    for (size_t i = 0; i < n; i++)
        close(received[i]);
    return 0;
}

/* Returns 1 in a child, -1 at the end of the socket, else 0. */
static int on_message(void)
{
    static struct {
        struct zygote_message head;
        struct pd_confine confine;
    } message;
    int fds[PD_JOIN_COUNT];
    size_t n_fds;
    int len = receive(&message, sizeof message, fds, &n_fds);

    if (len <= 0)
        return len < 0 && errno == EINTR ? 0 : -1;
    if (message.head.type == ZYGOTE_CONFINE)
        memcpy(&state.confine, &message.confine,
               (size_t)len - offsetof(__typeof__(message), confine));
    return message.head.type == ZYGOTE_FORK ? on_fork(&message.head, fds, n_fds) : 0;
}

static PyObject *serve(PyObject *self, PyObject *arg)
{
    struct zygote_message ready = {.type = ZYGOTE_IS_READY};
    struct sigaction action;
    sigset_t blocked, open;
    int result = 0;

    (void)self;
    state.sock = (int)PyLong_AsLong(arg);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGCHLD, &action, NULL);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &open);
    tell(&ready);
    while (result == 0) {
        struct pollfd fd = {.fd = state.sock, .events = POLLIN};
        int n = ppoll(&fd, 1, NULL, &open);
        reap();
        if (n > 0)
            result = on_message();
    }
    if (result < 0)
        _exit(0);
    return Py_BuildValue("(ii)", PD_SPARE_GO_FD, PD_SPARE_READY_FD);
}

static method_def methods[] = {
    {"serve", serve, METHOD_ONE_ARGUMENT, NULL},
    {NULL, NULL, 0, NULL},
};
static module_def definition = {
    .base = {.refcount = 1},
    .name = "pdspare",
    .size = -1,
    .methods = methods,
};

PyObject *PyInit_pdspare(void)
{
    return PyModule_Create2(&definition, LIMITED_API_VERSION);
}
