#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ecs/ecs.h"

extern char **environ;

static void die(const char *what) __attribute__((noreturn));

static void die(const char *what)
{
    fprintf(stderr, "paddock-agent: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_owner(uint8_t owner[ECS_POINT_BYTES])
{
    const char *text = getenv(ECS_OWNER_VARIABLE);

    if (!text || strlen(text) != 2 * ECS_POINT_BYTES)
        return false;
    for (size_t i = 0; i < ECS_POINT_BYTES; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        owner[i] = (uint8_t)(high * 16 + low);
    }
    return owner[0] == 4;
}

/* What the platform tells its containers is not for programs: where the task's
 * metadata and credentials are to be had. */
static void forget_platform(void)
{
    static const char *const prefixes[] = {"ECS_", "AWS_", "PADDOCK_"};
    char **to = environ;

    for (char **from = environ; *from; from++) {
        bool hidden = false;
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
            hidden |= strncmp(*from, prefixes[i], strlen(prefixes[i])) == 0;
        if (!hidden)
            *to++ = *from;
    }
    *to = NULL;
}

static int open_listener(void)
{
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6, .sin6_port = htons(ECS_PORT), .sin6_addr = in6addr_any};
    struct sockaddr_in address4 = {.sin_family = AF_INET, .sin_port = htons(ECS_PORT)};
    static const int on = 1, off = 0;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 16) == 0)
            return fd;
        close(fd);
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address4, sizeof address4) < 0 || listen(fd, 16) < 0)
        die("listen for the service");
    return fd;
}

/* In the front: what an intruder would find here is a user without rights, one
 * stream and nothing to start a program with. */
static void become_nobody(void)
{
    const struct rlimit none = {0, 0};

    if (getuid() == 0 &&
        (setgroups(0, NULL) < 0 || setresgid(ECS_FRONT_UID, ECS_FRONT_UID, ECS_FRONT_UID) < 0 ||
         setresuid(ECS_FRONT_UID, ECS_FRONT_UID, ECS_FRONT_UID) < 0))
        die("give up the front's privileges");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_NPROC, &none);
    setrlimit(RLIMIT_FSIZE, &none);
}

/* The platform makes them 1777, or 755 where the image has no such folder. Where each
 * run has a uid of its own only what is below them is for runs; else they are the
 * plain user's. */
static void set_folders(bool plain)
{
    static const char *const folders[] = {"/workspace", "/run/paddock", "/tmp", "/var/tmp"};

    if (getuid() != 0)
        return;
    for (size_t i = 0; plain && i < sizeof folders / sizeof folders[0]; i++)
        (void)!chown(folders[i], ECS_PLAIN_UID, ECS_PLAIN_UID);
    for (size_t i = 0; !plain && i < 2; i++)
        (void)!chmod(folders[i], 0711);
}

/* Isolation container: the agent and its one program are of a user without rights. The
 * front is another one's, so that whoever ends all of the program's does not end it. */
static void become_plain(void)
{
    if (getuid() != 0)
        return;
    if (setgroups(0, NULL) < 0 || setresgid(ECS_PLAIN_UID, ECS_PLAIN_UID, ECS_PLAIN_UID) < 0 ||
        setresuid(ECS_PLAIN_UID, ECS_PLAIN_UID, ECS_PLAIN_UID) < 0)
        die("give up the agent's privileges");
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* as after an exec; the agent sees to it */
}

static pid_t start_front(void)
{
    uint8_t owner[ECS_POINT_BYTES];
    int listener, pair[2];
    pid_t pid;

    if (!read_owner(owner)) {
        errno = EINVAL;
        die(ECS_OWNER_VARIABLE);
    }
    listener = open_listener();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || (pid = fork()) < 0)
        die("start the front");
    if (pid == 0) {
        close(pair[0]);
        become_nobody();
        ecs_front(pair[1], listener, owner);
    }
    close(pair[1]);
    close(listener);
    if (dup2(pair[0], STDIN_FILENO) < 0 || dup2(pair[0], STDOUT_FILENO) < 0)
        die("reach the front");
    close(pair[0]);
    return pid;
}

pid_t ecs_begin(int argc, char **argv)
{
    bool plain = getenv(ECS_PLAIN_VARIABLE) != NULL;
    pid_t front;

    if (argc == 3 && strcmp(argv[1], "install") == 0)
        _exit(ecs_install(argv[2]));
    set_folders(plain);
    front = start_front();
    if (plain)
        become_plain();
    forget_platform();
    return front;
}
