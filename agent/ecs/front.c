/* The front of an ECS task's agent: a process of its own, without privilege, that
 * turns TLS connections into the one pair of streams that the agent knows.
 *
 * Theory of operation. A connection has a slot; a slot is OPENING until its peer
 * has shown that the owner's key is his (the handshake) and has sent an ATTACH of
 * a newer epoch than any before. Then it is the owner, and whoever was it before
 * is cut off. Nobody else gets a byte of the agent's or reaches it with one. Who
 * does not get that far in time is dropped; where all slots are taken the oldest
 * that is still opening makes room.
 *
 * While there is no owner, what the agent says goes nowhere, as with an engine's
 * attach stream. Nothing is buffered here but by the kernel and TLS: a stream is
 * read only where what was read before has room to go.
 *
 * The front ends when the agent does; when the task is to stop (SIGTERM) and no
 * owner is there, at once. The agent ends when the front does. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/ecs/ecs.h"
#include "agent/sys.h"
#include "common/proto.h"

#define GOODBYE_US INT64_C(2000000) /* the peer confirms the end within that, or not */

enum slot_use { SLOT_EMPTY, SLOT_OPENING, SLOT_OWNER };

struct connection {
    enum slot_use use;
    int fd;
    int64_t since_us;
};

struct front {
    int agent, listener, signals;
    struct connection connections[ECS_SESSIONS_MAX];
    int owner;      /* which slot, -1 none */
    uint32_t epoch; /* the newest that was attached */
    bool stopping;
    int64_t end_by_us; /* the agent has ended; its last words are on their way until then */
};

/* ---- connections ---- */

static void drop(struct front *front, int i)
{
    struct connection *connection = &front->connections[i];

    close(connection->fd);
    connection->use = SLOT_EMPTY;
    if (front->owner == i)
        front->owner = -1;
}

static int free_slot(struct front *front)
{
    int oldest = -1;

    for (int i = 0; i < ECS_SESSIONS_MAX; i++) {
        const struct connection *connection = &front->connections[i];
        if (connection->use == SLOT_EMPTY)
            return i;
        if (connection->use == SLOT_OPENING &&
            (oldest < 0 || connection->since_us < front->connections[oldest].since_us))
            oldest = i;
    }
    drop(front, oldest);
    return oldest;
}

static void keep_alive(int fd)
{
    static const int on = 1, idle_s = 15, interval_s = 5, probes = 3;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static void take_connection(struct front *front)
{
    int fd = accept4(front->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), i;

    if (fd < 0)
        return;
    i = free_slot(front);
    keep_alive(fd);
    if (!tls_open((unsigned)i)) {
        close(fd);
        return;
    }
    front->connections[i] = (struct connection){SLOT_OPENING, fd, sys_now_us()};
}

/* ---- who may become the owner ---- */

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The first bytes of a peer that holds the key: only an ATTACH of a newer epoch
 * gets further. They are not used up here. The service writes that frame's head
 * at once, so it comes in one record. */
static void consider(struct front *front, int i)
{
    size_t len;
    const uint8_t *data = tls_data((unsigned)i, &len);

    if (!data)
        return;
    if (len < PD_FRAME_HEADER_BYTES || data[4] != PD_FRAME_ATTACH ||
        big_endian(data + 5) <= front->epoch) {
        drop(front, i);
        return;
    }
    front->epoch = big_endian(data + 5);
    if (front->owner >= 0)
        drop(front, front->owner);
    front->owner = i;
    front->connections[i].use = SLOT_OWNER;
}

/* ---- bytes ---- */

static void to_agent(struct front *front)
{
    size_t len;
    const uint8_t *data = tls_data((unsigned)front->owner, &len);
    ssize_t n;

    while (data && len > 0) {
        n = write(front->agent, data, len);
        if (n <= 0)
            return;
        tls_used((unsigned)front->owner, (size_t)n);
        data = tls_data((unsigned)front->owner, &len);
    }
}

static void from_agent(struct front *front)
{
    static uint8_t nowhere[16384];
    size_t len = sizeof nowhere;
    uint8_t *room = front->owner >= 0 ? tls_room((unsigned)front->owner, &len) : nowhere;
    ssize_t n;

    if (!room)
        return;
    n = read(front->agent, room, len);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        front->end_by_us = sys_now_us() + GOODBYE_US;
    else if (n > 0 && front->owner >= 0)
        tls_filled((unsigned)front->owner, (size_t)n);
    if (front->end_by_us && front->owner >= 0)
        tls_end((unsigned)front->owner);
}

/* Everything that one connection can do now. */
static void serve(struct front *front, int i, short events)
{
    struct connection *connection = &front->connections[i];
    bool alive = true;

    if (events & (POLLIN | POLLHUP | POLLERR))
        alive = tls_receive((unsigned)i, connection->fd);
    if (connection->use == SLOT_OPENING)
        consider(front, i);
    if (connection->use == SLOT_OWNER)
        to_agent(front);
    if (connection->use == SLOT_EMPTY)
        return;
    alive = tls_send((unsigned)i, connection->fd) && alive;
    if (!alive || tls_state((unsigned)i) == 0)
        drop(front, i);
}

/* ---- the loop ---- */

static short connection_events(unsigned i)
{
    unsigned state = tls_state(i);

    return (short)((state & TLS_WANTS_READ ? POLLIN : 0) | (state & TLS_WANTS_WRITE ? POLLOUT : 0));
}

static short agent_events(const struct front *front)
{
    unsigned state = front->owner >= 0 ? tls_state((unsigned)front->owner) : TLS_TAKES_DATA;

    return (short)((state & TLS_TAKES_DATA ? POLLIN : 0) | (state & TLS_HAS_DATA ? POLLOUT : 0));
}

static int drop_overdue(struct front *front)
{
    int64_t now = sys_now_us(), wait = front->end_by_us ? GOODBYE_US : -1;

    for (int i = 0; i < ECS_SESSIONS_MAX; i++) {
        const struct connection *connection = &front->connections[i];
        int64_t left = connection->since_us + ECS_OPENING_MS * INT64_C(1000) - now;
        if (connection->use != SLOT_OPENING)
            continue;
        if (left <= 0)
            drop(front, i);
        else if (wait < 0 || left < wait)
            wait = left;
    }
    return wait < 0 ? -1 : (int)(wait / 1000) + 1;
}

static void wait_and_serve(struct front *front)
{
    struct pollfd polled[ECS_SESSIONS_MAX + 3];
    int wait = drop_overdue(front);

    for (int i = 0; i < ECS_SESSIONS_MAX; i++) {
        bool used = front->connections[i].use != SLOT_EMPTY;
        polled[i].fd = used ? front->connections[i].fd : -1;
        polled[i].events = used ? connection_events((unsigned)i) : 0;
    }
    polled[ECS_SESSIONS_MAX] =
        (struct pollfd){front->end_by_us ? -1 : front->agent, agent_events(front), 0};
    polled[ECS_SESSIONS_MAX + 1] = (struct pollfd){front->listener, POLLIN, 0};
    polled[ECS_SESSIONS_MAX + 2] = (struct pollfd){front->signals, POLLIN, 0};
    if (poll(polled, ECS_SESSIONS_MAX + 3, wait) < 0)
        return;
    if (polled[ECS_SESSIONS_MAX].revents & (POLLIN | POLLHUP | POLLERR))
        from_agent(front);
    if (front->owner >= 0 && polled[ECS_SESSIONS_MAX].revents)
        serve(front, front->owner, 0);
    for (int i = 0; i < ECS_SESSIONS_MAX; i++) {
        if (polled[i].revents && front->connections[i].use != SLOT_EMPTY &&
            front->connections[i].fd == polled[i].fd)
            serve(front, i, polled[i].revents);
    }
    front->stopping |= polled[ECS_SESSIONS_MAX + 2].revents != 0;
    if (polled[ECS_SESSIONS_MAX + 1].revents)
        take_connection(front);
}

static int open_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

void ecs_front(int agent, int listener, const uint8_t owner[ECS_POINT_BYTES])
{
    static struct front front;

    front.agent = agent;
    front.listener = listener;
    front.signals = open_signals();
    front.owner = -1;
    signal(SIGPIPE, SIG_IGN);
    sys_set_nonblock(agent);
    if (front.signals < 0 || !tls_init(owner))
        _exit(1);
    for (;;) {
        wait_and_serve(&front);
        if (front.owner < 0 && (front.end_by_us || front.stopping))
            _exit(0);
        if (front.end_by_us && sys_now_us() >= front.end_by_us)
            _exit(0);
    }
}
