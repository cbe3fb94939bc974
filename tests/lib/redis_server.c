#include "tests/lib/redis_server.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/time.h"
#include "tests/lib/tls_front.h"

#define START_TIMEOUT_MS 30000
#define ARGS_MAX 64

struct pd_redis_server {
    char dir[64];
    int port, tls_port;
    char *unix_url, *tcp_url, *tls_url;
    const char *extra[ARGS_MAX];
    size_t n_extra;
    pid_t pid; /* 0: not running */
};

const char *pd_redis_server_lacks(void)
{
    return access("/usr/bin/redis-server", X_OK) == 0 ? NULL : "redis-server is not installed";
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        abort();
    close(fd);
    return ntohs(address.sin_port);
}

static void child(const struct pd_redis_server *server)
{
    char port[16], tls_port[16];
    const char *argv[ARGS_MAX + 40] = {"redis-server",
                                       "--port",
                                       port,
                                       "--tls-port",
                                       tls_port,
                                       "--bind",
                                       "127.0.0.1",
                                       "--unixsocket",
                                       "redis.sock",
                                       "--tls-cert-file",
                                       "server.pem",
                                       "--tls-key-file",
                                       "server-key.pem",
                                       "--tls-ca-cert-file",
                                       "ca.pem",
                                       "--save",
                                       "",
                                       "--logfile",
                                       "log",
                                       "--enable-debug-command",
                                       "yes",
                                       NULL};
    size_t n = 0;

    while (argv[n])
        n++;
    for (size_t i = 0; i < server->n_extra; i++)
        argv[n++] = server->extra[i];
    snprintf(port, sizeof port, "%d", server->port);
    snprintf(tls_port, sizeof tls_port, "%d", server->tls_port);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(server->dir) == 0 && freopen("/dev/null", "w", stdout))
        execv("/usr/bin/redis-server", (char **)(uintptr_t)argv);
    _exit(127);
}

bool pd_redis_server_cli(struct pd_redis_server *server, const char *words)
{
    pd_autofree char *command =
        pd_asprintf("exec redis-cli -e -s %s/redis.sock %s >/dev/null 2>&1", server->dir, words);

    return system(command) == 0;
}

void pd_redis_server_start(struct pd_redis_server *server)
{
    struct pd_time since = pd_time_now();

    server->pid = fork();
    if (server->pid == 0)
        child(server);
    /* It may ask for a password; LOADING is no start. */
    while (!pd_redis_server_cli(server, "PING 2>&1 | grep -Eq 'PONG|NOAUTH'")) {
        if (pd_time_ms_between(since, pd_time_now()) > START_TIMEOUT_MS) {
            fprintf(stderr, "redis-server does not start; see %s/log\n", server->dir);
            abort();
        }
        usleep(10000);
    }
}

struct pd_redis_server *pd_redis_server_new(const char *const *extra)
{
    struct pd_redis_server *server = PD_NEW(struct pd_redis_server);

    pd_strcpy(server->dir, sizeof server->dir, "/tmp/paddock-redis-XXXXXX");
    if (!mkdtemp(server->dir))
        abort();
    pd_tls_front_certify(server->dir);
    for (; extra && extra[server->n_extra]; server->n_extra++)
        server->extra[server->n_extra] = extra[server->n_extra];
    server->port = free_port();
    server->tls_port = free_port();
    server->unix_url = pd_asprintf("unix://%s/redis.sock", server->dir);
    server->tcp_url = pd_asprintf("redis://127.0.0.1:%d", server->port);
    server->tls_url = pd_asprintf("rediss://127.0.0.1:%d/0", server->tls_port);
    pd_redis_server_start(server);
    return server;
}

const char *pd_redis_server_dir(const struct pd_redis_server *server)
{
    return server->dir;
}

const char *pd_redis_server_unix_url(const struct pd_redis_server *server)
{
    return server->unix_url;
}

const char *pd_redis_server_tcp_url(const struct pd_redis_server *server)
{
    return server->tcp_url;
}

const char *pd_redis_server_tls_url(const struct pd_redis_server *server)
{
    return server->tls_url;
}

int pd_redis_server_port(const struct pd_redis_server *server)
{
    return server->port;
}

void pd_redis_server_kill(struct pd_redis_server *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void pd_redis_server_freeze(struct pd_redis_server *server, bool frozen)
{
    kill(server->pid, frozen ? SIGSTOP : SIGCONT);
}

void pd_redis_server_free(struct pd_redis_server *server)
{
    pd_autofree char *command = pd_asprintf("rm -rf %s", server->dir);

    pd_redis_server_kill(server);
    if (system(command) != 0)
        abort();
    free(server->unix_url);
    free(server->tcp_url);
    free(server->tls_url);
    free(server);
}
