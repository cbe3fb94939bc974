#include "cli/sources.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/folder_watch.h"
#include "cli/manifest_file.h"
#include "cli/manifest_keep.h"
#include "common/asset.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/yaml.h"

#define SETTLE_MS 150 /* editors write a file in several steps */
#define BUILT_IN "conf/default.yaml"

struct pd_sources {
    struct pd_manifest_files files;
    char *config;    /* NULL: built in */
    char *pools_dir; /* NULL: none */
    struct pd_folder_watch *config_watch, *pools_watch;
    bool pools_seen; /* the folder has been read at least once, */
    dev_t pools_dev; /* when it was on this device */
    uv_timer_t settle;
    int open_parts; /* the timer and the watches */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static int apply_config(struct pd_sources *sources, struct pd_err *err)
{
    struct pd_asset built_in = pd_asset_find(BUILT_IN);

    if (sources->config)
        return pd_manifest_file_apply(&sources->files, sources->config, err);
    if (!built_in.name)
        return pd_err_set(err, PD_INTERNAL, "no configuration is built into this program");
    return pd_manifest_text_apply(&sources->files, "built-in " BUILT_IN,
                                  (const char *)built_in.data, built_in.len, err);
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
        int result = pd_manifest_file_apply(&sources->files, path, &err);

        if (result == PD_CONFLICT && pass == FIRST_PASS)
            again = true;
        else if (result < 0)
            pd_log(PD_LOG_ERROR, "sources", "manifest not in force; what it said before stays",
                   "err", err.msg, NULL);
    }
    return again;
}

/* What may be concluded from what is not in the folder. */
enum standing {
    FOLDER_SAME,    /* it is where it was first read: what is gone was taken away */
    FOLDER_CHANGED, /* on another device, with manifests: they count, absence does not */
    FOLDER_LOST,    /* on another device, and empty: a mount that went away */
};

static enum standing folder_standing(struct pd_sources *sources, int manifests)
{
    struct stat st;

    if (stat(sources->pools_dir, &st) < 0)
        return FOLDER_LOST;
    if (sources->pools_seen && sources->pools_dev != st.st_dev && manifests == 0)
        return FOLDER_LOST;
    if (sources->pools_seen && sources->pools_dev != st.st_dev) {
        sources->pools_dev = st.st_dev;
        return FOLDER_CHANGED;
    }
    sources->pools_seen = true;
    sources->pools_dev = st.st_dev;
    return FOLDER_SAME;
}

/* Whether `source` is a file below the folder that does not exist any more. */
static bool is_gone(const struct pd_sources *sources, const char *source)
{
    char prefix[sizeof((struct pd_pool *)0)->source];
    size_t len;

    pd_manifest_source_name(sources->pools_dir, prefix);
    len = strlen(prefix);
    return strncmp(source, prefix, len) == 0 && source[len] == '/' &&
           access(source + 5, F_OK) < 0 && errno == ENOENT;
}

/* Pools whose file below the folder is gone, and claims of such files. */
static void delete_gone(struct pd_sources *sources)
{
    struct pd_pool *pool;
    const char *rival;

    for (size_t i = 0; (pool = pd_store_pool_at(sources->files.store, i)); i++) {
        for (size_t j = 0; (rival = pd_store_pool_rival_at(pool, j)); j++) {
            if (is_gone(sources, rival))
                pd_store_pool_set_rival(sources->files.store, pool->spec->name, rival, false);
        }
        if (!pool->deleting && is_gone(sources, pool->source))
            pd_manifest_delete_pool(sources->files.store, pool, "its file is gone");
    }
}

/* What is kept of files that were taken away. */
static void forget_gone(struct pd_sources *sources)
{
    const char *path;
    size_t cursor = 0;

    while ((path = pd_manifest_keep_below(sources->files.keep, sources->pools_dir, &cursor))) {
        if (access(path, F_OK) == 0 || errno != ENOENT)
            continue;
        pd_manifest_keep_forget(sources->files.keep, path);
        cursor = 0;
    }
}

/* At a start: a folder that cannot be read deletes no pool, so its files say on. */
static void restore_folder(struct pd_sources *sources, const char *why)
{
    const char *path;
    size_t cursor = 0;

    if (!sources->files.starting)
        return;
    while ((path = pd_manifest_keep_below(sources->files.keep, sources->pools_dir, &cursor))) {
        pd_autofree char *own = pd_asprintf("%s/%s", sources->pools_dir, strrchr(path, '/') + 1);
        pd_autofree char *text = pd_asprintf("%s: %s", sources->pools_dir, why);
        pd_manifest_file_restore(&sources->files, own, text);
    }
}

static void apply_listed(struct pd_sources *sources, struct dirent **entries, int count)
{
    enum standing standing = folder_standing(sources, count);
    int taken = count < PD_SOURCES_FILES_MAX ? count : PD_SOURCES_FILES_MAX;

    if (standing != FOLDER_SAME)
        pd_log(PD_LOG_WARN, "sources",
               "folder of manifests has become another one; no pool is deleted for that", "path",
               sources->pools_dir, NULL);
    if (standing == FOLDER_LOST)
        return;
    if (apply_manifests(sources, entries, taken, FIRST_PASS))
        apply_manifests(sources, entries, taken, LAST_PASS);
    if (standing == FOLDER_SAME) {
        delete_gone(sources);
        forget_gone(sources);
    }
    if (taken < count)
        pd_log(PD_LOG_ERROR, "sources", "too many manifests; the rest is left out", "path",
               sources->pools_dir, NULL);
}

static void apply_pools_dir(struct pd_sources *sources)
{
    struct dirent **entries = NULL;
    int count;

    if (!sources->pools_dir)
        return;
    count = scandir(sources->pools_dir, &entries, is_manifest, alphasort);
    if (count < 0) {
        int code = errno;
        const char *why = strerror(code);
        sources->files.restored = false;
        restore_folder(sources, why);
        if (code != ENOENT || sources->pools_seen || sources->files.restored)
            pd_log(PD_LOG_WARN, "sources", "folder of manifests cannot be read; its pools stay",
                   "path", sources->pools_dir, "err", why, NULL);
        return;
    }
    apply_listed(sources, entries, count);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

/* Whether a file that was read without trouble is this source. */
static bool says_other_things(const struct pd_sources *sources, const char *source)
{
    const struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(sources->files.store, i)); i++)
        if (!pool->deleting && strcmp(pool->source, source) == 0 && !pool->source_error[0])
            return true;
    return false;
}

bool pd_sources_took_away(const struct pd_sources *sources, const char *source)
{
    struct dirent **entries = NULL;
    int count;

    if (says_other_things(sources, source))
        return true;
    if (!sources->pools_dir || !is_gone(sources, source))
        return false;
    count = scandir(sources->pools_dir, &entries, is_manifest, alphasort);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return count > 0;
}

void pd_sources_reload(struct pd_sources *sources)
{
    struct pd_err err;

    sources->files.lost_one = false;
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

static void reload_soon(struct pd_sources *sources)
{
    if (!sources->closing)
        uv_timer_start(&sources->settle, on_settled, SETTLE_MS, 0);
}

static void on_config_touched(void *arg, const char *name)
{
    struct pd_sources *sources = arg;
    const char *slash = strrchr(sources->config, '/');

    if (!name || strcmp(name, slash ? slash + 1 : sources->config) == 0 ||
        strcmp(name, MOUNTED_LINK) == 0)
        reload_soon(sources);
}

static void on_pools_touched(void *arg, const char *name)
{
    if (!name || is_manifest_name(name) || strcmp(name, MOUNTED_LINK) == 0)
        reload_soon(arg);
}

/* Where a pool has gone, a file that declared it in vain may have it. */
static void on_store_changed(void *arg, const char *pool)
{
    struct pd_sources *sources = arg;

    if (sources->files.lost_one && !pd_store_pool(sources->files.store, pool))
        reload_soon(sources);
}

static void watch(struct pd_sources *sources, uv_loop_t *loop)
{
    uv_timer_init(loop, &sources->settle);
    sources->settle.data = sources;
    sources->open_parts = 1;
    pd_store_observe(sources->files.store, on_store_changed, sources);
    if (sources->config) {
        const char *slash = strrchr(sources->config, '/');
        size_t len = slash ? (size_t)(slash - sources->config) : 1;
        pd_autofree char *dir = pd_strndup(slash ? sources->config : ".", len ? len : 1);
        sources->config_watch = pd_folder_watch_open(loop, dir, on_config_touched, sources);
        sources->open_parts++;
    }
    if (sources->pools_dir) {
        sources->pools_watch =
            pd_folder_watch_open(loop, sources->pools_dir, on_pools_touched, sources);
        sources->open_parts++;
    }
}

static void sources_free(struct pd_sources *sources)
{
    pd_manifest_keep_close(sources->files.keep);
    pd_schema_free(sources->files.schema);
    free(sources->config);
    free(sources->pools_dir);
    free(sources);
}

/* A config file that is no good stops the start, unless it is known what it said. */
static int read_at_start(struct pd_sources *sources, struct pd_err *err)
{
    int rc = apply_config(sources, err);

    if (rc < 0 && !sources->files.restored)
        return rc;
    if (rc < 0)
        pd_log(PD_LOG_ERROR, "sources", "configuration not in force; what it said before stays",
               "err", err->msg, NULL);
    apply_pools_dir(sources);
    return 0;
}

int pd_sources_open(const struct pd_sources_config *config, struct pd_sources **ret_sources,
                    struct pd_err *err)
{
    struct pd_sources *sources = PD_NEW(struct pd_sources);
    int rc;

    sources->files.store = config->store;
    sources->files.default_provider = config->default_provider;
    sources->config = config->config ? pd_strdup(config->config) : NULL;
    sources->pools_dir = config->pools_dir ? pd_strdup(config->pools_dir) : NULL;
    rc = pd_pool_schema_new(&sources->files.schema, err);
    if (rc == 0 && config->db)
        rc = pd_manifest_keep_open(config->db, &sources->files.keep, err);
    sources->files.starting = true;
    if (rc == 0)
        rc = read_at_start(sources, err);
    sources->files.starting = false;
    if (rc < 0) {
        sources_free(sources);
        return rc;
    }
    watch(sources, config->loop);
    *ret_sources = sources;
    return 0;
}

static void on_part_closed(void *arg)
{
    struct pd_sources *sources = arg;
    void (*closed)(void *arg) = sources->closed;
    void *closed_arg = sources->closed_arg;

    if (--sources->open_parts > 0)
        return;
    sources_free(sources);
    if (closed)
        closed(closed_arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

void pd_sources_close(struct pd_sources *sources, void (*closed)(void *arg), void *arg)
{
    if (sources->closing)
        return;
    sources->closing = true;
    sources->closed = closed;
    sources->closed_arg = arg;
    pd_store_unobserve(sources->files.store, on_store_changed, sources);
    uv_close((uv_handle_t *)&sources->settle, on_timer_closed);
    if (sources->config_watch)
        pd_folder_watch_close(sources->config_watch, on_part_closed, sources);
    if (sources->pools_watch)
        pd_folder_watch_close(sources->pools_watch, on_part_closed, sources);
}
