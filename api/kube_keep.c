/* Theory of operation.
 *
 * A write is in the store first and in the database next; who asked for it is
 * answered when the database has it. A kill between the two leaves the old
 * state, which nobody was told had changed.
 *
 * When a pool is gone from the store (drained, forgotten) its record is removed;
 * a kill before that brings the pool back as one that is being deleted, which
 * has nothing to drain and goes the same way. */
#include "api/kube_keep.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"

#define RECORD_BYTES_MAX (4u * 1024 * 1024)

static const char *const steps[] = {
    "CREATE TABLE kube_pools (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    NULL,
};
const struct pd_db_schema pd_kube_keep_schema = {"kube_pools", steps};

/* A pool of ours that is, or was a moment ago, in the store. */
struct kept {
    char name[PD_POOL_NAME_MAX];
    struct pd_node *managed; /* NULL: none */
};

struct pd_kube_keep {
    struct pd_store *store;
    struct pd_db *db;
    struct pd_strmap kept; /* by name */
};

static struct kept *kept_of(struct pd_kube_keep *keep, const char *name)
{
    struct kept *kept = pd_strmap_get(&keep->kept, name);

    if (!kept) {
        kept = PD_NEW(struct kept);
        pd_strcpy(kept->name, sizeof kept->name, name);
        pd_strmap_add(&keep->kept, kept->name, kept);
    }
    return kept;
}

static void kept_free(struct kept *kept)
{
    pd_node_free(kept->managed);
    free(kept);
}

/* ---- writing ---- */

struct job {
    struct pd_db_job job;
    char *name;
    char *record; /* NULL: to be removed */
    void (*done)(void *arg, const struct pd_err *err);
    void *arg;
};

static int carry_out(struct pd_db_job *db_job, struct pd_db_conn *conn, struct pd_err *err)
{
    struct job *job = PD_CONTAINER_OF(db_job, struct job, job);
    struct sqlite3_stmt *stmt;
    int rc;

    rc = job->record ? pd_db_prepare(conn,
                                     "INSERT INTO kube_pools (name, record) VALUES (?1, ?2) "
                                     "ON CONFLICT (name) DO UPDATE SET record = excluded.record",
                                     &stmt, err)
                     : pd_db_prepare(conn, "DELETE FROM kube_pools WHERE name = ?1", &stmt, err);
    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, job->name);
    if (job->record)
        pd_db_bind_text(stmt, 2, job->record);
    return pd_db_step(conn, stmt, err);
}

static void on_carried_out(struct pd_db_job *db_job, const struct pd_err *err)
{
    struct job *job = PD_CONTAINER_OF(db_job, struct job, job);

    if (job->done)
        job->done(job->arg, err);
    free(job->name);
    free(job->record);
    free(job);
}

static int submit(struct pd_kube_keep *keep, const char *name, char *record,
                  void (*done)(void *arg, const struct pd_err *err), void *arg, struct pd_err *err)
{
    struct job *job = PD_NEW(struct job);
    int rc;

    job->job.fn = carry_out;
    job->job.done = on_carried_out;
    job->job.bytes = sizeof *job + (record ? strlen(record) : 0);
    job->job.keep = record == NULL;
    job->name = pd_strdup(name);
    job->record = record;
    job->done = done;
    job->arg = arg;
    rc = pd_db_submit(keep->db, PD_DB_DURABLE, &job->job, err);
    if (rc < 0) {
        free(job->name);
        free(job->record);
        free(job);
    }
    return rc;
}

static struct pd_node *record_node(const struct pd_pool *pool, const struct pd_node *managed)
{
    struct pd_node *node = pd_node_map_new();

    pd_node_set(node, "manifest", pd_node_copy(pool->spec->node));
    pd_node_set_string(node, "uid", pool->uid);
    pd_node_set_int(node, "generation", pool->generation);
    pd_node_set_int(node, "created_ms", pool->created_wall_ms);
    pd_node_set_int(node, "deleted_ms", pool->deletion_wall_ms);
    if (managed)
        pd_node_set(node, "managedFields", pd_node_copy(managed));
    return node;
}

int pd_kube_keep_put(struct pd_kube_keep *keep, const struct pd_pool *pool,
                     void (*done)(void *arg, const struct pd_err *err), void *arg,
                     struct pd_err *err)
{
    struct kept *kept = kept_of(keep, pool->spec->name);
    pd_autonode struct pd_node *node = record_node(pool, kept->managed);
    pd_autobuf struct pd_buf text;
    int rc;

    pd_buf_init(&text, RECORD_BYTES_MAX);
    rc = pd_json_format(node, &text, err);
    return rc < 0 ? rc : submit(keep, pool->spec->name, pd_buf_steal(&text), done, arg, err);
}

bool pd_kube_keep_lasts(const struct pd_kube_keep *keep)
{
    return keep && keep->db;
}

bool pd_kube_keep_has(const struct pd_kube_keep *keep, const char *name)
{
    return keep && pd_strmap_get(&keep->kept, name);
}

void pd_kube_keep_forget(struct pd_kube_keep *keep, const char *name)
{
    struct kept *kept = pd_strmap_remove(&keep->kept, name);
    struct pd_err err;

    if (!kept)
        return;
    if (keep->db && submit(keep, name, NULL, NULL, NULL, &err) < 0)
        pd_log(PD_LOG_ERROR, "kube", "the record of a pool that is gone stays", "pool", name, "err",
               err.msg, NULL);
    kept_free(kept);
}

static void on_pool(void *arg, const char *name)
{
    struct pd_kube_keep *keep = arg;
    const struct pd_pool *pool = pd_store_pool(keep->store, name);

    if (!pool || strcmp(pool->source, PD_KUBE_SOURCE) != 0)
        pd_kube_keep_forget(keep, name);
}

/* ---- managed fields ---- */

const struct pd_node *pd_kube_keep_managed(const struct pd_kube_keep *keep, const char *name)
{
    const struct kept *kept = keep ? pd_strmap_get(&keep->kept, name) : NULL;

    return kept ? kept->managed : NULL;
}

void pd_kube_keep_set_managed(struct pd_kube_keep *keep, const char *name, struct pd_node *fields)
{
    struct kept *kept;

    if (!keep) {
        pd_node_free(fields);
        return;
    }
    kept = kept_of(keep, name);
    pd_node_free(kept->managed);
    kept->managed = fields;
}

/* ---- restoring ---- */

struct load_job {
    struct pd_db_job job;
    struct pd_node *records; /* texts by name */
};

static int load(struct pd_db_job *db_job, struct pd_db_conn *conn, struct pd_err *err)
{
    struct load_job *job = PD_CONTAINER_OF(db_job, struct load_job, job);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, "SELECT name, record FROM kube_pools ORDER BY name", &stmt, err);

    if (rc < 0)
        return rc;
    while ((rc = pd_db_step(conn, stmt, err)) > 0)
        pd_node_append(job->records, pd_db_text(stmt, 0), pd_node_string_new(pd_db_text(stmt, 1)));
    return rc;
}

static int restore_one(struct pd_kube_keep *keep, const struct pd_kube_keep_config *config,
                       const struct pd_schema *schema, const char *name, const char *text,
                       struct pd_err *err)
{
    pd_autonode struct pd_node *record = NULL;
    struct pd_problems problems = {.count = 0};
    struct pd_pool_identity identity = {.generation = 0};
    struct pd_pool_spec *spec = NULL;
    const struct pd_node *managed;
    int rc = pd_json_parse(text, strlen(text), &record, err);

    if (rc < 0)
        return rc;
    if (!pd_node_get(record, "manifest"))
        return pd_err_set(err, PD_INVALID, "the record has no manifest");
    if (pd_pool_spec_parse(schema, pd_node_get(record, "manifest"), config->default_provider, &spec,
                           &problems) < 0)
        return pd_problems_err(&problems, err);
    pd_strcpy(identity.uid, sizeof identity.uid, pd_node_text(pd_node_get(record, "uid"), ""));
    identity.generation = pd_node_int(pd_node_get(record, "generation"), 1);
    identity.created_wall_ms = pd_node_int(pd_node_get(record, "created_ms"), 0);
    identity.deletion_wall_ms = pd_node_int(pd_node_get(record, "deleted_ms"), 0);
    rc = pd_store_pool_restore(keep->store, spec, PD_KUBE_SOURCE, &identity, err);
    pd_pool_spec_unref(spec);
    managed = pd_node_get(record, "managedFields");
    if (rc == 0)
        pd_kube_keep_set_managed(keep, name, managed ? pd_node_copy(managed) : NULL);
    return rc;
}

static int restore(struct pd_kube_keep *keep, const struct pd_kube_keep_config *config,
                   const struct pd_schema *schema, struct pd_err *err)
{
    struct load_job job = {.job = {.fn = load}, .records = pd_node_map_new()};
    int rc = pd_db_now(config->db, PD_DB_READ, &job.job, err);

    for (size_t i = 0; rc == 0 && i < job.records->map.count; i++) {
        const struct pd_member *member = &job.records->map.members[i];
        struct pd_err own;
        if (restore_one(keep, config, schema, member->key, member->value->string.text, &own) < 0)
            pd_log(PD_LOG_ERROR, "kube", "a kept pool cannot be restored; its record stays", "pool",
                   member->key, "err", own.msg, NULL);
    }
    pd_node_free(job.records);
    return rc;
}

int pd_kube_keep_open(const struct pd_kube_keep_config *config, struct pd_kube_keep **ret_keep,
                      struct pd_err *err)
{
    struct pd_kube_keep *keep = PD_NEW(struct pd_kube_keep);
    struct pd_schema *schema = NULL;
    int rc = 0;

    keep->store = config->store;
    keep->db = config->db;
    if (config->db) {
        rc = pd_pool_schema_new(&schema, err);
        if (rc == 0)
            rc = restore(keep, config, schema, err);
        pd_schema_free(schema);
    }
    pd_store_observe(keep->store, on_pool, keep);
    if (rc < 0)
        pd_kube_keep_close(keep);
    else
        *ret_keep = keep;
    return rc;
}

void pd_kube_keep_close(struct pd_kube_keep *keep)
{
    struct kept *kept;

    if (!keep)
        return;
    pd_store_unobserve(keep->store, on_pool, keep);
    while ((kept = pd_strmap_any(&keep->kept))) {
        pd_strmap_remove(&keep->kept, kept->name);
        kept_free(kept);
    }
    pd_strmap_fini(&keep->kept);
    free(keep);
}
