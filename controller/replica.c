#include "controller/replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"
#include "common/uid.h"

/* KEYS seen, totals, lease, dataset, reports; ARGV id, '1' when it owns sandboxes, a name
 * for the data if they have none, its report or ''. The time (ms), everyone and when, all
 * totals, the lease or '', the data's name, all reports. */
#define BEAT_SCRIPT                                                                                \
    "local time = redis.call('TIME')\n"                                                            \
    "local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)\n"                 \
    "local text = string.format('%.0f', ms)\n"                                                     \
    "redis.call('SET', KEYS[4], ARGV[3], 'NX')\n"                                                  \
    "if ARGV[4] ~= '' then redis.call('HSET', KEYS[5], ARGV[1], ARGV[4]) end\n"                    \
    "if ARGV[2] == '1' then redis.call('ZADD', KEYS[1], text, ARGV[1]) end\n"                      \
    "return {text, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'),\n"                          \
    "  redis.call('HGETALL', KEYS[2]), redis.call('GET', KEYS[3]) or '',\n"                        \
    "  redis.call('GET', KEYS[4]), redis.call('HGETALL', KEYS[5])}\n"

/* KEYS seen, totals, wishes, reports; ARGV id. One that still owns something is to be found
 * dead. */
#define LEAVE_SCRIPT                                                                               \
    "redis.call('HDEL', KEYS[4], ARGV[1])\n"                                                       \
    "local all = redis.call('HGETALL', KEYS[3])\n"                                                 \
    "for i = 1, #all, 2 do\n"                                                                      \
    "  if string.match(all[i + 1], '^(%S+) ') == ARGV[1] then\n"                                   \
    "    redis.call('HDEL', KEYS[3], all[i])\n"                                                    \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do\n"                                    \
    "  if string.match(field, ' (%S+)$') == ARGV[1] then return 0 end\n"                           \
    "end\n"                                                                                        \
    "return redis.call('ZREM', KEYS[1], ARGV[1])\n"

struct name {
    char id[PD_REPLICA_ID_MAX];
};

struct total {
    char pool[PD_POOL_NAME_MAX];
    char replica[PD_REPLICA_ID_MAX];
    int count;
};

struct pd_replica {
    struct pd_redis *redis;
    struct pd_redis_script beat, leave;
    char *seen_key, *totals_key, *wishes_key, *lease_key, *dataset_key, *reports_key;
    char dataset[PD_UID_BYTES]; /* the name of what Redis has */
    char id[PD_REPLICA_ID_MAX];
    enum pd_replica_part part;
    struct pd_time led_at; /* when Redis said last that somebody leads */
    void (*beaten)(void *arg, bool changed);
    void (*back)(void *arg);
    void (*report)(void *arg, struct pd_buf *out);
    void (*reports)(void *arg, const struct pd_redis_reply *reports);
    void *arg;
    uv_timer_t timer;
    bool handle_open, asking;
    bool refused;             /* Redis would not have the last heartbeat */
    struct pd_time up_at;     /* when Redis was reached last, or has refused a heartbeat */
    struct name *live, *dead; /* live: by name */
    size_t n_live, n_dead;
    struct total *totals;
    size_t n_totals;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- what Redis says ---- */

static bool owns(const struct pd_replica *replica)
{
    return replica->part != PD_REPLICA_LEADS;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->id, ((const struct name *)b)->id);
}

/* After Redis was away those who are alive need a moment to be heard again. */
static bool is_settling(const struct pd_replica *replica)
{
    return pd_time_ms_between(replica->up_at, pd_time_now()) < PD_REPLICA_DEAD_MS;
}

/* True when those who are alive are others than before. */
static bool take_live(struct pd_replica *replica, struct name *live, size_t count)
{
    bool same;

    qsort(live, count, sizeof *live, by_name);
    same = count == replica->n_live &&
           (!count || memcmp(live, replica->live, count * sizeof *live) == 0);
    if (same || (count < replica->n_live && is_settling(replica))) {
        free(live);
        return false;
    }
    free(replica->live);
    replica->live = live;
    replica->n_live = count;
    return true;
}

static bool take_seen(struct pd_replica *replica, int64_t now_ms, const struct pd_redis_reply *seen)
{
    size_t n = seen->count / 2 < PD_REPLICAS_MAX ? seen->count / 2 : PD_REPLICAS_MAX;
    struct name *live = pd_calloc(n + 1, sizeof *live);
    size_t n_live = 0;

    replica->n_dead = 0;
    replica->dead = pd_realloc(replica->dead, n + 1, sizeof *replica->dead);
    for (size_t i = 0; i < n; i++) {
        const struct pd_redis_reply *id = pd_redis_reply_string(seen, 2 * i);
        int64_t ms = pd_redis_reply_integer(seen, 2 * i + 1, 0);
        bool is_dead = now_ms - ms >= PD_REPLICA_DEAD_MS;

        if (id && id->len < PD_REPLICA_ID_MAX)
            pd_strcpy((is_dead ? &replica->dead[replica->n_dead++] : &live[n_live++])->id,
                      PD_REPLICA_ID_MAX, id->text);
    }
    return take_live(replica, live, n_live);
}

/* "POOL REPLICA", count. */
static bool take_totals(struct pd_replica *replica, const struct pd_redis_reply *hash)
{
    struct total *totals = pd_calloc(hash->count / 2 + 1, sizeof *totals);
    size_t n = 0;
    bool changed;

    for (size_t i = 0; i + 1 < hash->count; i += 2) {
        const struct pd_redis_reply *field = pd_redis_reply_string(hash, i);
        struct total *total = &totals[n];

        total->count = (int)pd_redis_reply_integer(hash, i + 1, 0);
        if (field && field->len < PD_POOL_NAME_MAX + PD_REPLICA_ID_MAX &&
            sscanf(field->text, "%63s %63s", total->pool, total->replica) == 2)
            n++;
    }
    changed = n != replica->n_totals || (n && memcmp(totals, replica->totals, n * sizeof *totals));
    free(replica->totals);
    replica->totals = totals;
    replica->n_totals = n;
    return changed;
}

/* Redis has lost its data: everyone that we had heard of is as if heard of now. Who does
 * not register again is then found dead like any other, and what it left is collected. */
static void write_down_known(struct pd_replica *replica, const struct pd_redis_reply *now_ms)
{
    size_t n = replica->n_live + replica->n_dead;
    struct pd_redis_arg *args = pd_calloc(3 + 2 * n, sizeof *args);
    size_t used = 3;
    struct pd_err err;

    args[0] = (struct pd_redis_arg)PD_REDIS_TEXT("ZADD");
    args[1] = (struct pd_redis_arg)PD_REDIS_TEXT(replica->seen_key);
    args[2] = (struct pd_redis_arg)PD_REDIS_TEXT("NX");
    for (size_t i = 0; i < n; i++) {
        const char *id =
            i < replica->n_live ? replica->live[i].id : replica->dead[i - replica->n_live].id;
        if (!owns(replica) && strcmp(id, replica->id) == 0)
            continue;
        args[used++] = (struct pd_redis_arg)PD_REDIS_TEXT(now_ms->text);
        args[used++] = (struct pd_redis_arg)PD_REDIS_TEXT(id);
    }
    pd_log(PD_LOG_WARN, "replica", "Redis has lost its data; who was known is written down again",
           "replicas", PD_NUM(n), NULL);
    if (used > 3 && pd_redis_command(replica->redis, args, used, NULL, NULL, &err) < 0)
        pd_log(PD_LOG_WARN, "replica", "not written down", "err", err.msg, NULL);
    free(args);
}

/* Before the answer is taken: who was known before is still at hand. */
static void note_dataset(struct pd_replica *replica, const struct pd_redis_reply *reply)
{
    const struct pd_redis_reply *now_ms = pd_redis_reply_string(reply, 0);
    const struct pd_redis_reply *dataset = pd_redis_reply_string(reply, 4);

    if (!now_ms || !dataset || dataset->len >= sizeof replica->dataset)
        return;
    if (replica->dataset[0] && strcmp(replica->dataset, dataset->text) != 0) {
        write_down_known(replica, now_ms);
        replica->refused = true; /* and so is what was written last: it is lost */
    }
    pd_strcpy(replica->dataset, sizeof replica->dataset, dataset->text);
}

static void replica_gone(struct pd_replica *replica);

static void on_beaten(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_replica *replica = arg;
    const struct pd_redis_reply *lease;
    bool changed;

    replica->asking = false;
    if (replica->closing) {
        replica_gone(replica);
        return;
    }
    if (err) {
        pd_log(PD_LOG_DEBUG, "replica", "no heartbeat", "err", err->msg, NULL);
        replica->up_at = pd_time_now(); /* the others' may have been refused likewise */
        replica->refused |= reply != NULL;
        return;
    }
    if (reply->type != PD_REDIS_ARRAY || reply->count != 6)
        return;
    note_dataset(replica, reply);
    lease = pd_redis_reply_string(reply, 3);
    if (lease && lease->len > 0)
        replica->led_at = pd_time_now();
    changed = take_seen(replica, pd_redis_reply_integer(reply, 0, 0), reply->items[1]);
    changed |= take_totals(replica, reply->items[2]);
    if (reply->items[5]->type == PD_REDIS_ARRAY)
        replica->reports(replica->arg, reply->items[5]);
    replica->beaten(replica->arg, changed);
    if (replica->refused) {
        replica->refused = false;
        replica->back(replica->arg);
    }
}

void pd_replica_beat(struct pd_replica *replica)
{
    pd_autobuf struct pd_buf report;
    char fresh[PD_UID_BYTES]; /* another one each time, or the loss of ours would not be seen */

    pd_buf_init(&report, PD_REPLICA_REPORT_BYTES_MAX);
    if (owns(replica))
        replica->report(replica->arg, &report);
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(replica->seen_key),
                                        PD_REDIS_TEXT(replica->totals_key),
                                        PD_REDIS_TEXT(replica->lease_key),
                                        PD_REDIS_TEXT(replica->dataset_key),
                                        PD_REDIS_TEXT(replica->reports_key),
                                        PD_REDIS_TEXT(replica->id),
                                        PD_REDIS_TEXT(owns(replica) ? "1" : "0"),
                                        PD_REDIS_TEXT(pd_uid_random(fresh)),
                                        {report.data ? report.data : "", report.len}};
    struct pd_err err;

    if (replica->asking || replica->closing)
        return;
    replica->asking =
        pd_redis_eval(replica->redis, &replica->beat, 5, args, 9, on_beaten, replica, &err) == 0;
}

/* ---- asked ---- */

static int count_of(const struct pd_replica *replica, const char *pool, const char *id)
{
    for (size_t i = 0; i < replica->n_totals; i++)
        if (strcmp(replica->totals[i].pool, pool) == 0 &&
            strcmp(replica->totals[i].replica, id) == 0)
            return replica->totals[i].count;
    return 0;
}

bool pd_replica_is_live(const struct pd_replica *replica, const char *id)
{
    struct name name;

    pd_strcpy(name.id, sizeof name.id, id);
    return replica->n_live > 0 &&
           bsearch(&name, replica->live, replica->n_live, sizeof name, by_name) != NULL;
}

struct pd_share pd_replica_share(const struct pd_replica *replica, const struct pd_pool_spec *spec)
{
    const struct pd_share pool = {spec->min_size, spec->max_size, spec->target_idle};
    struct pd_place ours = {.index = 0, .count = (int)replica->n_live};
    int others = 0;

    if (!owns(replica))
        return (struct pd_share){0, 0, 0};
    if (!pd_replica_is_live(replica, replica->id)) /* not heard yet: as if there were one more */
        ours = (struct pd_place){(int)replica->n_live, (int)replica->n_live + 1};
    for (size_t i = 0; i < replica->n_live; i++) {
        struct pd_place place = {(int)i, ours.count};
        int has = count_of(replica, spec->name, replica->live[i].id);
        int floor = pd_share_floor(&pool, place);

        if (strcmp(replica->live[i].id, replica->id) == 0)
            ours = place;
        else
            others += has > floor ? has : floor;
    }
    for (size_t i = 0; i < replica->n_dead; i++)
        if (!pd_replica_is_live(replica, replica->dead[i].id))
            others += count_of(replica, spec->name, replica->dead[i].id);
    return pd_share_of(&pool, ours, count_of(replica, spec->name, replica->id), others);
}

int pd_replica_others(const struct pd_replica *replica, const char *pool)
{
    int others = 0;

    for (size_t i = 0; i < replica->n_totals; i++)
        if (strcmp(replica->totals[i].pool, pool) == 0 &&
            strcmp(replica->totals[i].replica, replica->id) != 0)
            others += replica->totals[i].count;
    return others;
}

bool pd_replica_sees_leader(const struct pd_replica *replica)
{
    return pd_time_is_set(replica->led_at) &&
           pd_time_ms_between(replica->led_at, pd_time_now()) < PD_REPLICA_SIGHT_MS;
}

const char *pd_replica_dead_at(const struct pd_replica *replica, size_t i)
{
    return i < replica->n_dead ? replica->dead[i].id : NULL;
}

/* ---- life ---- */

static void on_timer(uv_timer_t *timer)
{
    pd_replica_beat(timer->data);
}

static void on_up(void *arg)
{
    struct pd_replica *replica = arg;

    replica->up_at = pd_time_now();
    pd_replica_beat(replica);
}

struct pd_replica *pd_replica_open(const struct pd_replica_config *config)
{
    struct pd_replica *replica = PD_NEW(struct pd_replica);

    replica->redis = config->redis;
    replica->beat = pd_redis_script_of(BEAT_SCRIPT);
    replica->leave = pd_redis_script_of(LEAVE_SCRIPT);
    replica->seen_key = pd_asprintf("%s:seen", config->prefix);
    replica->totals_key = pd_asprintf("%s:totals", config->prefix);
    replica->wishes_key = pd_asprintf("%s:wishes", config->prefix);
    replica->reports_key = pd_asprintf("%s:reports", config->prefix);
    replica->dataset_key = pd_asprintf("%s:dataset", config->prefix);
    replica->lease_key = pd_asprintf("%s:lease", config->prefix);
    pd_strcpy(replica->id, sizeof replica->id, config->id);
    replica->part = config->part;
    replica->beaten = config->beaten;
    replica->back = config->back;
    replica->report = config->report;
    replica->reports = config->reports;
    replica->arg = config->arg;
    replica->up_at = pd_time_now();
    pd_redis_observe(replica->redis, &(struct pd_redis_observer){.up = on_up, .arg = replica});
    uv_timer_init(config->loop, &replica->timer);
    replica->timer.data = replica;
    replica->handle_open = true;
    uv_timer_start(&replica->timer, on_timer, 0, PD_REPLICA_BEAT_MS);
    return replica;
}

static void replica_gone(struct pd_replica *replica)
{
    void (*closed)(void *arg) = replica->closed;
    void *arg = replica->closed_arg;

    if (replica->handle_open || replica->asking)
        return;
    free(replica->seen_key);
    free(replica->totals_key);
    free(replica->wishes_key);
    free(replica->lease_key);
    free(replica->dataset_key);
    free(replica->reports_key);
    free(replica->live);
    free(replica->dead);
    free(replica->totals);
    free(replica);
    if (closed)
        closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_replica *replica = handle->data;

    replica->handle_open = false;
    replica_gone(replica);
}

static void on_left(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_replica *replica = arg;

    (void)err, (void)reply;
    replica->asking = false;
    replica_gone(replica);
}

void pd_replica_close(struct pd_replica *replica, void (*closed)(void *arg), void *arg)
{
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(replica->seen_key), PD_REDIS_TEXT(replica->totals_key),
        PD_REDIS_TEXT(replica->wishes_key), PD_REDIS_TEXT(replica->reports_key),
        PD_REDIS_TEXT(replica->id)};
    struct pd_err err;
    int rc;

    if (replica->closing)
        return;
    replica->closing = true;
    replica->closed = closed;
    replica->closed_arg = arg;
    pd_redis_unobserve(replica->redis, replica);
    uv_close((uv_handle_t *)&replica->timer, on_timer_closed);
    /* Behind a beat under way, whose answer is then the one waited for. */
    rc = pd_redis_eval(replica->redis, &replica->leave, 4, args, 5,
                       replica->asking ? NULL : on_left, replica, &err);
    replica->asking = replica->asking || rc == 0;
}
