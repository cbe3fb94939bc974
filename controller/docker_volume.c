/* Theory of operation. A volume cannot be filled and named in one step, so
 * whoever finds it filled cannot know that it was filled to the end: the one
 * who filled it, or the engine, may have been killed half way. No marker is
 * trusted; the content is. A container that is never started gives access to
 * the volume as an archive: it is read and compared, byte for byte, with what
 * should be there; where it differs it is written, and read again.
 *
 *   create volume -> create carrier -> read -> same? -> remove carrier -> ready
 *                          ^             |
 *                    (removed first,     no, once: write, read again
 *                     if one was left)
 *
 * That costs some 50 ms at each start of the service. The carrier's name is
 * fixed for an installation, so that one left by a killed process is met, and
 * removed, by the next. Two installations may share a volume: both write the
 * same bytes, and the engine replaces a file rather than writing into it. */
#include "controller/docker_volume.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "common/asset.h"
#include "common/log.h"
#include "common/mem.h"
#include "controller/docker_reply.h"
#include "controller/docker_tar.h"

#define FILES_MAX 64
#define LABEL_AGENT "paddock.dev/agent"
#define LABEL_CARRIER "paddock.dev/carrier"

struct file {
    char name[PD_TAR_NAME_MAX];
    unsigned mode;
    const unsigned char *data;
    size_t len;
};

struct pd_docker_volume {
    struct pd_docker_engine *engine;
    char name[PD_DOCKER_VOLUME_NAME_MAX];
    char *carrier_name;
    char *instance;
    struct file files[FILES_MAX];
    size_t n_files;
    struct pd_docker_wait waiting;
    bool busy;
    bool ready;
    unsigned generation;   /* of the engine that it is ready at */
    char *image;           /* this attempt's */
    char carrier[80];      /* its container id */
    bool removed_old;      /* this attempt met a carrier left over */
    bool written;          /* this attempt has written the content */
    struct pd_err failure; /* this attempt's, kept while the carrier is removed */
    bool failed;
};

/* ---- the content ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t text_len = strlen(text), end_len = strlen(end);
    return text_len >= end_len && strcmp(text + text_len - end_len, end) == 0;
}

static void collect_files(struct pd_docker_volume *volume)
{
    struct pd_asset asset;

    for (unsigned i = 0; (asset = pd_asset_at(i)).name; i++) {
        struct file *file = &volume->files[volume->n_files];
        bool is_agent = strcmp(asset.name, "agent") == 0;
        if (!is_agent && strncmp(asset.name, "spares/", 7) != 0)
            continue;
        assert(volume->n_files < FILES_MAX && strlen(asset.name) < sizeof file->name);
        pd_strcpy(file->name, sizeof file->name, asset.name);
        file->mode = is_agent || ends_with(asset.name, ".so") ? 0755 : 0644;
        file->data = asset.data;
        file->len = asset.len;
        volume->n_files++;
    }
}

static void name_by_content(struct pd_docker_volume *volume, bool own)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    char hex[17];
    int ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);

    for (size_t i = 0; ok && i < volume->n_files; i++) {
        const struct file *file = &volume->files[i];
        uint64_t numbers[2] = {file->mode, file->len};
        ok = EVP_DigestUpdate(ctx, file->name, sizeof file->name) &&
             EVP_DigestUpdate(ctx, numbers, sizeof numbers) &&
             EVP_DigestUpdate(ctx, file->data, file->len);
    }
    ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    if (!ok)
        abort();
    for (unsigned i = 0; i < 8; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(volume->name, sizeof volume->name, "paddock-agent-%s%s%s", hex, own ? "-" : "",
             own ? volume->instance : "");
}

static int build_tar(const struct pd_docker_volume *volume, struct pd_buf *tar, struct pd_err *err)
{
    if (pd_tar_add_folder(tar, "spares/", 0755, err) < 0)
        return PD_LIMIT;
    for (size_t i = 0; i < volume->n_files; i++) {
        const struct file *file = &volume->files[i];
        if (pd_tar_add(tar, file->name, file->mode, file->data, file->len, err) < 0)
            return PD_LIMIT;
    }
    return pd_tar_finish(tar, err);
}

static const struct file *file_find(const struct pd_docker_volume *volume, const char *name)
{
    for (size_t i = 0; i < volume->n_files; i++) {
        if (strcmp(volume->files[i].name, name) == 0)
            return &volume->files[i];
    }
    return NULL;
}

/* The engine's archive of /paddock has names like "paddock/agent". */
static bool is_complete(const struct pd_docker_volume *volume, const char *tar, size_t len)
{
    struct pd_tar_entry entry;
    size_t offset = 0, found = 0;
    int rc;

    while ((rc = pd_tar_next(tar, len, &offset, &entry, NULL)) > 0) {
        const struct file *file;
        if (entry.type == '5')
            continue;
        if (strncmp(entry.name, "paddock/", 8) != 0)
            return false;
        file = file_find(volume, entry.name + 8);
        if (!file || entry.type != '0' || entry.mode != file->mode || entry.len != file->len ||
            memcmp(entry.data, file->data, file->len) != 0)
            return false;
        found++;
    }
    return rc == 0 && found == volume->n_files;
}

/* ---- the steps ---- */

static void settle(struct pd_docker_volume *volume)
{
    free(volume->image);
    volume->image = NULL;
    volume->busy = false;
    volume->ready = !volume->failed;
    volume->generation = pd_docker_engine_generation(volume->engine);
    if (volume->failed)
        pd_err_wrap(&volume->failure, "fill the agent's volume %s", volume->name);
    pd_docker_wait_wake(&volume->waiting, volume->failed ? &volume->failure : NULL);
}

static void on_carrier_removed(void *arg, const struct pd_err *err,
                               const struct pd_docker_answer *answer)
{
    (void)err; /* what is left of it is met by the next attempt */
    (void)answer;
    settle(arg);
}

static int remove_carrier(struct pd_docker_volume *volume, pd_docker_answer_cb cb,
                          struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("/containers/%s?force=1&v=0", volume->carrier_name);
    struct pd_docker_call call = {.method = "DELETE", .path = path};

    return pd_docker_engine_call(volume->engine, &call, cb, volume, err);
}

static void finish(struct pd_docker_volume *volume, const struct pd_err *err)
{
    volume->failed = err != NULL;
    if (err)
        volume->failure = *err;
    if (!volume->carrier[0] || remove_carrier(volume, on_carrier_removed, NULL) < 0)
        settle(volume);
}

static void create_carrier(struct pd_docker_volume *volume);
static void read_content(struct pd_docker_volume *volume);

static void on_written(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    (void)answer;
    if (err)
        finish(arg, err);
    else
        read_content(arg);
}

static void write_content(struct pd_docker_volume *volume)
{
    pd_autofree char *path = pd_asprintf("/containers/%s/archive?path=/paddock", volume->carrier);
    pd_autobuf struct pd_buf tar;
    struct pd_docker_call call = {.method = "PUT", .path = path, .raw_answer = true};
    struct pd_err err;

    pd_buf_init(&tar, PD_DOCKER_VOLUME_BYTES_MAX);
    volume->written = true;
    if (build_tar(volume, &tar, &err) < 0) {
        finish(volume, &err);
        return;
    }
    call.tar = tar.data;
    call.tar_len = tar.len;
    if (pd_docker_engine_call(volume->engine, &call, on_written, volume, &err) < 0)
        finish(volume, &err);
}

static void on_content(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct pd_docker_volume *volume = arg;
    struct pd_err failure;

    if (err) {
        finish(volume, err);
    } else if (is_complete(volume, answer->raw, answer->raw_len)) {
        if (volume->written)
            pd_log(PD_LOG_INFO, "docker", "agent volume filled", "volume", volume->name, NULL);
        finish(volume, NULL);
    } else if (!volume->written) {
        write_content(volume);
    } else {
        pd_err_set(&failure, PD_UNAVAILABLE, "it does not hold what was written to it");
        finish(volume, &failure);
    }
}

static void read_content(struct pd_docker_volume *volume)
{
    pd_autofree char *path = pd_asprintf("/containers/%s/archive?path=/paddock", volume->carrier);
    struct pd_docker_call call = {.method = "GET", .path = path, .raw_answer = true};
    struct pd_err err;

    if (pd_docker_engine_call(volume->engine, &call, on_content, volume, &err) < 0)
        finish(volume, &err);
}

static void on_old_carrier_removed(void *arg, const struct pd_err *err,
                                   const struct pd_docker_answer *answer)
{
    (void)answer;
    if (err && err->kind != PD_NOT_FOUND)
        finish(arg, err);
    else
        create_carrier(arg);
}

static void on_carrier_created(void *arg, const struct pd_err *err,
                               const struct pd_docker_answer *answer)
{
    struct pd_docker_volume *volume = arg;
    struct pd_err failure;

    if (err && err->kind == PD_CONFLICT && !volume->removed_old) {
        volume->removed_old = true;
        if (remove_carrier(volume, on_old_carrier_removed, &failure) < 0)
            finish(volume, &failure);
        return;
    }
    if (err) {
        finish(volume, err);
        return;
    }
    pd_strcpy(volume->carrier, sizeof volume->carrier, pd_docker_text(answer->json, "Id"));
    read_content(volume);
}

static struct pd_node *carrier_body(const struct pd_docker_volume *volume)
{
    struct pd_node *body = pd_node_map_new(), *host, *mount = pd_node_map_new();

    pd_node_set_string(body, "Image", volume->image);
    pd_node_add(pd_node_set(body, "Entrypoint", pd_node_list_new()),
                pd_node_string_new("/paddock/agent"));
    pd_node_set_bool(body, "NetworkDisabled", true);
    pd_node_set_string(pd_node_set(body, "Labels", pd_node_map_new()), LABEL_CARRIER,
                       volume->instance);
    pd_node_set_string(mount, "Type", "volume");
    pd_node_set_string(mount, "Source", volume->name);
    pd_node_set_string(mount, "Target", "/paddock");
    pd_node_set_bool(pd_node_set(mount, "VolumeOptions", pd_node_map_new()), "NoCopy", true);
    host = pd_node_set(body, "HostConfig", pd_node_map_new());
    pd_node_set_string(host, "NetworkMode", "none");
    pd_node_add(pd_node_set(host, "Mounts", pd_node_list_new()), mount);
    return body;
}

static void create_carrier(struct pd_docker_volume *volume)
{
    pd_autofree char *path = pd_asprintf("/containers/create?name=%s", volume->carrier_name);
    pd_autonode struct pd_node *body = carrier_body(volume);
    struct pd_docker_call call = {.method = "POST", .path = path, .json = body};
    struct pd_err err;

    if (pd_docker_engine_call(volume->engine, &call, on_carrier_created, volume, &err) < 0)
        finish(volume, &err);
}

static void on_volume_created(void *arg, const struct pd_err *err,
                              const struct pd_docker_answer *answer)
{
    (void)answer;
    if (err)
        finish(arg, err);
    else
        create_carrier(arg);
}

static int begin(struct pd_docker_volume *volume, struct pd_err *err)
{
    pd_autonode struct pd_node *body = pd_node_map_new();
    struct pd_docker_call call = {.method = "POST", .path = "/volumes/create", .json = body};

    volume->carrier[0] = '\0';
    volume->removed_old = volume->written = volume->failed = false;
    pd_node_set_string(body, "Name", volume->name);
    pd_node_set_string(pd_node_set(body, "Labels", pd_node_map_new()), LABEL_AGENT, "1");
    return pd_docker_engine_call(volume->engine, &call, on_volume_created, volume, err);
}

static void on_confirmed(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct pd_docker_volume *volume = arg;
    struct pd_err failure;

    (void)answer;
    volume->failed = false;
    if (!err)
        settle(volume);
    else if (err->kind != PD_NOT_FOUND)
        finish(volume, err);
    else if (begin(volume, &failure) < 0)
        finish(volume, &failure);
}

/* Found good before: it only must still be there. */
static int confirm(struct pd_docker_volume *volume, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("/volumes/%s", volume->name);
    struct pd_docker_call call = {.method = "GET", .path = path};

    volume->carrier[0] = '\0';
    return pd_docker_engine_call(volume->engine, &call, on_confirmed, volume, err);
}

int pd_docker_volume_ensure(struct pd_docker_volume *volume, const char *image,
                            pd_docker_done_cb cb, void *arg, struct pd_err *err)
{
    bool good = volume->ready && volume->generation == pd_docker_engine_generation(volume->engine);

    if (!volume->busy) {
        int rc = good ? confirm(volume, err) : begin(volume, err);
        if (rc < 0)
            return rc;
        volume->busy = true;
        volume->image = pd_strdup(image);
    }
    pd_docker_wait_add(&volume->waiting, cb, arg);
    return 0;
}

void pd_docker_volume_doubt(struct pd_docker_volume *volume)
{
    volume->ready = false;
}

/* ---- life ---- */

struct pd_docker_volume *pd_docker_volume_new(struct pd_docker_engine *engine, const char *instance,
                                              bool own)
{
    struct pd_docker_volume *volume = PD_NEW(struct pd_docker_volume);

    volume->engine = engine;
    volume->instance = pd_strdup(instance);
    volume->carrier_name = pd_asprintf("paddock-carrier-%s", instance);
    pd_docker_wait_init(&volume->waiting);
    collect_files(volume);
    name_by_content(volume, own);
    return volume;
}

void pd_docker_volume_free(struct pd_docker_volume *volume)
{
    free(volume->instance);
    free(volume->carrier_name);
    free(volume->image);
    free(volume);
}

const char *pd_docker_volume_name(const struct pd_docker_volume *volume)
{
    return volume->name;
}
