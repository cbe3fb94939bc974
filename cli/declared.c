/* Theory of operation. Every second, when told on the channel, and when files change,
 * `look` asks Redis for the hash, or for nothing where its version is the one that is
 * known. What came is put into the store. The replica that leads does that once, when
 * it has become leader: from then on the store is the truth, and a look ends in a
 * write of the records that differ, fenced by the lease. Writing is always a
 * consequence of a look, so that a hash that was emptied is filled again. */
#include "cli/declared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/declared_record.h"
#include "common/buf.h"
#include "common/lease.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"
#include "common/time.h"
#include "controller/provider_shared.h"

#define VERSION "_version"
#define WRITES_MAX 64                      /* records in one script */
#define WRITE_BYTES_MAX (8u * 1024 * 1024) /* of them, about */

/* KEYS hash; ARGV the version that is known. {version} or {version, hash}. */
#define READ_SCRIPT                                                                                \
    "local version = redis.call('HGET', KEYS[1], '" VERSION                                        \
    "') or ''\n"                                                                                   \
    "if version ~= '' and version == ARGV[1] then return {version} end\n"                          \
    "return {version, redis.call('HGETALL', KEYS[1])}\n"

/* KEYS lease, hash; ARGV lease, channel, then name and record ('': remove it) in turn.
 * The new version: microseconds, or one more than there was. */
#define WRITE_SCRIPT                                                                               \
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then\n"                                              \
    "  return redis.error_reply('FENCED another replica leads')\n"                                 \
    "end\n"                                                                                        \
    "for i = 3, #ARGV, 2 do\n"                                                                     \
    "  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[2], ARGV[i])\n"                           \
    "  else redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end\n"                               \
    "end\n"                                                                                        \
    "local time = redis.call('TIME')\n"                                                            \
    "local now = tonumber(time[1]) * 1000000 + tonumber(time[2])\n"                                \
    "local last = tonumber(redis.call('HGET', KEYS[2], '" VERSION                                  \
    "') or '0')\n"                                                                                 \
    "if now <= last then now = last + 1 end\n"                                                     \
    "local version = string.format('%.0f', now)\n"                                                 \
    "redis.call('HSET', KEYS[2], '" VERSION                                                        \
    "', version)\n"                                                                                \
    "redis.call('PUBLISH', ARGV[2], version)\n"                                                    \
    "return version\n"

/* What Redis has of one pool. */
struct record {
    char name[PD_POOL_NAME_MAX];
    char *text; /* NULL: it is not there any more */
    size_t len;
    int64_t deleted_wall_ms; /* not 0: the record of a pool that is (being) deleted */
    bool here;               /* in the answer being looked at */
};

struct pd_declared {
    struct pd_declared_config config;
    struct pd_schema *schema;
    struct pd_redis_script read, write;
    char *lease_key, *hash_key, *channel; /* once the engine is known */
    struct pd_redis_subscription *subscription;
    char version[32];                   /* of what is known; "" for nothing */
    char took_over[PD_LEASE_VALUE_MAX]; /* the lease under which this one's files came into force */
    bool is_told;                       /* a leader's word was taken: own files are not in force */
    struct record **records;
    size_t n_records;
    struct pd_strmap by_name;
    uv_timer_t timer;
    bool asking, again, handle_open, closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static bool leads(const struct pd_declared *declared)
{
    return pd_provider_shared_leads(declared->config.shared);
}

static bool is_of_files(const struct pd_pool *pool)
{
    return strncmp(pool->source, PD_DECLARED_FILE, strlen(PD_DECLARED_FILE)) == 0;
}

static struct record *record_of(struct pd_declared *declared, const char *name)
{
    struct record *record = pd_strmap_get(&declared->by_name, name);

    if (record)
        return record;
    record = PD_NEW(struct record);
    pd_strcpy(record->name, sizeof record->name, name);
    declared->records = pd_realloc(declared->records, declared->n_records + 1, sizeof(void *));
    declared->records[declared->n_records++] = record;
    pd_strmap_add(&declared->by_name, record->name, record);
    return record;
}

/* ---- taking what the leader wrote ---- */

static void take_pool(struct pd_declared *declared, struct record *record)
{
    const struct pd_declared_config *config = &declared->config;
    struct pd_pool *pool = pd_store_pool(config->store, record->name);
    struct pd_declared_record parsed;
    struct pd_err err;

    if (pd_declared_record_parse(declared->schema, config->default_provider, record->name,
                                 record->text, record->len, &parsed, &err) < 0) {
        pd_log(PD_LOG_ERROR, "sources", "what the leader says of a pool is not understood", "pool",
               record->name, "err", err.msg, NULL);
        return;
    }
    record->deleted_wall_ms = parsed.identity.deletion_wall_ms;
    if (pool && !is_of_files(pool)) {
        pd_store_pool_set_rival(config->store, record->name, parsed.source,
                                record->deleted_wall_ms == 0);
    } else {
        pd_store_pool_mirror(config->store, parsed.spec, parsed.source, &parsed.identity);
        pool = pd_store_pool(config->store, record->name);
        if (pool)
            pd_store_pool_set_source_error(config->store, pool, parsed.source_error);
    }
    pd_declared_record_fini(&parsed);
}

/* The first word of a leader: what only our own files say is not in force. */
static void give_way(struct pd_declared *declared)
{
    struct pd_pool *pool;
    struct pd_err err;

    if (declared->is_told || !declared->config.files || leads(declared))
        return;
    declared->is_told = true;
    pd_log(PD_LOG_INFO, "sources",
           "another replica leads: its files count, those of this one are not in force", NULL);
    for (size_t i = 0; (pool = pd_store_pool_at(declared->config.store, i)); i++) {
        const struct record *record = pd_strmap_get(&declared->by_name, pool->spec->name);
        if (is_of_files(pool) && !(record && record->text))
            (void)pd_store_pool_delete(declared->config.store, pool->spec->name, pool->source,
                                       &err);
    }
}

static void note_record(struct pd_declared *declared, const char *name,
                        const struct pd_redis_reply *text, bool takes)
{
    struct record *record = record_of(declared, name);
    bool same = record->text && record->len == text->len &&
                memcmp(record->text, text->text, text->len) == 0;

    record->here = true;
    if (!same) {
        free(record->text);
        record->text = pd_strndup(text->text, text->len);
        record->len = text->len;
    }
    /* A pool that has gone in between, or whose name another source had, is taken anew. */
    if (takes)
        take_pool(declared, record);
}

/* takes: into the store; else only to know what is there. */
static void take_all(struct pd_declared *declared, const struct pd_redis_reply *hash, bool takes)
{
    for (size_t i = 0; i < declared->n_records; i++)
        declared->records[i]->here = false;
    for (size_t i = 0; i + 1 < hash->count; i += 2) {
        const struct pd_redis_reply *name = pd_redis_reply_string(hash, i);
        const struct pd_redis_reply *text = pd_redis_reply_string(hash, i + 1);
        if (name && text && name->len < PD_POOL_NAME_MAX && strcmp(name->text, VERSION) != 0)
            note_record(declared, name->text, text, takes);
    }
    for (size_t i = 0; i < declared->n_records; i++) {
        struct record *record = declared->records[i];
        if (!record->here)
            free(PD_STEAL(record->text));
    }
}

/* ---- writing ---- */

static void look(struct pd_declared *declared);

static void on_written(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_declared *declared = arg;

    (void)reply;
    declared->asking = false;
    if (err)
        pd_log(PD_LOG_DEBUG, "sources", "pools not written to Redis", "err", err->msg, NULL);
    if (!declared->closing && !err)
        look(declared); /* there may be more than goes into one script */
    else if (declared->closing)
        pd_declared_close(declared, NULL, NULL);
}

struct writing {
    struct pd_redis_arg args[4 + 2 * WRITES_MAX];
    size_t n_args, bytes;
    char *texts[WRITES_MAX];
    size_t n_texts;
};

static bool is_full(const struct writing *writing)
{
    return writing->n_args + 2 > PD_COUNT(writing->args) || writing->bytes > WRITE_BYTES_MAX;
}

static void write_pool(struct pd_declared *declared, struct writing *writing,
                       const struct pd_pool *pool)
{
    struct record *record = record_of(declared, pool->spec->name);
    pd_autobuf struct pd_buf text;
    struct pd_err err;

    pd_buf_init(&text, PD_DECLARED_BYTES_MAX);
    if (pd_declared_record_format(pool, &text, &err) < 0) {
        pd_log(PD_LOG_ERROR, "sources", "a pool is too large for the other replicas", "pool",
               pool->spec->name, "err", err.msg, NULL);
        return;
    }
    record->deleted_wall_ms = pool->deletion_wall_ms;
    if (record->text && record->len == text.len && memcmp(record->text, text.data, text.len) == 0)
        return;
    writing->bytes += text.len;
    writing->args[writing->n_args++] = (struct pd_redis_arg)PD_REDIS_TEXT(record->name);
    writing->args[writing->n_args++] = (struct pd_redis_arg){text.data, text.len};
    writing->texts[writing->n_texts++] = pd_buf_steal(&text);
}

/* A pool that is gone: its deletion is remembered for a day, by the record as it was
 * last. A record of one that nobody deleted is another source's business now. */
static void write_gone(struct pd_declared *declared, struct writing *writing, struct record *record)
{
    struct pd_pool *pool = pd_store_pool(declared->config.store, record->name);
    bool is_tomb = record->deleted_wall_ms != 0 &&
                   pd_wall_ms() - record->deleted_wall_ms < PD_DECLARED_TOMB_MS;

    if (!record->text || (pool && is_of_files(pool)) || (!pool && is_tomb))
        return;
    writing->args[writing->n_args++] = (struct pd_redis_arg)PD_REDIS_TEXT(record->name);
    writing->args[writing->n_args++] = (struct pd_redis_arg)PD_REDIS_TEXT("");
}

/* The version is written even where there is no pool: the others then know that
 * somebody leads, and has none. */
static void write_changes(struct pd_declared *declared)
{
    struct writing writing = {.n_args = 4};
    struct pd_pool *pool;
    struct pd_err err;

    writing.args[0] = (struct pd_redis_arg)PD_REDIS_TEXT(declared->lease_key);
    writing.args[1] = (struct pd_redis_arg)PD_REDIS_TEXT(declared->hash_key);
    writing.args[2] =
        (struct pd_redis_arg)PD_REDIS_TEXT(pd_provider_shared_lease(declared->config.shared));
    writing.args[3] = (struct pd_redis_arg)PD_REDIS_TEXT(declared->channel);
    for (size_t i = 0; !is_full(&writing) && (pool = pd_store_pool_at(declared->config.store, i));
         i++)
        if (is_of_files(pool))
            write_pool(declared, &writing, pool);
    for (size_t i = 0; !is_full(&writing) && i < declared->n_records; i++)
        write_gone(declared, &writing, declared->records[i]);
    if (writing.n_args > 4 || !declared->version[0])
        declared->asking = pd_redis_eval(declared->config.redis, &declared->write, 2, writing.args,
                                         writing.n_args, on_written, declared, &err) == 0;
    for (size_t i = 0; i < writing.n_texts; i++)
        free(writing.texts[i]);
}

/* ---- looking ---- */

static void lead(struct pd_declared *declared)
{
    const struct pd_declared_config *config = &declared->config;

    pd_strcpy(declared->took_over, sizeof declared->took_over,
              pd_provider_shared_lease(config->shared));
    declared->is_told = false;
    if (config->files)
        pd_declared_apply_files(config->store, config->files, config->sources);
    write_changes(declared);
}

static void on_read(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_declared *declared = arg;
    const struct pd_redis_reply *version = err ? NULL : pd_redis_reply_string(reply, 0);
    bool is_new;

    declared->asking = false;
    if (declared->closing) {
        pd_declared_close(declared, NULL, NULL);
        return;
    }
    if (!version || version->len >= sizeof declared->version)
        return;
    is_new = !leads(declared) ||
             strcmp(declared->took_over, pd_provider_shared_lease(declared->config.shared)) != 0;
    if (reply->count == 2) {
        pd_strcpy(declared->version, sizeof declared->version, version->text);
        take_all(declared, reply->items[1], is_new);
        if (version->len > 0)
            give_way(declared);
    }
    if (leads(declared))
        lead(declared);
    if (declared->again && !declared->asking)
        look(declared);
}

static void on_message(void *arg, const void *data, size_t len)
{
    (void)data, (void)len;
    look(arg);
}

static void on_begun(void *arg)
{
    look(arg);
}

static const struct pd_redis_subscriber subscriber = {.begun = on_begun, .message = on_message};

/* Which engine it is has become known. */
static bool join(struct pd_declared *declared)
{
    const char *prefix = pd_provider_shared_prefix(declared->config.shared);
    struct pd_err err;

    if (declared->hash_key || !prefix)
        return declared->hash_key != NULL;
    declared->lease_key = pd_asprintf("%s:lease", prefix);
    declared->hash_key = pd_asprintf("%s:declared", prefix);
    declared->channel = pd_asprintf("%s:declared:changed", prefix);
    if (pd_redis_subscribe(declared->config.redis, declared->channel, &subscriber, declared,
                           &declared->subscription, &err) < 0)
        pd_log(PD_LOG_WARN, "sources", "the leader's pools are not listened for, only asked for",
               "err", err.msg, NULL);
    return true;
}

static void look(struct pd_declared *declared)
{
    struct pd_err err;

    if (declared->closing || !join(declared))
        return;
    declared->again = declared->asking;
    if (declared->asking)
        return;
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(declared->hash_key),
                                        PD_REDIS_TEXT(declared->version)};
    declared->asking = pd_redis_eval(declared->config.redis, &declared->read, 1, args, 2, on_read,
                                     declared, &err) == 0;
}

static void on_timer(uv_timer_t *timer)
{
    look(timer->data);
}

/* Files have changed. Alone, or before anybody leads, they count at once. */
static void on_files(void *arg, const char *pool)
{
    struct pd_declared *declared = arg;

    (void)pool;
    if (!declared->is_told && !declared->version[0])
        pd_declared_apply_files(declared->config.store, declared->config.files,
                                declared->config.sources);
    look(declared);
}

/* ---- life ---- */

int pd_declared_open(const struct pd_declared_config *config, struct pd_declared **ret_declared,
                     struct pd_err *err)
{
    struct pd_declared *declared = PD_NEW(struct pd_declared);

    declared->config = *config;
    declared->read = pd_redis_script_of(READ_SCRIPT);
    declared->write = pd_redis_script_of(WRITE_SCRIPT);
    if (pd_pool_schema_new(&declared->schema, err) < 0) {
        free(declared);
        return err->kind;
    }
    if (config->files) {
        pd_declared_apply_files(config->store, config->files, config->sources);
        pd_store_observe(config->files, on_files, declared);
    }
    uv_timer_init(config->loop, &declared->timer);
    declared->timer.data = declared;
    declared->handle_open = true;
    uv_timer_start(&declared->timer, on_timer, 100, PD_DECLARED_LOOK_MS);
    *ret_declared = declared;
    return 0;
}

static void declared_free(struct pd_declared *declared)
{
    void (*closed)(void *arg) = declared->closed;
    void *arg = declared->closed_arg;

    for (size_t i = 0; i < declared->n_records; i++) {
        pd_strmap_remove(&declared->by_name, declared->records[i]->name);
        free(declared->records[i]->text);
        free(declared->records[i]);
    }
    free(declared->records);
    pd_strmap_fini(&declared->by_name);
    pd_schema_free(declared->schema);
    free(declared->lease_key);
    free(declared->hash_key);
    free(declared->channel);
    free(declared);
    closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_declared *declared = handle->data;

    declared->handle_open = false;
    pd_declared_close(declared, NULL, NULL);
}

/* Called again by whatever it waits for. */
void pd_declared_close(struct pd_declared *declared, void (*closed)(void *arg), void *arg)
{
    if (!declared->closing) {
        declared->closing = true;
        declared->closed = closed;
        declared->closed_arg = arg;
        if (declared->config.files)
            pd_store_unobserve(declared->config.files, on_files, declared);
        if (declared->subscription)
            pd_redis_unsubscribe(declared->subscription);
        uv_close((uv_handle_t *)&declared->timer, on_timer_closed);
        return;
    }
    if (!declared->handle_open && !declared->asking)
        declared_free(declared);
}
