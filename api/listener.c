#include "api/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/holder.h"
#include "common/log.h"
#include "common/mem.h"

#define BACKLOG 4096
#define ACCEPTS_PER_TURN 64 /* others on the loop want their turn too */

struct pd_listener {
    uv_poll_t poll;
    int fd;
    int spare; /* given up for a moment when descriptors run out */
    int port;
    bool closing;
    void (*on_accept)(void *arg, int fd);
    void *arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void raise_files_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= PD_LISTENER_FILES_MAX)
        return;
    limit.rlim_cur =
        limit.rlim_max < PD_LISTENER_FILES_MAX ? limit.rlim_max : PD_LISTENER_FILES_MAX;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        pd_log(PD_LOG_WARN, "listener", "cannot raise the limit of open files", "err",
               strerror(errno), NULL);
}

/* Out of descriptors: take one connection and hang up on it, or it would wake
 * us for ever. */
static void shed_one(struct pd_listener *listener)
{
    int fd;

    close(listener->spare);
    fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pd_log(PD_LOG_WARN, "listener", "out of file descriptors: a connection was refused", NULL);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct pd_listener *listener = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && !listener->closing; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->on_accept(listener->arg, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            shed_one(listener);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t len;
};

static int parse_address(const char *text, int port, struct address *ret, struct pd_err *err)
{
    *ret = (struct address){.len = sizeof ret->v4};
    if (uv_ip4_addr(text, port, &ret->v4) == 0)
        return 0;
    ret->len = sizeof ret->v6;
    if (uv_ip6_addr(text, port, &ret->v6) == 0)
        return 0;
    return pd_err_set(err, PD_INVALID, "'%s' is no numeric IPv4 or IPv6 address", text);
}

bool pd_address_is_loopback(const char *address)
{
    struct address parsed;

    if (parse_address(address, 0, &parsed, NULL) < 0)
        return false;
    if (parsed.any.sa_family == AF_INET)
        return ntohl(parsed.v4.sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&parsed.v6.sin6_addr);
}

static int bind_err(const char *text, int port, int os, struct pd_err *err)
{
    char holder[128];

    if (os != EADDRINUSE)
        return pd_err_os(err, os == EACCES ? PD_DENIED : PD_UNAVAILABLE, os, "listen on %s port %d",
                         text, port);
    if (pd_port_holder(port, holder, sizeof holder))
        return pd_err_set(err, PD_UNAVAILABLE, "%s port %d is taken by %s", text, port, holder);
    return pd_err_set(err, PD_UNAVAILABLE,
                      "%s port %d is taken, by a process that cannot be seen from here", text,
                      port);
}

static int open_socket(const char *text, int port, int *ret_fd, struct pd_err *err)
{
    struct address address;
    int on = 1;
    int fd;

    if (parse_address(text, port, &address, err) < 0)
        return PD_INVALID;
    fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return pd_err_os(err, PD_INTERNAL, errno, "socket");
    /* Linux hands TCP_NODELAY on to accepted sockets. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        bind(fd, &address.any, address.len) < 0 || listen(fd, BACKLOG) < 0) {
        int os = errno;
        close(fd);
        return bind_err(text, port, os, err);
    }
    *ret_fd = fd;
    return 0;
}

static int bound_port(int fd)
{
    struct address address = {.len = sizeof address.v6};

    if (getsockname(fd, &address.any, &address.len) < 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
}

int pd_listener_open(uv_loop_t *loop, const char *address, int port,
                     void (*on_accept)(void *arg, int fd), void *arg,
                     struct pd_listener **ret_listener, struct pd_err *err)
{
    struct pd_listener *listener;
    int fd = -1;
    int rc = open_socket(address, port, &fd, err);

    if (rc < 0)
        return rc;
    raise_files_limit();
    listener = PD_NEW(struct pd_listener);
    listener->fd = fd;
    listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    listener->port = bound_port(fd);
    listener->on_accept = on_accept;
    listener->arg = arg;
    listener->poll.data = listener;
    rc = uv_poll_init(loop, &listener->poll, fd);
    if (rc == 0)
        rc = uv_poll_start(&listener->poll, UV_READABLE, on_readable);
    if (rc < 0)
        abort(); /* a fresh socket can always be polled */
    *ret_listener = listener;
    return 0;
}

int pd_listener_port(const struct pd_listener *listener)
{
    return listener->port;
}

static void on_closed(uv_handle_t *handle)
{
    struct pd_listener *listener = handle->data;
    void (*closed)(void *arg) = listener->closed;
    void *arg = listener->closed_arg;

    close(listener->fd);
    close(listener->spare);
    free(listener);
    if (closed)
        closed(arg);
}

void pd_listener_close(struct pd_listener *listener, void (*closed)(void *arg), void *arg)
{
    if (listener->closing)
        return;
    listener->closing = true;
    listener->closed = closed;
    listener->closed_arg = arg;
    uv_close((uv_handle_t *)&listener->poll, on_closed);
}
