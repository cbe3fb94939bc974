/* What this replica wants created, and the answers. A wish is written in Redis and
 * told on a channel; the leader answers on ours. What can be missed is written or
 * looked for again, and wishing twice makes one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/shared_state.h"

#define WITHDRAWN_AT_ONCE 256 /* the others with the next heartbeat */

/* KEYS wishes, sandboxes, lease; ARGV replica, ids of its wishes... Withdraws this replica's
 * wishes that nobody has begun to carry out, or that nobody is there to carry out any more,
 * or that Redis has lost: their ids. What was begun keeps its record: the next leader finds
 * this replica dead, and looks. */
const char pd_shared_withdraw_script[] =
    "local withdrawn = {}\n"
    "local leaderless = redis.call('EXISTS', KEYS[3]) == 0\n"
    "local wishes = redis.call('HGETALL', KEYS[1])\n"
    "for i = 1, #wishes, 2 do\n"
    "  if string.match(wishes[i + 1], '^(%S+) ') == ARGV[1] and\n"
    "      (leaderless or redis.call('HEXISTS', KEYS[2], wishes[i]) == 0) then\n"
    "    redis.call('HDEL', KEYS[1], wishes[i])\n"
    "    table.insert(withdrawn, wishes[i])\n"
    "  end\n"
    "end\n"
    "for i = 2, #ARGV do\n"
    "  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 and\n"
    "      (leaderless or redis.call('HEXISTS', KEYS[2], ARGV[i]) == 0) then\n"
    "    table.insert(withdrawn, ARGV[i])\n"
    "  end\n"
    "end\n"
    "return withdrawn\n";

struct wish *pd_shared_find_wish(struct shared *shared, const char *id)
{
    struct wish *wish;

    LIST_FOREACH(wish, &shared->wishes, next)
    if (strcmp(wish->id, id) == 0)
        return wish;
    return NULL;
}

void pd_shared_fulfil(struct wish *wish, const struct pd_err *err, const char *provider_id)
{
    LIST_REMOVE(wish, next);
    wish->cb(wish->arg, err, provider_id);
    free(wish->text);
    free(wish);
}

/* "ID ok PROVIDER-ID" or "ID KIND why" */
static void on_made(void *arg, const void *data, size_t len)
{
    struct shared *shared = arg;
    char id[PD_SANDBOX_ID_MAX], word[PD_PROVIDER_ID_MAX];
    int rest = 0;
    struct wish *wish;
    struct pd_err err;

    (void)len;
    if (sscanf(data, "%79s %255s %n", id, word, &rest) != 2 || rest == 0 ||
        !(wish = pd_shared_find_wish(shared, id)))
        return;
    if (strcmp(word, "ok") == 0) {
        char provider_id[PD_PROVIDER_ID_MAX];
        pd_strcpy(provider_id, sizeof provider_id, (const char *)data + rest);
        pd_shared_learn_name(shared, provider_id, id, wish->pool);
        pd_shared_fulfil(wish, NULL, provider_id);
        return;
    }
    pd_err_set(&err, PD_UNAVAILABLE, "%s", (const char *)data + rest);
    err.kind = -(int)strtol(word, NULL, 10);
    if (err.kind >= 0 || err.kind < PD_INTERNAL)
        err.kind = PD_UNAVAILABLE;
    pd_shared_fulfil(wish, &err, NULL);
}

void pd_shared_fail_wishes(struct shared *shared, const struct pd_err *err)
{
    struct wish *wish;

    while ((wish = LIST_FIRST(&shared->wishes)))
        pd_shared_fulfil(wish, err, NULL);
}

struct writing {
    struct shared *shared;
    char id[PD_SANDBOX_ID_MAX];
};

/* Refused: its disk is full, or its memory. */
static void on_written(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct writing *writing = arg;
    struct shared *shared = writing->shared;
    struct wish *wish = err && reply ? pd_shared_find_wish(shared, writing->id) : NULL;
    struct pd_err why;

    if (wish) {
        pd_err_set(&why, PD_UNAVAILABLE, "not wished for: %.200s", err->msg);
        pd_shared_fulfil(wish, &why, NULL);
    }
    free(writing);
    pd_shared_part_closed(shared);
}

static int write_wish(struct shared *shared, const char *id, const char *text, struct pd_err *err)
{
    struct writing *writing;
    const struct pd_redis_arg set[] = {PD_REDIS_TEXT("HSET"), PD_REDIS_TEXT(shared->wishes_key),
                                       PD_REDIS_TEXT(id), PD_REDIS_TEXT(text)};
    const struct pd_redis_arg tell[] = {PD_REDIS_TEXT("PUBLISH"),
                                        PD_REDIS_TEXT(shared->wish_channel), PD_REDIS_TEXT(id)};
    int rc;

    writing = PD_NEW(struct writing);
    writing->shared = shared;
    pd_strcpy(writing->id, sizeof writing->id, id);
    rc = pd_redis_command(shared->config.redis, set, PD_COUNT(set), on_written, writing, err);
    if (rc < 0) {
        free(writing);
        return rc;
    }
    shared->open_parts++;
    return pd_redis_command(shared->config.redis, tell, PD_COUNT(tell), NULL, NULL, err);
}

/* Answers may have been missed; wishing twice makes one. */
static void on_made_begun(void *arg)
{
    struct shared *shared = arg;
    struct wish *wish;
    struct pd_err err;

    LIST_FOREACH(wish, &shared->wishes, next)
    if (write_wish(shared, wish->id, wish->text, &err) < 0)
        return; /* the connection's end fails them all */
}

const struct pd_redis_subscriber pd_shared_made_subscriber = {.begun = on_made_begun,
                                                              .message = on_made};

int pd_shared_create(struct pd_provider *provider, const struct pd_pool_spec *spec, const char *id,
                     pd_provider_create_cb cb, void *arg, struct pd_err *err)
{
    struct shared *shared = pd_shared_of(provider);
    struct wish *wish = pd_shared_find_wish(shared, id);
    struct pd_err canceled;
    char *text;
    int rc;

    if (!shared->replica)
        return pd_err_set(err, PD_UNAVAILABLE, "the engine is not known yet");
    text = pd_asprintf("%s %s %s", provider->instance, spec->name, spec->template_hash);
    rc = write_wish(shared, id, text, err);
    if (rc < 0) {
        free(text);
        return rc;
    }
    if (wish) { /* asked again: the first question is given up */
        pd_err_set(&canceled, PD_CANCELED, "asked again");
        pd_shared_fulfil(wish, &canceled, NULL);
    }
    wish = PD_NEW(struct wish);
    pd_strcpy(wish->id, sizeof wish->id, id);
    pd_strcpy(wish->pool, sizeof wish->pool, spec->name);
    wish->text = text;
    wish->cb = cb;
    wish->arg = arg;
    LIST_INSERT_HEAD(&shared->wishes, wish, next);
    return 0;
}

/* ---- what is answered at once ---- */

void pd_shared_answer_later(uv_timer_t *timer)
{
    struct shared *shared = timer->data;
    struct later *later;

    while ((later = STAILQ_FIRST(&shared->later))) {
        STAILQ_REMOVE_HEAD(&shared->later, next);
        later->cb(later->arg, NULL);
        free(later);
    }
}

/* The leader sees to it, each time. */
int pd_shared_ensure_ready(struct pd_provider *provider, const struct pd_pool_spec *spec,
                           pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct shared *shared = pd_shared_of(provider);
    struct later *later;

    (void)spec;
    if (shared->closing)
        return pd_err_set(err, PD_CANCELED, "the provider is closing");
    later = PD_NEW(struct later);
    later->cb = cb;
    later->arg = arg;
    STAILQ_INSERT_TAIL(&shared->later, later, next);
    uv_timer_start(&shared->timer, pd_shared_answer_later, 0, 0);
    return 0;
}

/* ---- giving up ---- */

/* Closing waits for it. */
static void on_withdrawn(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct shared *shared = arg;
    struct pd_err canceled;

    pd_err_set(&canceled, PD_CANCELED, "the replica stops");
    for (size_t i = 0; !err && i < reply->count; i++) {
        const struct pd_redis_reply *id = pd_redis_reply_string(reply, i);
        struct wish *wish = id ? pd_shared_find_wish(shared, id->text) : NULL;
        if (wish)
            pd_shared_fulfil(wish, &canceled, NULL);
    }
    pd_shared_part_closed(shared);
}

void pd_provider_shared_withdraw(struct pd_provider *provider)
{
    struct shared *shared = pd_shared_of(provider);
    struct wish *wish;
    size_t n = 4;
    struct pd_err err;

    shared->withdrawing = true; /* and asked again with each heartbeat */
    if (!shared->replica || shared->closing)
        return;
    struct pd_redis_arg args[4 + WITHDRAWN_AT_ONCE] = {
        PD_REDIS_TEXT(shared->wishes_key), PD_REDIS_TEXT(shared->sandboxes_key),
        PD_REDIS_TEXT(shared->lease_key), PD_REDIS_TEXT(provider->instance)};
    LIST_FOREACH(wish, &shared->wishes, next)
    if (n < PD_COUNT(args))
        args[n++] = PD_REDIS_TEXT(wish->id);
    if (pd_redis_eval(shared->config.redis, &shared->withdraw_script, 3, args, n, on_withdrawn,
                      shared, &err) == 0)
        shared->open_parts++;
}
