/* Theory of operation. `read` asks Redis for the whole hash by a script, one at
 * a time; whatever asks meanwhile (`again`) leads to one more. What came is
 * compared with what is known of each field (`fields`): the text that was looked
 * at last, so that the same mistake is logged once, and under which dataset and
 * server process it was there, by which a removal is told from a loss. */
#include "cli/source_redis.h"

#include <stdlib.h>
#include <string.h>

#include "cli/redis_env.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"
#include "common/uid.h"
#include "common/yaml.h"

/* The hash, its id first; written where pools are there and it has none. */
#define READ_SCRIPT                                                                                \
    "local all = redis.call('HGETALL', KEYS[1])\n"                                                 \
    "if #all == 0 then return {'', all} end\n"                                                     \
    "local id = redis.call('HGET', KEYS[1], '" PD_SOURCE_REDIS_DATASET                             \
    "')\n"                                                                                         \
    "if not id then\n"                                                                             \
    "  id = ARGV[1]\n"                                                                             \
    "  redis.call('HSET', KEYS[1], '" PD_SOURCE_REDIS_DATASET                                      \
    "', id)\n"                                                                                     \
    "end\n"                                                                                        \
    "return {id, all}\n"

#define DOWN_FOR_MS 10000 /* out of reach so long, then pools say so */
#define TICK_MS 2500

struct field {
    char *name;
    char *text; /* looked at last; NULL: none yet */
    size_t len;
    char dataset[PD_UID_BYTES];
    char run_id[PD_REDIS_RUN_ID_BYTES];
    char problem[PD_ERR_MSG_MAX]; /* of that text; "" when it is in force */
    bool rival;                   /* another source has the pool */
    bool lost;                    /* gone, and not by a removal */
    bool here;                    /* in the answer being looked at */
};

struct pd_source_redis {
    struct pd_store *store;
    struct pd_redis *redis;
    struct pd_schema *schema;
    enum pd_provider_kind default_provider;
    struct pd_redis_script script;
    struct pd_redis_subscription *subscription;
    uv_timer_t tick;
    struct pd_time read_at, down_since;
    char dataset[PD_UID_BYTES]; /* of the answer being looked at; "" when the hash has none */
    struct field **fields;
    size_t n_fields;
    struct pd_strmap by_name;
    char trouble[PD_ERR_MSG_MAX]; /* why reading failed, as last logged */
    bool reading, again;
    bool closing, handle_open;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- one field ---- */

/* The field's name is the pool's, so that the manifest need not repeat it. */
static void set_name(struct pd_node *manifest, const char *name)
{
    struct pd_node *metadata;

    if (manifest->kind != PD_NODE_MAP || pd_pool_is_short_form(manifest))
        return;
    metadata = pd_node_get(manifest, "metadata");
    if (!metadata)
        metadata = pd_node_set(manifest, "metadata", pd_node_map_new());
    if (metadata->kind == PD_NODE_MAP && !pd_node_get(metadata, "name"))
        pd_node_set_string(metadata, "name", name);
}

static int parse_node(const struct pd_schema *schema, const char *name, struct pd_node *manifest,
                      enum pd_provider_kind default_provider, struct pd_pool_spec **ret_spec,
                      struct pd_err *err)
{
    struct pd_problems problems = {.count = 0};
    struct pd_pool_spec *spec;

    set_name(manifest, name);
    if (pd_pool_spec_parse(schema, manifest, default_provider, &spec, &problems) < 0)
        return pd_problems_err(&problems, err);
    if (strcmp(spec->name, name) != 0) {
        pd_err_set(err, PD_INVALID, "metadata.name: must be '%.64s', as the field, got '%s'", name,
                   spec->name);
        pd_pool_spec_unref(spec);
        return PD_INVALID;
    }
    *ret_spec = spec;
    return 0;
}

static int parse_text(const struct pd_schema *schema, const char *name, const char *text,
                      size_t len, enum pd_provider_kind default_provider,
                      struct pd_pool_spec **ret_spec, struct pd_err *err)
{
    pd_autonode struct pd_node *documents = NULL;

    if (len > PD_YAML_BYTES_MAX)
        return pd_err_set(err, PD_INVALID, "longer than %u KiB", PD_YAML_BYTES_MAX / 1024);
    if (pd_yaml_parse_all(text, len, &documents, err) < 0)
        return err->kind;
    if (documents->list.count != 1)
        return pd_err_set(err, PD_INVALID, "must be one manifest, got %zu", documents->list.count);
    return parse_node(schema, name, documents->list.items[0], default_provider, ret_spec, err);
}

int pd_source_redis_parse(const struct pd_schema *schema, const char *name, const char *text,
                          size_t len, enum pd_provider_kind default_provider,
                          struct pd_pool_spec **ret_spec, struct pd_err *err)
{
    struct pd_err why;

    if (parse_text(schema, name, text, len, default_provider, ret_spec, &why) == 0)
        return 0;
    return pd_err_set(err, PD_INVALID, PD_SOURCE_REDIS_KEY " '%.64s': %s", name, why.msg);
}

static struct field *field_of(struct pd_source_redis *source, const char *name)
{
    struct field *field = pd_strmap_get(&source->by_name, name);

    if (field || source->n_fields == PD_SOURCE_REDIS_POOLS_MAX)
        return field;
    field = PD_NEW(struct field);
    field->name = pd_strdup(name);
    source->fields = pd_realloc(source->fields, source->n_fields + 1, sizeof(void *));
    source->fields[source->n_fields++] = field;
    pd_strmap_add(&source->by_name, field->name, field);
    return field;
}

static void field_free(struct field *field)
{
    free(field->name);
    free(field->text);
    free(field);
}

static void drop_field(struct pd_source_redis *source, size_t at)
{
    struct field *field = source->fields[at];

    pd_strmap_remove(&source->by_name, field->name);
    source->fields[at] = source->fields[--source->n_fields];
    field_free(field);
}

/* The pool, where it is this source's. */
static struct pd_pool *pool_of(struct pd_source_redis *source, const char *name)
{
    struct pd_pool *pool = pd_store_pool(source->store, name);

    return pool && strcmp(pool->source, PD_SOURCE_REDIS) == 0 ? pool : NULL;
}

static void set_problem(struct pd_source_redis *source, struct field *field, const char *text)
{
    struct pd_pool *pool = pool_of(source, field->name);

    if (*text && strcmp(field->problem, text) != 0)
        pd_log(PD_LOG_ERROR, "sources", "manifest not in force; what it said before stays", "pool",
               field->name, "err", text, NULL);
    pd_strcpy(field->problem, sizeof field->problem, text);
    if (pool)
        pd_store_pool_set_source_error(source->store, pool, text);
}

static void set_rival(struct pd_source_redis *source, struct field *field, bool declares)
{
    if (field->rival != declares || declares)
        pd_store_pool_set_rival(source->store, field->name, PD_SOURCE_REDIS, declares);
    field->rival = declares;
}

static void put(struct pd_source_redis *source, struct field *field)
{
    struct pd_pool_spec *spec;
    struct pd_err err;
    int rc = pd_source_redis_parse(source->schema, field->name, field->text, field->len,
                                   source->default_provider, &spec, &err);

    if (rc == 0) {
        rc = pd_store_pool_put(source->store, spec, PD_SOURCE_REDIS, &err);
        pd_pool_spec_unref(spec);
        set_rival(source, field, rc == PD_CONFLICT);
    }
    set_problem(source, field, rc < 0 ? err.msg : "");
}

/* Whether what it says is in force, or known not to be: nothing is to be done. */
static bool is_settled(struct pd_source_redis *source, const struct field *field)
{
    const struct pd_pool *pool = pool_of(source, field->name);

    if (field->rival || field->lost || !field->text)
        return false;
    return field->problem[0] ? !pool || strcmp(pool->source_error, field->problem) == 0
                             : pool && !pool->deleting && !pool->source_error[0];
}

static void take_field(struct pd_source_redis *source, const char *name, const char *text,
                       size_t len)
{
    struct field *field = field_of(source, name);
    bool same;

    if (!field)
        return;
    same = field->text && field->len == len && memcmp(field->text, text, len) == 0;
    field->here = true;
    pd_strcpy(field->dataset, sizeof field->dataset, source->dataset);
    pd_strcpy(field->run_id, sizeof field->run_id, pd_redis_run_id(source->redis));
    if (same && is_settled(source, field))
        return;
    field->lost = false;
    free(field->text);
    field->text = pd_strndup(text, len);
    field->len = len;
    put(source, field);
}

/* ---- fields that are not there any more ---- */

static bool was_removed(const struct pd_source_redis *source, const struct field *field)
{
    const char *run_id = pd_redis_run_id(source->redis);

    return source->dataset[0] && strcmp(field->dataset, source->dataset) == 0 && run_id[0] &&
           strcmp(field->run_id, run_id) == 0;
}

static void remove_pool(struct pd_source_redis *source, const struct field *field)
{
    struct pd_err err;

    if (!pool_of(source, field->name))
        return;
    pd_log(PD_LOG_INFO, "sources", "no longer in Redis", "pool", field->name, NULL);
    if (pd_store_pool_delete(source->store, field->name, PD_SOURCE_REDIS, &err) < 0)
        pd_log(PD_LOG_ERROR, "sources", "pool not deleted", "pool", field->name, "err", err.msg,
               NULL);
}

static void look_at_absent(struct pd_source_redis *source)
{
    for (size_t i = source->n_fields; i-- > 0;) {
        struct field *field = source->fields[i];

        if (field->here)
            continue;
        if (!was_removed(source, field) && pool_of(source, field->name)) {
            field->lost = true;
            set_problem(source, field,
                        "Redis has lost it (emptied or restarted, not HDEL): set it again, or "
                        "set it and HDEL it to delete the pool");
            continue;
        }
        set_rival(source, field, false);
        remove_pool(source, field);
        drop_field(source, i);
    }
}

/* ---- reading ---- */

static void read_now(struct pd_source_redis *source);

static void take_all(struct pd_source_redis *source, const struct pd_redis_reply *hash)
{
    size_t left_out = 0;

    for (size_t i = 0; i < source->n_fields; i++)
        source->fields[i]->here = false;
    for (size_t i = 0; i + 1 < hash->count; i += 2) {
        const struct pd_redis_reply *name = pd_redis_reply_string(hash, i);
        const struct pd_redis_reply *text = pd_redis_reply_string(hash, i + 1);

        if (!name || !text || strcmp(name->text, PD_SOURCE_REDIS_DATASET) == 0)
            continue;
        if (strlen(name->text) != name->len || name->len >= PD_POOL_NAME_MAX ||
            !field_of(source, name->text)) {
            left_out++;
            continue;
        }
        take_field(source, name->text, text->text, text->len);
    }
    if (left_out > 0)
        pd_log(PD_LOG_ERROR, "sources",
               "fields of " PD_SOURCE_REDIS_KEY " left out: too many, or no name of a pool",
               "count", PD_NUM(left_out), NULL);
    look_at_absent(source);
}

/* Why nothing can be read: all its pools say so, the log once. */
static void set_trouble(struct pd_source_redis *source, const char *text)
{
    struct pd_pool *pool;

    if (*text && strcmp(source->trouble, text) != 0)
        pd_log(PD_LOG_ERROR, "sources", "pools not read from Redis; they stay as they are", "err",
               text, NULL);
    pd_strcpy(source->trouble, sizeof source->trouble, text);
    for (size_t i = 0; *text && (pool = pd_store_pool_at(source->store, i)); i++)
        if (strcmp(pool->source, PD_SOURCE_REDIS) == 0)
            pd_store_pool_set_source_error(source->store, pool, text);
}

static void source_gone(struct pd_source_redis *source);

/* Whether the source still wants what came. */
static bool read_over(struct pd_source_redis *source)
{
    source->reading = false;
    if (source->closing)
        source_gone(source);
    return !source->closing;
}

static void begin_next(struct pd_source_redis *source)
{
    if (source->again && !source->reading)
        read_now(source);
}

static void take_answer(struct pd_source_redis *source, const char *dataset,
                        const struct pd_redis_reply *hash)
{
    pd_strcpy(source->dataset, sizeof source->dataset, dataset);
    set_trouble(source, "");
    take_all(source, hash);
}

/* Without the script: from a Redis that cannot be written to. */
static void on_plain(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_source_redis *source = arg;
    const char *dataset = "";

    if (!read_over(source))
        return;
    for (size_t i = 0; !err && i + 1 < reply->count; i += 2)
        if (pd_redis_reply_is(pd_redis_reply_string(reply, i), PD_SOURCE_REDIS_DATASET) &&
            pd_redis_reply_string(reply, i + 1))
            dataset = reply->items[i + 1]->text;
    if (!err)
        take_answer(source, dataset, reply);
    else if (reply) /* else the connection's trouble, which is told another way */
        set_trouble(source, err->msg);
    begin_next(source);
}

static void read_plainly(struct pd_source_redis *source)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("HGETALL"),
                                        PD_REDIS_TEXT(PD_SOURCE_REDIS_KEY)};
    struct pd_err err;

    source->reading = pd_redis_command(source->redis, args, 2, on_plain, source, &err) == 0;
}

static void on_read(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_source_redis *source = arg;
    const struct pd_redis_reply *id = err ? NULL : pd_redis_reply_string(reply, 0);

    if (!read_over(source))
        return;
    if (err && reply && strncmp(reply->text, "WRONGTYPE", 9) != 0)
        read_plainly(source);
    else if (err && (reply || err->kind == PD_LIMIT))
        set_trouble(source, err->msg);
    else if (id && reply->count == 2 && reply->items[1]->type == PD_REDIS_ARRAY)
        take_answer(source, id->text, reply->items[1]);
    begin_next(source);
}

static void read_now(struct pd_source_redis *source)
{
    char fresh[PD_UID_BYTES];
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(PD_SOURCE_REDIS_KEY),
                                        PD_REDIS_TEXT(pd_uid_random(fresh))};
    struct pd_err err;

    source->again = source->reading;
    if (source->reading || !pd_redis_is_up(source->redis))
        return;
    source->read_at = pd_time_now();
    source->reading =
        pd_redis_eval(source->redis, &source->script, 1, args, 2, on_read, source, &err) == 0;
}

void pd_source_redis_reload(struct pd_source_redis *source)
{
    read_now(source);
}

/* ---- when ---- */

static void on_tick(uv_timer_t *timer)
{
    struct pd_source_redis *source = timer->data;
    struct pd_time now = pd_time_now();

    if (pd_redis_is_up(source->redis)) {
        source->down_since = (struct pd_time){0};
        if (pd_time_ms_between(source->read_at, now) >= PD_SOURCE_REDIS_INTERVAL_MS)
            read_now(source);
    } else if (!pd_time_is_set(source->down_since)) {
        source->down_since = now;
    } else if (pd_time_ms_between(source->down_since, now) >= DOWN_FOR_MS) {
        set_trouble(source, "Redis is not in reach");
    }
}

static void on_up(void *arg)
{
    read_now(arg);
}

static void on_message(void *arg, const void *data, size_t len)
{
    (void)data, (void)len;
    read_now(arg);
}

static const struct pd_redis_subscriber subscriber = {.begun = on_up, .message = on_message};

/* ---- life ---- */

int pd_source_redis_open(const struct pd_source_redis_config *config,
                         struct pd_source_redis **ret_source, struct pd_err *err)
{
    struct pd_source_redis *source = PD_NEW(struct pd_source_redis);

    source->store = config->store;
    source->redis = config->redis;
    source->default_provider = config->default_provider;
    source->script = pd_redis_script_of(READ_SCRIPT);
    if (pd_pool_schema_new(&source->schema, err) < 0 ||
        pd_redis_subscribe(config->redis, PD_SOURCE_REDIS_CHANNEL, &subscriber, source,
                           &source->subscription, err) < 0) {
        pd_schema_free(source->schema);
        free(source);
        return err->kind;
    }
    pd_redis_observe(config->redis, &(struct pd_redis_observer){.up = on_up, .arg = source});
    uv_timer_init(config->loop, &source->tick);
    source->tick.data = source;
    source->handle_open = true;
    uv_timer_start(&source->tick, on_tick, TICK_MS, TICK_MS);
    read_now(source);
    *ret_source = source;
    return 0;
}

static void source_gone(struct pd_source_redis *source)
{
    void (*closed)(void *arg) = source->closed;
    void *arg = source->closed_arg;

    if (source->reading || source->handle_open)
        return;
    for (size_t i = 0; i < source->n_fields; i++)
        field_free(source->fields[i]);
    free(source->fields);
    pd_strmap_fini(&source->by_name);
    pd_schema_free(source->schema);
    free(source);
    if (closed)
        closed(arg);
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct pd_source_redis *source = handle->data;

    source->handle_open = false;
    source_gone(source);
}

void pd_source_redis_close(struct pd_source_redis *source, void (*closed)(void *arg), void *arg)
{
    if (source->closing)
        return;
    source->closing = true;
    source->closed = closed;
    source->closed_arg = arg;
    pd_redis_unsubscribe(source->subscription);
    pd_redis_unobserve(source->redis, source);
    uv_close((uv_handle_t *)&source->tick, on_tick_closed);
}

/* ---- once, for `paddock check` ---- */

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
