/* The hash read once, for `paddock check`. */
#include <string.h>

#include "cli/redis_env.h"
#include "cli/source_redis.h"

struct fetch {
    struct pd_redis *redis;
    void (*field)(void *arg, const char *name, const char *text, size_t len);
    void *arg;
    struct pd_err *err;
    int rc;
};

static void on_fetched(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct fetch *fetch = arg;

    if (err && !reply && err->kind == PD_CANCELED)
        return;
    fetch->rc = err ? pd_err_set(fetch->err, err->kind, "%s", err->msg) : 0;
    for (size_t i = 0; !err && i + 1 < reply->count; i += 2) {
        const struct pd_redis_reply *name = pd_redis_reply_string(reply, i);
        const struct pd_redis_reply *text = pd_redis_reply_string(reply, i + 1);
        if (name && text && strcmp(name->text, PD_SOURCE_REDIS_DATASET) != 0)
            fetch->field(fetch->arg, name->text, text->text, text->len);
    }
    pd_redis_close(fetch->redis, NULL, NULL);
}

static void on_fetch_up(void *arg)
{
    struct fetch *fetch = arg;
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("HGETALL"),
                                        PD_REDIS_TEXT(PD_SOURCE_REDIS_KEY)};

    fetch->rc = pd_redis_command(fetch->redis, args, 2, on_fetched, fetch, fetch->err);
    if (fetch->rc < 0)
        pd_redis_close(fetch->redis, NULL, NULL);
}

static void on_fetch_down(void *arg, const struct pd_err *err)
{
    struct fetch *fetch = arg;

    fetch->rc = pd_err_set(fetch->err, err->kind, "%s", err->msg);
    pd_redis_close(fetch->redis, NULL, NULL);
}

int pd_source_redis_fetch(void (*field)(void *arg, const char *name, const char *text, size_t len),
                          void *arg, struct pd_err *err)
{
    struct fetch fetch = {.field = field, .arg = arg, .err = err};
    uv_loop_t loop;
    int rc;

    if (uv_loop_init(&loop) < 0)
        return pd_err_set(err, PD_INTERNAL, "no event loop");
    rc = pd_redis_env_open(&loop, &fetch.redis, err);
    if (rc == 0) {
        pd_redis_observe(fetch.redis,
                         &(struct pd_redis_observer){on_fetch_up, on_fetch_down, &fetch});
        uv_run(&loop, UV_RUN_DEFAULT);
        rc = fetch.rc;
    }
    uv_loop_close(&loop);
    return rc;
}
