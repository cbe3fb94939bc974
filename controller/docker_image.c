#include "controller/docker_image.h"

#include <ctype.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"
#include "controller/docker_reply.h"

#define VOLUMES_MAX 32

/* One for each image ever asked for: pools are few and long-lived. */
struct image {
    STAILQ_ENTRY(image) entry;
    struct pd_docker_images *images;
    char name[PD_DOCKER_IMAGE_NAME_MAX];
    struct pd_docker_wait waiting;
    bool busy;
    bool pulled; /* during this attempt */
    bool known;
    unsigned generation; /* of the engine that it is known of */
    struct pd_strings volumes;
    struct pd_time since;
    char pull_error[256]; /* a pull fails with status 200 and a message in the stream */
};

struct pd_docker_images {
    struct pd_docker_engine *engine;
    STAILQ_HEAD(, image) all;
};

/* ---- references ---- */

static bool is_reference(const char *text)
{
    if (!isalnum((unsigned char)*text) || strlen(text) >= PD_DOCKER_IMAGE_NAME_MAX)
        return false;
    for (const char *p = text; *p; p++) {
        bool component_start = *p == '/' && (p[1] == '.' || p[1] == '/' || p[1] == '\0');
        if (component_start || (!isalnum((unsigned char)*p) && !strchr("._-/:@", *p)))
            return false;
    }
    return strstr(text, "..") == NULL;
}

int pd_docker_image_parse(const char *reference, char *ret_name, char *ret_tag, struct pd_err *err)
{
    const char *slash = strrchr(reference, '/');
    const char *colon = strrchr(slash ? slash : reference, ':');

    if (!is_reference(reference))
        return pd_err_set(err, PD_INVALID, "'%.256s' is no image reference", reference);
    if (strchr(reference, '@') || !colon) {
        pd_strcpy(ret_name, PD_DOCKER_IMAGE_NAME_MAX, reference);
        pd_strcpy(ret_tag, PD_DOCKER_IMAGE_NAME_MAX, strchr(reference, '@') ? "" : "latest");
        return 0;
    }
    pd_strcpy(ret_name, (size_t)(colon - reference) + 1, reference);
    pd_strcpy(ret_tag, PD_DOCKER_IMAGE_NAME_MAX, colon + 1);
    return 0;
}

/* ---- facts ---- */

static void forget(struct image *image)
{
    for (size_t i = 0; i < image->volumes.count; i++)
        free(image->volumes.items[i]);
    free(image->volumes.items);
    image->volumes = (struct pd_strings){0};
    image->known = false;
}

static void learn(struct image *image, const struct pd_node *json)
{
    const struct pd_node *volumes = pd_docker_map(pd_docker_map(json, "Config"), "Volumes");
    size_t count = volumes ? volumes->map.count : 0;

    forget(image);
    image->volumes.items = pd_calloc(count, sizeof *image->volumes.items);
    for (size_t i = 0; i < count; i++)
        image->volumes.items[i] = pd_strdup(volumes->map.members[i].key);
    image->volumes.count = count;
    image->known = true;
    image->generation = pd_docker_engine_generation(image->images->engine);
}

static bool has_too_many_volumes(const struct pd_node *json)
{
    const struct pd_node *volumes = pd_docker_map(pd_docker_map(json, "Config"), "Volumes");
    return volumes && volumes->map.count > VOLUMES_MAX;
}

static struct image *image_find(struct pd_docker_images *images, const char *name)
{
    struct image *image;

    STAILQ_FOREACH(image, &images->all, entry)
    {
        if (strcmp(image->name, name) == 0)
            return image;
    }
    return NULL;
}

static struct image *image_new(struct pd_docker_images *images, const char *name)
{
    struct image *image = PD_NEW(struct image);

    image->images = images;
    pd_strcpy(image->name, sizeof image->name, name);
    pd_docker_wait_init(&image->waiting);
    STAILQ_INSERT_TAIL(&images->all, image, entry);
    return image;
}

const struct pd_strings *pd_docker_images_volumes(struct pd_docker_images *images, const char *name)
{
    struct image *image = image_find(images, name);

    if (!image || !image->known || image->generation != pd_docker_engine_generation(images->engine))
        return NULL;
    return &image->volumes;
}

/* ---- looking and pulling ---- */

static void done(struct image *image, const struct pd_err *err)
{
    image->busy = false;
    pd_docker_wait_wake(&image->waiting, err);
}

static int look(struct image *image, struct pd_err *err);
static int pull(struct image *image, struct pd_err *err);

static void on_looked(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct image *image = arg;
    struct pd_err failure;

    if (!err && has_too_many_volumes(answer->json)) {
        pd_err_set(&failure, PD_INVALID, "image '%s' declares more than %d volumes", image->name,
                   VOLUMES_MAX);
        done(image, &failure);
    } else if (!err) {
        learn(image, answer->json);
        done(image, NULL);
    } else if (err->kind == PD_NOT_FOUND && !image->pulled) {
        forget(image);
        if (pull(image, &failure) < 0)
            done(image, &failure);
    } else {
        done(image, err);
    }
}

static int look(struct image *image, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("/images/%s/json", image->name);
    struct pd_docker_call call = {.method = "GET", .path = path};

    return pd_docker_engine_call(image->images->engine, &call, on_looked, image, err);
}

static void on_pull_start(void *arg)
{
    (void)arg;
}

static void on_pull_message(void *arg, const struct pd_node *message)
{
    struct image *image = arg;
    const char *error = pd_docker_text(message, "error");

    if (*error)
        pd_strcpy(image->pull_error, sizeof image->pull_error, error);
}

static void pull_failed(struct image *image, const struct pd_err *err)
{
    struct pd_err failure;
    int kind = !err ? PD_UNAVAILABLE : err->kind == PD_CANCELED ? PD_CANCELED : err->kind;

    pd_err_set(&failure, kind,
               "image '%s' is not at the engine and cannot be pulled (%.200s): try 'docker pull "
               "%.80s' by hand, or 'docker load' or 'docker import' it under this name",
               image->name, err ? err->msg : image->pull_error, image->name);
    done(image, &failure);
}

static void on_pulled(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct image *image = arg;
    struct pd_err failure;

    (void)answer;
    if (err || image->pull_error[0]) {
        pull_failed(image, err);
        return;
    }
    pd_log(PD_LOG_INFO, "docker", "image pulled", "image", image->name, "took_ms",
           PD_NUM(pd_time_ms_between(image->since, pd_time_now())), NULL);
    if (look(image, &failure) < 0)
        done(image, &failure);
}

static int pull(struct image *image, struct pd_err *err)
{
    char name[PD_DOCKER_IMAGE_NAME_MAX], tag[PD_DOCKER_IMAGE_NAME_MAX];
    pd_autofree char *path = NULL;
    struct pd_docker_call call = {
        .method = "POST",
        .timeout_ms = -1,
        .stall_timeout_ms = PD_DOCKER_PULL_STALL_MS,
        .on_start = on_pull_start,
        .on_message = on_pull_message,
    };

    if (pd_docker_image_parse(image->name, name, tag, err) < 0)
        return PD_INVALID;
    /* The characters of a reference mean themselves in a query. */
    path = pd_asprintf("/images/create?fromImage=%s&tag=%s", name, tag);
    call.path = path;
    image->pulled = true;
    image->pull_error[0] = '\0';
    image->since = pd_time_now();
    pd_log(PD_LOG_INFO, "docker", "pulling image", "image", image->name, NULL);
    return pd_docker_engine_call(image->images->engine, &call, on_pulled, image, err);
}

int pd_docker_images_ensure(struct pd_docker_images *images, const char *name, pd_docker_done_cb cb,
                            void *arg, struct pd_err *err)
{
    struct image *image;
    int rc;

    if (!is_reference(name))
        return pd_err_set(err, PD_INVALID, "'%.256s' is no image reference", name);
    image = image_find(images, name);
    if (!image)
        image = image_new(images, name);
    if (!image->busy) {
        image->pulled = false;
        rc = look(image, err);
        if (rc < 0)
            return rc;
        image->busy = true;
    }
    pd_docker_wait_add(&image->waiting, cb, arg);
    return 0;
}

/* ---- life ---- */

struct pd_docker_images *pd_docker_images_new(struct pd_docker_engine *engine)
{
    struct pd_docker_images *images = PD_NEW(struct pd_docker_images);

    images->engine = engine;
    STAILQ_INIT(&images->all);
    return images;
}

void pd_docker_images_free(struct pd_docker_images *images)
{
    struct image *image;

    while ((image = STAILQ_FIRST(&images->all))) {
        STAILQ_REMOVE_HEAD(&images->all, entry);
        forget(image);
        free(image);
    }
    free(images);
}
