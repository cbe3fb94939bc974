#include "cli/sources.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/asset.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/yaml.h"

#define DOCUMENTS_MAX 256      /* pools in one file */
#define SETTLE_MS 150          /* editors write a file in several steps */
#define BUILT_IN "conf/default.yaml"

/* One folder whose files are watched. */
struct folder {
    struct pd_sources *sources;
    uv_fs_event_t event;
    bool (*concerns)(const struct pd_sources *sources, const char *filename);
    bool watched; /* `event` is an open handle */
    bool seen;    /* it has been read at least once, */
    dev_t dev;    /* when it was on this device */
};

struct pd_sources {
    struct pd_store *store;
    struct pd_schema *schema;
    enum pd_provider_kind default_provider;
    char *config;    /* NULL: built in */
    char *pools_dir; /* NULL: none */
    struct folder config_folder, pools_folder;
    uv_timer_t settle;
    int open_handles;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* The specs of one file, all parsed before any is put. */
struct batch {
    struct pd_pool_spec *specs[DOCUMENTS_MAX];
    size_t count;
};

static void batch_fini(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        pd_pool_spec_unref(batch->specs[i]);
}

/* "file:PATH"; a path too long for a store's record keeps its end. */
static const char *source_name(const char *path, char out[static sizeof((struct pd_pool *)0)->source])
{
    size_t room = sizeof((struct pd_pool *)0)->source - sizeof "file:";
    size_t len = strlen(path);

    memcpy(out, "file:", 5);
    pd_strcpy(out + 5, room + 1, len > room ? path + len - room : path);
    return out;
}

static int parse_documents(struct pd_sources *sources, const char *text, size_t len,
                           struct batch *batch, struct pd_err *err)
{
    pd_autonode struct pd_node *documents = NULL;

    if (pd_yaml_parse_all(text, len, &documents, err) < 0)
        return err->kind;
    for (size_t i = 0; i < documents->list.count; i++) {
        struct pd_problems problems = {.count = 0};

        if (documents->list.items[i]->kind == PD_NODE_NULL)
            continue;
        if (batch->count == DOCUMENTS_MAX)
            return pd_err_set(err, PD_LIMIT, "more than %d pools in one file", DOCUMENTS_MAX);
        if (pd_pool_spec_parse(sources->schema, documents->list.items[i],
                               sources->default_provider, &batch->specs[batch->count],
                               &problems) < 0)
            return pd_problems_err(&problems, err);
        batch->count++;
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

static bool batch_has(const struct batch *batch, const char *name)
{
    for (size_t i = 0; i < batch->count; i++)
        if (strcmp(batch->specs[i]->name, name) == 0)
            return true;
    return false;
}

static void delete_pool(struct pd_store *store, const struct pd_pool *pool, const char *why)
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
            delete_pool(store, pool, "no longer in its file");
}

/* A manifest that moved to another file keeps its pool. */
static void take_over(struct pd_store *store, const char *name, const char *source)
{
    struct pd_pool *pool = pd_store_pool(store, name);

    if (!pool || strncmp(pool->source, "file:", 5) != 0)
        return;
    if (pool->deleting || (access(pool->source + 5, F_OK) < 0 && errno == ENOENT))
        pd_strcpy(pool->source, sizeof pool->source, source);
}

static int put_all(struct pd_store *store, const char *source, const struct batch *batch,
                   struct pd_err *err)
{
    int result = 0;

    for (size_t i = 0; i < batch->count; i++) {
        take_over(store, batch->specs[i]->name, source);
        if (pd_store_pool_put(store, batch->specs[i], source, err) < 0)
            result = pd_err_wrap(err, "pool '%s'", batch->specs[i]->name);
    }
    delete_absent(store, source, batch);
    return result;
}

/* `path` names the source; `text` is its content. */
static int apply_text(struct pd_sources *sources, const char *path, const char *text, size_t len,
                      struct pd_err *err)
{
    char source[sizeof((struct pd_pool *)0)->source];
    struct batch batch = {.count = 0};
    int result;

    source_name(path, source);
    result = parse_documents(sources, text, len, &batch, err);
    if (result == 0)
        result = put_all(sources->store, source, &batch, err);
    batch_fini(&batch);
    set_source_error(sources->store, source, result < 0 ? err->msg : "");
    return result < 0 ? pd_err_wrap(err, "%s", path) : 0;
}

static int apply_file(struct pd_sources *sources, const char *path, struct pd_err *err)
{
    pd_autofree char *text = NULL;
    size_t len;

    if (pd_file_read(path, PD_YAML_BYTES_MAX, &text, &len, err) < 0)
        return err->kind;
    return apply_text(sources, path, text, len, err);
}

static int apply_config(struct pd_sources *sources, struct pd_err *err)
{
    struct pd_asset built_in = pd_asset_find(BUILT_IN);

    if (sources->config)
        return apply_file(sources, sources->config, err);
    if (!built_in.name)
        return pd_err_set(err, PD_INTERNAL, "no configuration is built into this program");
    return apply_text(sources, "built-in " BUILT_IN, (const char *)built_in.data, built_in.len, err);
}

static bool is_manifest_name(const char *name)
{
    size_t len = strlen(name);

    return name[0] != '.' && ((len > 5 && !strcmp(name + len - 5, ".yaml")) ||
                              (len > 4 && !strcmp(name + len - 4, ".yml")));
}

static int is_manifest(const struct dirent *entry)
{
    return is_manifest_name(entry->d_name);
}

/* Conflicts are worth a second try: a pool that moved from one file to another
 * has no owner once both have been read. */
enum pass { FIRST_PASS, LAST_PASS };

/* Whether a conflict was left to the next pass. */
static bool apply_manifests(struct pd_sources *sources, struct dirent **entries, int count,
                            enum pass pass)
{
    bool again = false;

    for (int i = 0; i < count; i++) {
        pd_autofree char *path = pd_asprintf("%s/%s", sources->pools_dir, entries[i]->d_name);
        struct pd_err err;
        int result = apply_file(sources, path, &err);

        if (result == PD_CONFLICT && pass == FIRST_PASS)
            again = true;
        else if (result < 0)
            pd_log(PD_LOG_ERROR, "sources", "manifest not in force; what it said before stays",
                   "err", err.msg, NULL);
    }
    return again;
}

/* Whether this folder is still where it was first read: a mount that went away
 * leaves an empty folder on another device. */
static bool folder_is_same(struct folder *folder, const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return false;
    if (!folder->seen)
        folder->dev = st.st_dev;
    folder->seen = true;
    return folder->dev == st.st_dev;
}

/* Pools whose file below the folder does not exist any more. */
static void delete_gone(struct pd_sources *sources)
{
    char prefix[sizeof((struct pd_pool *)0)->source];
    struct pd_pool *pool;

    source_name(sources->pools_dir, prefix);
    for (size_t i = 0; (pool = pd_store_pool_at(sources->store, i)); i++) {
        size_t len = strlen(prefix);
        if (pool->deleting || strncmp(pool->source, prefix, len) != 0 ||
            pool->source[len] != '/')
            continue;
        if (access(pool->source + 5, F_OK) < 0 && errno == ENOENT)
            delete_pool(sources->store, pool, "its file is gone");
    }
}

static void apply_pools_dir(struct pd_sources *sources)
{
    struct dirent **entries = NULL;
    int count;

    if (!sources->pools_dir)
        return;
    count = scandir(sources->pools_dir, &entries, is_manifest, alphasort);
    if (count < 0) {
        if (errno != ENOENT || sources->pools_folder.seen)
            pd_log(PD_LOG_WARN, "sources", "folder of manifests cannot be read; its pools stay",
                   "path", sources->pools_dir, "err", strerror(errno), NULL);
        return;
    }
    if (!folder_is_same(&sources->pools_folder, sources->pools_dir)) {
        pd_log(PD_LOG_WARN, "sources", "folder of manifests has become another one; its pools stay",
               "path", sources->pools_dir, NULL);
    } else {
        int taken = count < PD_SOURCES_FILES_MAX ? count : PD_SOURCES_FILES_MAX;
        if (apply_manifests(sources, entries, taken, FIRST_PASS))
            apply_manifests(sources, entries, taken, LAST_PASS);
        delete_gone(sources);
        if (taken < count)
            pd_log(PD_LOG_ERROR, "sources", "too many manifests; the rest is left out", "path",
                   sources->pools_dir, NULL);
    }
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

void pd_sources_reload(struct pd_sources *sources)
{
    struct pd_err err;

    if (apply_config(sources, &err) < 0)
        pd_log(PD_LOG_ERROR, "sources", "configuration not in force; what it said before stays",
               "err", err.msg, NULL);
    apply_pools_dir(sources);
}

/* ---- watching ---- */

static void on_settled(uv_timer_t *timer)
{
    struct pd_sources *sources = timer->data;

    pd_log(PD_LOG_INFO, "sources", "files changed; reading them again", NULL);
    pd_sources_reload(sources);
}

/* Mounted configuration (a ConfigMap) changes by a link of this name. */
#define MOUNTED_LINK "..data"

static bool concerns_config(const struct pd_sources *sources, const char *filename)
{
    const char *slash = strrchr(sources->config, '/');

    return strcmp(filename, slash ? slash + 1 : sources->config) == 0 ||
           strcmp(filename, MOUNTED_LINK) == 0;
}

static bool concerns_pools(const struct pd_sources *sources, const char *filename)
{
    (void)sources;
    return is_manifest_name(filename) || strcmp(filename, MOUNTED_LINK) == 0;
}

static void on_changed(uv_fs_event_t *event, const char *filename, int events, int status)
{
    struct folder *folder = event->data;

    (void)events;
    if (status < 0 || (filename && !folder->concerns(folder->sources, filename)))
        return;
    uv_timer_start(&folder->sources->settle, on_settled, SETTLE_MS, 0);
}

static void watch_folder(struct folder *folder, uv_loop_t *loop, const char *path)
{
    if (uv_fs_event_init(loop, &folder->event) < 0)
        return;
    folder->event.data = folder;
    folder->watched = true;
    folder->sources->open_handles++;
    if (uv_fs_event_start(&folder->event, on_changed, path, 0) < 0)
        pd_log(PD_LOG_INFO, "sources", "folder is not watched; SIGHUP reads it again", "path",
               path, NULL);
}

static void watch(struct pd_sources *sources, uv_loop_t *loop)
{
    uv_timer_init(loop, &sources->settle);
    sources->settle.data = sources;
    sources->open_handles = 1;
    sources->config_folder.sources = sources;
    sources->pools_folder.sources = sources;
    sources->config_folder.concerns = concerns_config;
    sources->pools_folder.concerns = concerns_pools;
    if (sources->config) {
        const char *slash = strrchr(sources->config, '/');
        size_t len = slash ? (size_t)(slash - sources->config) : 1;
        pd_autofree char *dir = pd_strndup(slash ? sources->config : ".", len ? len : 1);
        watch_folder(&sources->config_folder, loop, dir);
    }
    if (sources->pools_dir && access(sources->pools_dir, F_OK) == 0)
        watch_folder(&sources->pools_folder, loop, sources->pools_dir);
}

static void sources_free(struct pd_sources *sources)
{
    pd_schema_free(sources->schema);
    free(sources->config);
    free(sources->pools_dir);
    free(sources);
}

int pd_sources_open(const struct pd_sources_config *config, struct pd_sources **ret_sources,
                    struct pd_err *err)
{
    struct pd_sources *sources = PD_NEW(struct pd_sources);

    sources->store = config->store;
    sources->default_provider = config->default_provider;
    sources->config = config->config ? pd_strdup(config->config) : NULL;
    sources->pools_dir = config->pools_dir ? pd_strdup(config->pools_dir) : NULL;
    if (pd_pool_schema_new(&sources->schema, err) < 0 || apply_config(sources, err) < 0) {
        int kind = err->kind;
        sources_free(sources);
        return kind;
    }
    apply_pools_dir(sources);
    watch(sources, config->loop);
    *ret_sources = sources;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_sources *sources = handle->type == UV_TIMER
                                     ? handle->data
                                     : ((struct folder *)handle->data)->sources;
    void (*closed)(void *arg) = sources->closed;
    void *arg = sources->closed_arg;

    if (--sources->open_handles > 0)
        return;
    sources_free(sources);
    if (closed)
        closed(arg);
}

void pd_sources_close(struct pd_sources *sources, void (*closed)(void *arg), void *arg)
{
    if (sources->closing)
        return;
    sources->closing = true;
    sources->closed = closed;
    sources->closed_arg = arg;
    uv_close((uv_handle_t *)&sources->settle, on_handle_closed);
    if (sources->config_folder.watched)
        uv_close((uv_handle_t *)&sources->config_folder.event, on_handle_closed);
    if (sources->pools_folder.watched)
        uv_close((uv_handle_t *)&sources->pools_folder.event, on_handle_closed);
}
