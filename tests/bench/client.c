/* A load client that is not the bottleneck: keep-alive HTTP/1.1 on raw sockets,
 * one thread, one run outstanding per connection.
 *
 *   bench_client HOST PORT KEY LANGUAGE RUNS CONNECTIONS [PAUSE_MS]
 *
 * With a pause, every connection rests that long between its runs.
 * Every program prints a nonce of its own, and every answer must carry it. One
 * line of `name=value` pairs comes out: runs, failed, seconds, runs_s; p50, p90,
 * p99, max in microseconds; and how many began from which kind of start. The
 * slowest answer goes to stderr. Exit status 1 when any answer was wrong. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define ANSWER_MAX 65536
#define FAILURES_SHOWN 5

struct connection {
    int fd;
    bool busy;
    int64_t began_ns;
    unsigned long nonce;
    char answer[ANSWER_MAX + 1];
    size_t len;
};

static const char *const starts[] = {"zygote", "spare", "cell", "cold"};
#define STARTS (sizeof starts / sizeof *starts)

struct load {
    const char *host, *key, *language;
    int port;
    long runs, sent, done, failed;
    useconds_t pause_us; /* before each further run */
    uint32_t *us; /* time of each run */
    long started[STARTS];
    uint32_t slowest_us;
    char slowest[ANSWER_MAX + 1];
    int epoll;
    unsigned long salt;
    struct connection *connections;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void connect_one(struct load *load, struct connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load->port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || inet_pton(AF_INET, load->host, &to.sin_addr) != 1 ||
        connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("epoll_ctl");
}

static const char *program(const char *language)
{
    if (strcmp(language, "javascript") == 0)
        return "console.log('n%lu')";
    return strcmp(language, "bash") == 0 ? "echo n%lu" : "print('n%lu')";
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void send_run(struct load *load, struct connection *c)
{
    char code[128], body[512], text[1024];
    int body_len, len;

    c->nonce = load->salt + (unsigned long)load->sent++;
    c->len = 0;
    c->busy = true;
    snprintf(code, sizeof code, program(load->language), c->nonce);
    body_len = snprintf(body, sizeof body, "{\"code\":\"%s\",\"language\":\"%s\",\"timeout\":30}",
                        code, load->language);
    len = snprintf(text, sizeof text,
                   "POST /execute HTTP/1.1\r\nHost: %s:%d\r\nX-API-Key: %s\r\nContent-Type: "
                   "application/json\r\nContent-Length: %d\r\n\r\n%s",
                   load->host, load->port, load->key, body_len, body);
    c->began_ns = now_ns();
    if (send(c->fd, text, (size_t)len, MSG_NOSIGNAL) != len)
        die("send");
}
#pragma GCC diagnostic pop

/* The length of the whole answer once its head is there, else 0. */
static size_t answer_length(const struct connection *c)
{
    const char *end = strstr(c->answer, "\r\n\r\n");
    const char *length = strcasestr(c->answer, "\r\ncontent-length:");

    if (!end)
        return 0;
    if (!length || length > end) {
        fprintf(stderr, "an answer without Content-Length:\n%s\n", c->answer);
        exit(2);
    }
    return (size_t)(end + 4 - c->answer) + strtoul(length + 17, NULL, 10);
}

static void note_start(struct load *load, const struct connection *c)
{
    char wanted[32];

    for (size_t i = 0; i < STARTS; i++) {
        snprintf(wanted, sizeof wanted, "\"start\":\"%s\"", starts[i]);
        load->started[i] += strstr(c->answer, wanted) != NULL;
    }
}

static void finish(struct load *load, struct connection *c)
{
    uint32_t us = (uint32_t)((now_ns() - c->began_ns) / 1000);
    char wanted[64];

    load->us[load->done++] = us;
    c->busy = false;
    note_start(load, c);
    if (us > load->slowest_us) {
        load->slowest_us = us;
        memcpy(load->slowest, c->answer, c->len + 1);
    }
    snprintf(wanted, sizeof wanted, "\"output\":\"n%lu\\n\"", c->nonce);
    if (strncmp(c->answer, "HTTP/1.1 200", 12) != 0 || !strstr(c->answer, wanted)) {
        if (load->failed++ < FAILURES_SHOWN)
            fprintf(stderr, "wrong answer to n%lu:\n%s\n", c->nonce, c->answer);
    }
}

static void on_readable(struct load *load, struct connection *c)
{
    ssize_t n = recv(c->fd, c->answer + c->len, ANSWER_MAX - c->len, 0);
    size_t whole;

    if (n <= 0) {
        fprintf(stderr, "the service closed the connection (%s)\n", n < 0 ? strerror(errno) : "end");
        exit(2);
    }
    c->len += (size_t)n;
    c->answer[c->len] = '\0';
    whole = answer_length(c);
    if (whole == 0 || c->len < whole)
        return;
    finish(load, c);
    if (load->pause_us)
        usleep(load->pause_us);
    if (load->sent < load->runs)
        send_run(load, c);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(struct load *load, int64_t took_ns)
{
    double seconds = (double)took_ns / 1e9;
    size_t n = (size_t)load->done;

    qsort(load->us, n, sizeof *load->us, by_value);
    printf("runs=%ld failed=%ld seconds=%.3f runs_s=%.1f p50=%u p90=%u p99=%u max=%u", load->done,
           load->failed, seconds, (double)load->done / seconds, load->us[n / 2],
           load->us[n * 9 / 10], load->us[n * 99 / 100], load->us[n - 1]);
    for (size_t i = 0; i < STARTS; i++)
        printf(" %s=%ld", starts[i], load->started[i]);
    putchar('\n');
    fprintf(stderr, "slowest, %u us: %s\n", load->slowest_us,
            strstr(load->slowest, "\r\n\r\n") ? strstr(load->slowest, "\r\n\r\n") + 4 : "");
}

int main(int argc, char **argv)
{
    static struct load load;
    int64_t began;
    long width;

    if (argc != 7 && argc != 8) {
        fputs("usage: bench_client HOST PORT KEY LANGUAGE RUNS CONNECTIONS [PAUSE_MS]\n", stderr);
        return 2;
    }
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.host = argv[1];
    load.port = (int)strtol(argv[2], NULL, 10);
    load.key = argv[3];
    load.language = argv[4];
    load.runs = strtol(argv[5], NULL, 10);
    width = strtol(argv[6], NULL, 10);
    load.pause_us = argc == 8 ? (useconds_t)strtoul(argv[7], NULL, 10) * 1000 : 0;
    if (load.runs < 1 || width < 1 || width > CONNECTIONS_MAX)
        return 2;
    load.salt = (unsigned long)now_ns() % 1000000000ul * 1000000ul;
    load.us = calloc((size_t)load.runs, sizeof *load.us);
    load.connections = calloc((size_t)width, sizeof *load.connections);
    if (!load.us || !load.connections)
        die("calloc");
    for (long i = 0; i < width; i++)
        connect_one(&load, &load.connections[i]);
    began = now_ns();
    for (long i = 0; i < width && load.sent < load.runs; i++)
        send_run(&load, &load.connections[i]);
    while (load.done < load.runs) {
        struct epoll_event events[64];
        int n = epoll_wait(load.epoll, events, 64, 120000);
        if (n == 0) {
            fputs("no answer for two minutes\n", stderr);
            return 2;
        }
        for (int i = 0; i < n; i++)
            on_readable(&load, events[i].data.ptr);
    }
    report(&load, now_ns() - began);
    return load.failed ? 1 : 0;
}
