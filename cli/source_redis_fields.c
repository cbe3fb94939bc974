/* Theory of operation. What came is compared with what is known of each field: the
 * text that was looked at last, so that the same mistake is logged once, and under
 * which dataset and server process it was there, by which a removal is told from a
 * loss. */
#include <stdlib.h>
#include <string.h>

#include "cli/source_redis_state.h"
#include "common/log.h"
#include "common/mem.h"

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

/* ---- all of them ---- */

void pd_source_redis_take(struct pd_source_redis *source, const struct pd_redis_reply *hash)
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

void pd_source_redis_set_trouble(struct pd_source_redis *source, const char *text)
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

void pd_source_redis_free_fields(struct pd_source_redis *source)
{
    for (size_t i = 0; i < source->n_fields; i++)
        field_free(source->fields[i]);
    free(source->fields);
    pd_strmap_fini(&source->by_name);
}
