/* From the files' own store into the service's. */
#include <string.h>

#include "cli/declared.h"
#include "common/log.h"
#include "common/mem.h"

#define ORPHAN                                                                                     \
    "an earlier leader's files declared it, and the files of the replica that leads do not: it "   \
    "stays. To delete it, declare it there and take it away again"

static bool is_of_files(const struct pd_pool *pool)
{
    return strncmp(pool->source, PD_DECLARED_FILE, strlen(PD_DECLARED_FILE)) == 0;
}

static bool is_said(const struct pd_pool *pool, const struct pd_pool_spec *spec)
{
    return pool && !pool->deleting &&
           (pool->spec == spec || pd_node_equal(pool->spec->node, spec->node));
}

static void put(struct pd_store *store, const struct pd_pool *declared)
{
    struct pd_pool *pool = pd_store_pool(store, declared->spec->name);
    struct pd_err err;

    if (pool && !is_of_files(pool)) {
        pd_store_pool_set_rival(store, declared->spec->name, declared->source, true);
        return;
    }
    if (pool)
        pd_store_pool_hand_over(store, pool, declared->source);
    if (!is_said(pool, declared->spec) &&
        pd_store_pool_put(store, declared->spec, declared->source, &err) < 0) {
        pd_log(PD_LOG_ERROR, "sources", "pool not in force", "pool", declared->spec->name, "err",
               err.msg, NULL);
        return;
    }
    pool = pd_store_pool(store, declared->spec->name);
    pd_store_pool_set_source_error(store, pool, declared->source_error);
}

static bool is_rival(const struct pd_pool *declared, const char *source)
{
    const char *rival;

    for (size_t i = 0; declared && (rival = pd_store_pool_rival_at(declared, i)); i++)
        if (strcmp(rival, source) == 0)
            return true;
    return false;
}

/* Who declares it too, among the files. */
static void put_rivals(struct pd_store *store, struct pd_pool *pool, const struct pd_pool *declared)
{
    const char *name = pool->spec->name, *rival;

    for (size_t i = 0; (rival = pd_store_pool_rival_at(pool, i)); i++)
        if (strncmp(rival, PD_DECLARED_FILE, strlen(PD_DECLARED_FILE)) == 0 &&
            !is_rival(declared, rival) &&
            !(declared && !is_of_files(pool) && strcmp(declared->source, rival) == 0))
            pd_store_pool_set_rival(store, name, rival, false);
    for (size_t i = 0; declared && (rival = pd_store_pool_rival_at(declared, i)); i++)
        if (rival[0])
            pd_store_pool_set_rival(store, name, rival, true);
}

static void take_away(struct pd_store *store, struct pd_pool *pool, const char *why)
{
    struct pd_err err;

    if (pool->deleting)
        return;
    pd_log(PD_LOG_INFO, "sources", "pool taken away", "pool", pool->spec->name, "source",
           pool->source, "why", why, NULL);
    if (pd_store_pool_delete(store, pool->spec->name, pool->source, &err) < 0)
        pd_log(PD_LOG_ERROR, "sources", "pool not deleted", "pool", pool->spec->name, "err",
               err.msg, NULL);
}

/* Those that the files have taken away, in this life of theirs. */
static void take_removed(struct pd_store *store, struct pd_store *files)
{
    struct pd_pool *declared;

    for (size_t i = 0; (declared = pd_store_pool_at(files, i));) {
        struct pd_pool *pool;
        if (!declared->deleting) {
            i++;
            continue;
        }
        pool = pd_store_pool(store, declared->spec->name);
        if (pool && is_of_files(pool))
            take_away(store, pool, "the files do not declare it any more");
        pd_store_pool_forget(files, declared->spec->name);
    }
}

void pd_declared_apply_files(struct pd_store *store, struct pd_store *files,
                             const struct pd_sources *sources)
{
    struct pd_pool *pool, *declared;

    take_removed(store, files);
    for (size_t i = 0; (declared = pd_store_pool_at(files, i)); i++)
        put(store, declared);
    for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++) {
        declared = pd_store_pool(files, pool->spec->name);
        put_rivals(store, pool, declared);
        if (declared || pool->deleting || !is_of_files(pool))
            continue;
        if (sources && pd_sources_took_away(sources, pool->source))
            take_away(store, pool, "it is not in the files of the replica that leads");
        else
            pd_store_pool_set_source_error(store, pool, ORPHAN);
    }
}
