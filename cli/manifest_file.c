#include "cli/manifest_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/yaml.h"

/* The specs of one file, all parsed before any is put. */
struct batch {
    struct pd_pool_spec *specs[PD_MANIFEST_DOCUMENTS_MAX];
    size_t count;
};

static void batch_fini(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        pd_pool_spec_unref(batch->specs[i]);
}

static bool batch_has(const struct batch *batch, const char *name)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (strcmp(batch->specs[i]->name, name) == 0)
            return true;
    }
    return false;
}

/* Whether the file has the pool of document `at` before that too. */
static bool declared_before(const struct batch *batch, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (strcmp(batch->specs[i]->name, batch->specs[at]->name) == 0)
            return true;
    }
    return false;
}

/* "file:PATH"; a path too long for a store's record keeps its end. */
const char *pd_manifest_source_name(const char *path,
                                    char out[static sizeof((struct pd_pool *)0)->source])
{
    size_t room = sizeof((struct pd_pool *)0)->source - sizeof "file:";
    size_t len = strlen(path);

    memcpy(out, "file:", 5);
    pd_strcpy(out + 5, room + 1, len > room ? path + len - room : path);
    return out;
}

static int parse_documents(struct pd_manifest_files *files, const char *text, size_t len,
                           struct batch *batch, struct pd_err *err)
{
    pd_autonode struct pd_node *documents = NULL;

    if (pd_yaml_parse_all(text, len, &documents, err) < 0)
        return err->kind;
    for (size_t i = 0; i < documents->list.count; i++) {
        struct pd_problems problems = {.count = 0};

        if (documents->list.items[i]->kind == PD_NODE_NULL)
            continue;
        if (batch->count == PD_MANIFEST_DOCUMENTS_MAX)
            return pd_err_set(err, PD_LIMIT, "more than %d pools in one file",
                              PD_MANIFEST_DOCUMENTS_MAX);
        if (pd_pool_spec_parse(files->schema, documents->list.items[i], files->default_provider,
                               &batch->specs[batch->count], &problems) < 0)
            return pd_problems_err(&problems, err);
        if (declared_before(batch, batch->count++))
            return pd_err_set(err, PD_INVALID, "pool '%s' is declared twice (line %d)",
                              batch->specs[batch->count - 1]->name, documents->list.items[i]->line);
    }
    return 0;
}

/* What the pools of this file say about its newest text ("" when it is in force). */
static void set_source_error(struct pd_store *store, const char *source, const char *text)
{
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++) {
        if (strcmp(pool->source, source) == 0)
            pd_store_pool_set_source_error(store, pool, text);
    }
}

void pd_manifest_delete_pool(struct pd_store *store, const struct pd_pool *pool, const char *why)
{
    struct pd_err err;

    pd_log(PD_LOG_INFO, "sources", why, "pool", pool->spec->name, "path", pool->source + 5, NULL);
    if (pd_store_pool_delete(store, pool->spec->name, pool->source, &err) < 0)
        pd_log(PD_LOG_ERROR, "sources", "pool not deleted", "pool", pool->spec->name, "err",
               err.msg, NULL);
}

static void delete_absent(struct pd_store *store, const char *source, const struct batch *batch)
{
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++)
        if (!pool->deleting && strcmp(pool->source, source) == 0 &&
            !batch_has(batch, pool->spec->name))
            pd_manifest_delete_pool(store, pool, "no longer in its file");
}

/* A manifest that moved to another file keeps its pool. */
static void take_over(struct pd_store *store, const char *name, const char *source)
{
    struct pd_pool *pool = pd_store_pool(store, name);

    if (!pool || strncmp(pool->source, "file:", 5) != 0)
        return;
    if (pool->deleting || (access(pool->source + 5, F_OK) < 0 && errno == ENOENT))
        pd_store_pool_hand_over(store, pool, source);
}

/* What this source does not declare any more it does not claim either. */
static void give_up_claims(struct pd_store *store, const char *source, const struct batch *batch)
{
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++) {
        if (pool->conflict[0] && !batch_has(batch, pool->spec->name))
            pd_store_pool_set_rival(store, pool->spec->name, source, false);
    }
}

static int put_all(struct pd_manifest_files *files, const char *source, const struct batch *batch,
                   struct pd_err *err)
{
    struct pd_store *store = files->store;
    int result = 0;

    for (size_t i = 0; i < batch->count; i++) {
        const char *name = batch->specs[i]->name;
        bool lost;
        take_over(store, name, source);
        lost = pd_store_pool_put(store, batch->specs[i], source, err) < 0;
        pd_store_pool_set_rival(store, name, source, lost);
        files->lost_one |= lost;
        if (lost)
            result = PD_CONFLICT;
    }
    delete_absent(store, source, batch);
    give_up_claims(store, source, batch);
    return result;
}

/* `path` names the source; `text` is its content. */
int pd_manifest_text_apply(struct pd_manifest_files *files, const char *path, const char *text,
                           size_t len, struct pd_err *err)
{
    char source[sizeof((struct pd_pool *)0)->source];
    struct batch batch = {.count = 0};
    int result;

    pd_manifest_source_name(path, source);
    result = parse_documents(files, text, len, &batch, err);
    if (result == 0)
        result = put_all(files, source, &batch, err);
    batch_fini(&batch);
    /* A conflict is said of the pool that it is about, not of the others. */
    set_source_error(files->store, source, result < 0 && result != PD_CONFLICT ? err->msg : "");
    return result < 0 ? pd_err_wrap(err, "%s", path) : 0;
}

void pd_manifest_file_restore(struct pd_manifest_files *files, const char *path, const char *why)
{
    char source[sizeof((struct pd_pool *)0)->source];
    pd_autofree char *text = NULL;
    struct pd_err err;
    size_t len;
    int result = pd_manifest_keep_get(files->keep, path, &text, &len, &err);

    if (result == PD_NOT_FOUND)
        return;
    if (result == 0)
        result = pd_manifest_text_apply(files, path, text, len, &err);
    if (result < 0 && result != PD_CONFLICT) {
        pd_log(PD_LOG_ERROR, "sources", "what the file said before cannot be taken either", "path",
               path, "err", err.msg, NULL);
        return;
    }
    files->restored = true;
    set_source_error(files->store, pd_manifest_source_name(path, source), why);
}

int pd_manifest_file_apply(struct pd_manifest_files *files, const char *path, struct pd_err *err)
{
    char source[sizeof((struct pd_pool *)0)->source];
    pd_autofree char *text = NULL;
    size_t len;
    int result = pd_file_read(path, PD_YAML_BYTES_MAX, &text, &len, err);

    files->restored = false;
    if (result == PD_NOT_FOUND)
        return result;
    if (result < 0)
        set_source_error(files->store, pd_manifest_source_name(path, source), err->msg);
    else
        result = pd_manifest_text_apply(files, path, text, len, err);
    if (result == 0 || result == PD_CONFLICT)
        pd_manifest_keep_put(files->keep, path, text, len);
    else if (files->starting)
        pd_manifest_file_restore(files, path, err->msg);
    return result;
}
