/* pdspare: what a waiting Python (agent/spares/python.py) needs that Python itself
 * does not offer.
 *
 * An extension module whose part of the C API is declared here by hand, so that
 * it builds without Python's headers and loads into any CPython from 3.9 on, with
 * glibc or musl: it is linked to nothing, and what it names is found in the
 * process that loads it.
 *
 *   serve(fd)            fork children into cells; returns only in such a child,
 *                        confined; the zygote itself stays inside until its
 *                        socket ends, then exits
 *   run(path, wait, save, is_nothing_left, before_the_end)
 *                        run the script with no Python frame below it and exit:
 *                        wait() returns when the script is there, save() is called
 *                        after it; where is_nothing_left(), the interpreter's own
 *                        end is left out, else before_the_end() goes before it
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
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

typedef struct PyThreadState PyThreadState;
typedef struct PyInterpreterState PyInterpreterState;

#define METHOD_ARGUMENTS 0x0001    /* METH_VARARGS */
#define METHOD_ONE_ARGUMENT 0x0008 /* METH_O */
#define LIMITED_API_VERSION 3
#define FILE_INPUT 257 /* Py_file_input */

PyObject *PyModule_Create2(module_def *def, int api_version);
long PyLong_AsLong(PyObject *object);
PyObject *Py_BuildValue(const char *format, ...);
int PyArg_ParseTuple(PyObject *args, const char *format, ...);
PyObject *PyObject_CallFunction(PyObject *callable, const char *format, ...);
void Py_DecRef(PyObject *object);
PyInterpreterState *PyInterpreterState_Get(void);
PyThreadState *PyThreadState_Get(void);
PyThreadState *PyThreadState_New(PyInterpreterState *interpreter);
PyThreadState *PyThreadState_Swap(PyThreadState *state);
void PyThreadState_Delete(PyThreadState *state);
PyObject *PyRun_FileExFlags(FILE *file, const char *name, int start, PyObject *globals,
                            PyObject *locals, int close, void *flags);
PyObject *PyErr_Occurred(void);
void PyErr_Fetch(PyObject **type, PyObject **value, PyObject **traceback);
void PyErr_NormalizeException(PyObject **type, PyObject **value, PyObject **traceback);
void PyErr_Restore(PyObject *type, PyObject *value, PyObject *traceback);
void PyErr_Clear(void);
void PyErr_Print(void);
PyObject *PySys_GetObject(const char *name);
PyObject *PyImport_AddModule(const char *name); /* borrowed */
PyObject *PyModule_GetDict(PyObject *module);   /* likewise */
int PyDict_DelItemString(PyObject *dict, const char *key);
PyObject *PyObject_GetAttrString(PyObject *object, const char *name);
int PyObject_IsTrue(PyObject *object);
int Py_FinalizeEx(void);
PyObject *PyObject_CallMethod(PyObject *object, const char *name, const char *format, ...);
extern char _Py_NoneStruct;
extern PyObject *PyExc_SystemExit, *PyExc_KeyboardInterrupt;
void PyOS_BeforeFork(void);
void PyOS_AfterFork_Parent(void);
void PyOS_AfterFork_Child(void);
PyObject *PyInit_pdspare(void);

/* ---- the zygote ---- */

static struct {
    int sock;
    struct pd_confine confine;
    unsigned long long libraries; /* loaded when the program began */
    pid_t pid;                    /* the program's own, not a child's of it */
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
    struct zygote_message reply = {.type = ZYGOTE_FORKED, .ticket = message->ticket};
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
    /* Where programs may run as the same user in the same namespaces. */
    if (message.head.type == ZYGOTE_CONFINE && !state.confine.has_cell)
        prctl(PR_SET_DUMPABLE, 0);
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
    return Py_BuildValue("");
}

/* ---- the program ---- */

/* A thread state without frames takes the place of the present one, for good:
 * also where PyGILState_Ensure looks (it is bound to the first state that is made
 * while none is). */
static void leave_frames(void)
{
    PyInterpreterState *interpreter = PyInterpreterState_Get();
    PyThreadState *left = PyThreadState_Get();
    PyThreadState *between = PyThreadState_New(interpreter);
    PyThreadState *fresh;

    PyThreadState_Swap(between);
    PyThreadState_Delete(left);
    fresh = PyThreadState_New(interpreter);
    PyThreadState_Swap(fresh);
    PyThreadState_Delete(between);
}

/* As after any script, whether it failed or not. */
static void flush_streams(void)
{
    static const char *const names[] = {"stderr", "stdout"};
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    for (size_t i = 0; i < 2; i++) {
        PyObject *stream = PySys_GetObject(names[i]);
        PyObject *result = stream ? PyObject_CallMethod(stream, "flush", NULL) : NULL;
        if (result)
            Py_DecRef(result);
        else
            PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
}

static int on_library(struct dl_phdr_info *info, size_t size, void *adds)
{
    (void)size;
    *(unsigned long long *)adds = info->dlpi_adds;
    return 1;
}

/* Libraries loaded so far in the life of this process. */
static unsigned long long libraries_loaded(void)
{
    unsigned long long adds = 0;

    dl_iterate_phdr(on_library, &adds);
    return adds;
}

/* Libraries that the program has loaded may have something to do at the end;
 * those that were there before it have not, and finding that out costs time. */
static void leave(int status)
{
    if (libraries_loaded() != state.libraries)
        exit(status);
    fflush(NULL);
    if (getpid() == state.pid) {
        struct pd_spare_done done = {PD_SPARE_DONE, status & 0xff};
        /* Killed from here on, once the agent has read what was used. */
        while (write(PD_SPARE_DONE_FD, &done, sizeof done) == sizeof done)
            pause();
    }
    _exit(status);
}

/* A tracing program would see our own functions. */
static int is_traced(void)
{
    static const char *const names[] = {"gettrace", "getprofile"};
    PyObject *type, *value, *traceback, *sys;
    int traced = 0;

    PyErr_Fetch(&type, &value, &traceback);
    sys = PyImport_AddModule("sys");
    for (size_t i = 0; i < 2; i++) {
        PyObject *hook = PyObject_CallMethod(sys, names[i], NULL);
        traced |= hook != (PyObject *)&_Py_NoneStruct;
        if (hook)
            Py_DecRef(hook);
    }
    PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return traced;
}

/* Whether it returned something true, whatever exception is pending. */
static int call(PyObject *function)
{
    PyObject *type, *value, *traceback, *result;
    int truth;

    PyErr_Fetch(&type, &value, &traceback);
    result = PyObject_CallFunction(function, NULL);
    truth = result ? PyObject_IsTrue(result) : 0;
    if (result)
        Py_DecRef(result);
    else
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return truth;
}

/* A plain SystemExit is over with when its number is known; every other kind is
 * left to Python (Python/pythonrun.c, handle_system_exit). */
static int take_system_exit(long *ret_status)
{
    PyObject *type, *value, *traceback, *code = NULL;
    int taken;

    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (type == PyExc_SystemExit)
        code = PyObject_GetAttrString(value, "code");
    *ret_status = !code || code == (PyObject *)&_Py_NoneStruct ? 0 : PyLong_AsLong(code);
    taken = code && !PyErr_Occurred() && *ret_status >= 0 && *ret_status <= 255;
    PyErr_Clear();
    if (code)
        Py_DecRef(code);
    if (!taken) {
        PyErr_Restore(type, value, traceback);
        return 0;
    }
    Py_DecRef(type);
    Py_DecRef(value);
    if (traceback)
        Py_DecRef(traceback);
    return 1;
}

static void delete_file_names(PyObject *globals)
{
    if (PyDict_DelItemString(globals, "__file__") < 0)
        PyErr_Clear();
    if (PyDict_DelItemString(globals, "__cached__") < 0)
        PyErr_Clear();
}

/* As Python ends after its script (Python/pythonrun.c, _PyRun_SimpleFile, and
 * Modules/main.c, Py_RunMain). */
static void end(PyObject *result, PyObject *save, PyObject *is_nothing_left,
                PyObject *before_the_end)
{
    int interrupted = !result && PyErr_Occurred() == PyExc_KeyboardInterrupt, finished = 1;
    int traced = is_traced();
    long status = 0;

    if (!traced)
        call(save);
    if (!result)
        finished = take_system_exit(&status);
    if (finished && !traced && call(is_nothing_left))
        leave((int)status);
    call(before_the_end);
    if (!finished) {
        status = 1;
        PyErr_Print(); /* ends here for a SystemExit */
    }
    if (result || !finished)
        delete_file_names(PyModule_GetDict(PyImport_AddModule("__main__")));
    if (Py_FinalizeEx() < 0)
        status = 120;
    if (interrupted) {
        fflush(NULL);
        signal(SIGINT, SIG_DFL);
        kill(getpid(), SIGINT);
    }
    leave((int)status);
}

static PyObject *run(PyObject *self, PyObject *args)
{
    PyObject *wait_for_it, *save, *is_nothing_left, *before_the_end, *result, *globals;
    const char *path;
    FILE *file;

    (void)self;
    if (!PyArg_ParseTuple(args, "yOOOO", &path, &wait_for_it, &save, &is_nothing_left,
                          &before_the_end))
        return NULL;
    state.libraries = libraries_loaded();
    state.pid = getpid();
    leave_frames();
    result = PyObject_CallFunction(wait_for_it, NULL);
    if (!result) {
        PyErr_Print();
        _exit(126);
    }
    Py_DecRef(result);
    file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "python3: can't open file '%s': [Errno %d] %s\n", path, errno,
                strerror(errno));
        exit(2);
    }
    globals = PyModule_GetDict(PyImport_AddModule("__main__"));
    result = PyRun_FileExFlags(file, path, FILE_INPUT, globals, globals, 1, NULL);
    flush_streams();
    end(result, save, is_nothing_left, before_the_end);
    return NULL;
}

static void run_nothing(FILE *file, PyObject *globals)
{
    PyObject *result =
        file ? PyRun_FileExFlags(file, "", FILE_INPUT, globals, globals, 1, NULL) : NULL;

    if (result)
        Py_DecRef(result);
    else
        PyErr_Clear();
}

/* Open, parse and run as run() will, but nothing: there is no script yet. */
static PyObject *rehearse(PyObject *self, PyObject *globals)
{
    static char text[] = "a = [1, 2]\nfor b in a:\n    c = str(b)\n";

    (void)self;
    run_nothing(fmemopen(text, sizeof text - 1, "r"), globals);
    run_nothing(fopen("/dev/null", "rb"), globals);
    return Py_BuildValue("");
}

static method_def methods[] = {
    {"serve", serve, METHOD_ONE_ARGUMENT, NULL},
    {"run", run, METHOD_ARGUMENTS, NULL},
    {"rehearse", rehearse, METHOD_ONE_ARGUMENT, NULL},
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
