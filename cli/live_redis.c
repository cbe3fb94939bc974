#include "cli/live_redis.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "cli/redis_env.h"
#include "common/mem.h"

#define VALUE_BYTES 48

struct live {
    FILE *out, *problems;
    size_t n_problems;
    struct pd_redis *redis;
    bool ended;
};

static void problem(struct live *live, const char *what)
{
    live->n_problems++;
    fprintf(live->problems, "redis: %s\n", what);
}

static void end(struct live *live)
{
    if (live->ended)
        return;
    live->ended = true;
    pd_redis_close(live->redis, NULL, NULL);
}

/* The value of a line "name:value" of INFO, "" where there is none. */
static void info_value(const char *info, const char *name, char out[static VALUE_BYTES])
{
    size_t len = strlen(name);
    const char *line = info;

    *out = '\0';
    while (line) {
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            size_t n = strcspn(line + len + 1, "\r\n");
            snprintf(out, VALUE_BYTES, "%.*s", (int)(n < VALUE_BYTES ? n : VALUE_BYTES - 1),
                     line + len + 1);
            return;
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
}

static void judge(struct live *live, const char *info)
{
    char version[VALUE_BYTES], aof[VALUE_BYTES], aof_state[VALUE_BYTES], policy[VALUE_BYTES],
        role[VALUE_BYTES];

    info_value(info, "redis_version", version);
    info_value(info, "aof_enabled", aof);
    info_value(info, "aof_last_write_status", aof_state);
    info_value(info, "maxmemory_policy", policy);
    info_value(info, "role", role);
    if (strcmp(role, "slave") == 0)
        problem(live, "it is a replica: it takes no writes; REDIS_URL must name the primary");
    if (strcmp(aof, "0") == 0)
        problem(live, "it keeps nothing over a restart: appendonly is off (CONFIG SET appendonly yes)");
    else if (*aof_state && strcmp(aof_state, "ok") != 0)
        problem(live, "it cannot write its append-only file: its disk is full or fails");
    if (*policy && strcmp(policy, "noeviction") != 0)
        problem(live, "it forgets what it has when memory is short: maxmemory-policy is not noeviction");
    if (live->n_problems == 0)
        fprintf(live->out, "redis: Redis %s at %s, appendonly %s, maxmemory-policy %s: in order\n",
                version, pd_redis_shown_url(live->redis), strcmp(aof, "1") == 0 ? "yes" : "unknown",
                *policy ? policy : "unknown");
}

static void on_info(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct live *live = arg;

    if (live->ended)
        return;
    if (err)
        problem(live, err->msg);
    else if (reply->type != PD_REDIS_STRING)
        problem(live, "INFO was answered with something else");
    else
        judge(live, reply->text);
    end(live);
}

static void on_up(void *arg)
{
    struct live *live = arg;
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("INFO")};
    struct pd_err err;

    if (pd_redis_command(live->redis, args, PD_COUNT(args), on_info, live, &err) == 0)
        return;
    problem(live, err.msg);
    end(live);
}

static void on_down(void *arg, const struct pd_err *err)
{
    struct live *live = arg;

    if (live->ended)
        return;
    problem(live, err->msg);
    end(live);
}

size_t pd_live_redis(FILE *out, FILE *problems)
{
    struct live live = {.out = out, .problems = problems};
    struct pd_err err;
    uv_loop_t loop;

    if (!pd_redis_env_is_set()) {
        fprintf(out, "redis: not configured (REDIS_URL)\n");
        return 0;
    }
    if (uv_loop_init(&loop) < 0)
        abort();
    if (pd_redis_env_open(&loop, &live.redis, &err) < 0)
        problem(&live, err.msg);
    else
        pd_redis_observe(live.redis, &(struct pd_redis_observer){on_up, on_down, &live});
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return live.n_problems;
}
