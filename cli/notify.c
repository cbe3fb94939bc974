#include "cli/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A path, or a name in the abstract namespace, which begins with '@'. */
static int connect_to(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    int fd;

    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address,
                           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* What lies between two words to the watchdog, in ms; 0: nobody watches, or somebody
 * else is meant. */
static uint64_t watchdog_ms(void)
{
    const char *text = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    unsigned long long us = text ? strtoull(text, NULL, 10) : 0;

    if (pid && strtol(pid, NULL, 10) != getpid())
        return 0;
    return us / 2000;
}

static void on_watchdog(uv_timer_t *timer)
{
    pd_notify(timer->data, "WATCHDOG=1");
}

void pd_notify_open(struct pd_notify *notify, uv_loop_t *loop)
{
    const char *name = getenv("NOTIFY_SOCKET");
    uint64_t every_ms = watchdog_ms();

    notify->fd = name ? connect_to(name) : -1;
    uv_timer_init(loop, &notify->watchdog);
    notify->watchdog.data = notify;
    if (notify->fd >= 0 && every_ms > 0)
        uv_timer_start(&notify->watchdog, on_watchdog, 0, every_ms);
    uv_unref((uv_handle_t *)&notify->watchdog);
}

void pd_notify_close(struct pd_notify *notify)
{
    uv_close((uv_handle_t *)&notify->watchdog, NULL);
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

void pd_notify(struct pd_notify *notify, const char *text)
{
    if (notify->fd < 0)
        return;
    while (send(notify->fd, text, strlen(text), MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue;
}
