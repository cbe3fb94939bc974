#include "cli/manifest_keep.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"

static const char *const steps[] = {
    "CREATE TABLE manifest_files (path TEXT PRIMARY KEY NOT NULL, text BLOB NOT NULL)"
    " WITHOUT ROWID",
    NULL,
};
const struct pd_db_schema pd_manifest_keep_schema = {"manifest_files", steps};

struct pd_manifest_keep {
    struct pd_db *db;
    struct pd_strmap paths; /* each its own key and value */
};

static char *absolute(const char *path)
{
    pd_autofree char *here = NULL;

    if (*path == '/' || !(here = getcwd(NULL, 0)))
        return pd_strdup(path);
    return pd_asprintf("%s/%s", here, path);
}

static void add_path(struct pd_manifest_keep *keep, const char *path)
{
    char *own;

    if (pd_strmap_get(&keep->paths, path))
        return;
    own = pd_strdup(path);
    pd_strmap_add(&keep->paths, own, own);
}

/* ---- writing ---- */

struct writing {
    struct pd_db_job base;
    const char *path;
    const char *text; /* NULL: to be removed */
    size_t len;
    char tail[];
};

static int carry_out(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char put_sql[] =
        "INSERT INTO manifest_files (path, text) VALUES (?1, ?2)"
        " ON CONFLICT (path) DO UPDATE SET text = excluded.text WHERE text <> excluded.text";
    static const char forget_sql[] = "DELETE FROM manifest_files WHERE path = ?1";
    struct writing *writing = PD_CONTAINER_OF(base, struct writing, base);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, writing->text ? put_sql : forget_sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, writing->path);
    if (writing->text)
        pd_db_bind_bytes(stmt, 2, writing->text, writing->len);
    return pd_db_step(conn, stmt, err);
}

static void on_carried_out(struct pd_db_job *base, const struct pd_err *err)
{
    struct writing *writing = PD_CONTAINER_OF(base, struct writing, base);

    if (err)
        pd_log(PD_LOG_ERROR, "sources", "what a file says is not kept for the next start", "path",
               writing->path, "err", err->msg, NULL);
    free(writing);
}

static void submit(struct pd_manifest_keep *keep, const char *path, const char *text, size_t len)
{
    size_t path_bytes = strlen(path) + 1;
    size_t bytes = sizeof(struct writing) + path_bytes + len;
    struct writing *writing = pd_calloc(1, bytes);
    struct pd_err err;

    writing->base.fn = carry_out;
    writing->base.done = on_carried_out;
    writing->base.bytes = bytes;
    writing->base.retry = true;
    writing->path = memcpy(writing->tail, path, path_bytes);
    if (text)
        writing->text = memcpy(writing->tail + path_bytes, text, len);
    writing->len = len;
    if (pd_db_submit(keep->db, PD_DB_DURABLE, &writing->base, &err) < 0)
        on_carried_out(&writing->base, &err);
}

void pd_manifest_keep_put(struct pd_manifest_keep *keep, const char *path, const char *text,
                          size_t len)
{
    pd_autofree char *full = NULL;

    if (!keep)
        return;
    full = absolute(path);
    add_path(keep, full);
    submit(keep, full, text, len);
}

void pd_manifest_keep_forget(struct pd_manifest_keep *keep, const char *path)
{
    pd_autofree char *full = NULL;
    char *own;

    if (!keep)
        return;
    full = absolute(path);
    own = pd_strmap_remove(&keep->paths, full);
    if (own)
        submit(keep, full, NULL, 0);
    free(own);
}

/* ---- reading ---- */

struct reading {
    struct pd_db_job base;
    struct pd_manifest_keep *keep;
    const char *path;
    char *text; /* NULL: none is kept */
    size_t len;
};

static int read_text(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] = "SELECT text FROM manifest_files WHERE path = ?1";
    struct reading *reading = PD_CONTAINER_OF(base, struct reading, base);
    struct sqlite3_stmt *stmt;
    const char *bytes;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, reading->path);
    rc = pd_db_step(conn, stmt, err);
    if (rc == 1) {
        bytes = pd_db_bytes(stmt, 0, &reading->len);
        reading->text = pd_strndup(bytes ? bytes : "", reading->len);
    }
    return rc < 0 ? rc : 0;
}

int pd_manifest_keep_get(struct pd_manifest_keep *keep, const char *path, char **ret_text,
                         size_t *ret_len, struct pd_err *err)
{
    pd_autofree char *full = absolute(path);
    struct reading reading = {.base = {.fn = read_text}, .path = full};
    int rc = 0;

    if (keep)
        rc = pd_db_now(keep->db, PD_DB_READ, &reading.base, err);
    if (rc < 0)
        return rc;
    if (!reading.text)
        return pd_err_set(err, PD_NOT_FOUND, "nothing is kept of it");
    *ret_text = reading.text;
    *ret_len = reading.len;
    return 0;
}

const char *pd_manifest_keep_below(const struct pd_manifest_keep *keep, const char *folder,
                                   size_t *cursor)
{
    pd_autofree char *full = NULL;
    size_t len;

    if (!keep)
        return NULL;
    full = absolute(folder);
    len = strlen(full);
    while (*cursor < keep->paths.capacity) {
        const struct pd_strmap_slot *slot = &keep->paths.slots[(*cursor)++];
        if (slot->key && strncmp(slot->key, full, len) == 0 && slot->key[len] == '/')
            return slot->key;
    }
    return NULL;
}

/* ---- life ---- */

static int read_paths(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] = "SELECT path FROM manifest_files";
    struct reading *reading = PD_CONTAINER_OF(base, struct reading, base);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    while (rc >= 0 && (rc = pd_db_step(conn, stmt, err)) == 1)
        add_path(reading->keep, pd_db_text(stmt, 0));
    return rc;
}

int pd_manifest_keep_open(struct pd_db *db, struct pd_manifest_keep **ret_keep, struct pd_err *err)
{
    struct pd_manifest_keep *keep = PD_NEW(struct pd_manifest_keep);
    struct reading reading = {.base = {.fn = read_paths}, .keep = keep};
    int rc;

    keep->db = db;
    rc = pd_db_now(db, PD_DB_READ, &reading.base, err);
    if (rc < 0)
        pd_manifest_keep_close(keep);
    else
        *ret_keep = keep;
    return rc;
}

void pd_manifest_keep_close(struct pd_manifest_keep *keep)
{
    char *path;

    if (!keep)
        return;
    while ((path = pd_strmap_any(&keep->paths))) {
        pd_strmap_remove(&keep->paths, path);
        free(path);
    }
    pd_strmap_fini(&keep->paths);
    free(keep);
}
