#include "tests/lib/postgres_server.h"

#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/time.h"

#define START_TIMEOUT_MS 60000
#define ANSWER_BYTES 65536

struct pd_postgres_server {
    char dir[64];
    char bin[128]; /* the folder of its programs */
    char *url;
    pid_t pid; /* 0: not running */
    char answer[ANSWER_BYTES];
};

static bool find_programs(char out[static 128])
{
    glob_t found;
    bool there = glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0;

    if (there) {
        snprintf(out, 128, "%s", found.gl_pathv[found.gl_pathc - 1]);
        *strrchr(out, '/') = '\0';
    }
    globfree(&found);
    return there;
}

const char *pd_postgres_server_lacks(void)
{
    char bin[128];

    if (!find_programs(bin))
        return "PostgreSQL is not installed";
    return geteuid() == 0 && !getpwnam("postgres") ? "there is no user postgres" : NULL;
}

/* In the child: nobody who is root. */
static void drop_root(void)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;

    if (user && (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* setuid clears it */
}

static pid_t spawn(struct pd_postgres_server *server, char *const *argv)
{
    pid_t pid = fork();

    if (pid == 0) {
        drop_root();
        if (chdir(server->dir) == 0 && freopen("log", "a", stdout) && freopen("log", "a", stderr))
            execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

void pd_postgres_server_start(struct pd_postgres_server *server)
{
    pd_autofree char *program = pd_asprintf("%s/postgres", server->bin);
    pd_autofree char *ready = pd_asprintf("%s/pg_isready -q -h %s", server->bin, server->dir);
    char *const argv[] = {program,
                          "-D",
                          "data",
                          "-k",
                          server->dir,
                          "-c",
                          "listen_addresses=",
                          "-c",
                          "fsync=off",
                          "-c",
                          "shared_buffers=16MB",
                          NULL};
    struct pd_time since = pd_time_now();

    server->pid = spawn(server, argv);
    while (system(ready) != 0) {
        if (pd_time_ms_between(since, pd_time_now()) > START_TIMEOUT_MS) {
            fprintf(stderr, "PostgreSQL does not start; see %s/log\n", server->dir);
            abort();
        }
        usleep(20000);
    }
}

void pd_postgres_server_stop(struct pd_postgres_server *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGQUIT);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

struct pd_postgres_server *pd_postgres_server_new(void)
{
    struct pd_postgres_server *server = PD_NEW(struct pd_postgres_server);
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    pd_autofree char *program = NULL;
    int status = 0;

    pd_strcpy(server->dir, sizeof server->dir, "/tmp/paddock-pg-XXXXXX");
    if (!find_programs(server->bin) || !mkdtemp(server->dir) || chmod(server->dir, 0755) < 0 ||
        (user && chown(server->dir, user->pw_uid, user->pw_gid) < 0))
        abort();
    program = pd_asprintf("%s/initdb", server->bin);
    char *const argv[] = {
        program, "-D", "data", "-U", "paddock", "-A", "trust", "--no-sync", "--no-instructions",
        NULL};
    if (waitpid(spawn(server, argv), &status, 0) < 0 || status != 0) {
        fprintf(stderr, "initdb fails; see %s/log\n", server->dir);
        abort();
    }
    server->url = pd_asprintf("host=%s user=paddock dbname=postgres", server->dir);
    pd_postgres_server_start(server);
    return server;
}

const char *pd_postgres_server_url(const struct pd_postgres_server *server)
{
    return server->url;
}

const char *pd_postgres_server_ask(struct pd_postgres_server *server, const char *sql)
{
    pd_autofree char *command =
        pd_asprintf("psql -X -At -v ON_ERROR_STOP=1 \"%s\" -c \"%s\" 2>&1", server->url, sql);
    FILE *pipe = popen(command, "r");
    size_t len = pipe ? fread(server->answer, 1, ANSWER_BYTES - 1, pipe) : 0;

    while (len > 0 && server->answer[len - 1] == '\n')
        len--;
    server->answer[len] = '\0';
    if (!pipe || pclose(pipe) != 0) {
        fprintf(stderr, "psql: %s: %s\n", sql, server->answer);
        server->answer[0] = '\0';
    }
    return server->answer;
}

void pd_postgres_server_free(struct pd_postgres_server *server)
{
    pd_autofree char *command = pd_asprintf("rm -rf %s", server->dir);

    pd_postgres_server_stop(server);
    (void)!system(command);
    free(server->url);
    free(server);
}
