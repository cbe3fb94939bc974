#include "cli/folder_watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/mem.h"

/* What a path leads to. */
struct place {
    bool exists;
    dev_t dev;
    ino_t ino;
    struct timespec changed;
};

struct pd_folder_watch {
    char *path;
    pd_folder_watch_cb cb;
    void *arg;
    uv_fs_event_t event; /* active while `watched` */
    uv_timer_t look;
    struct place place; /* at the last look */
    bool watched;
    int open_handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

static struct place place_of(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return (struct place){.exists = false};
    return (struct place){
        .exists = true, .dev = st.st_dev, .ino = st.st_ino, .changed = st.st_mtim};
}

static bool is_same_folder(const struct place *a, const struct place *b)
{
    return a->exists == b->exists && a->dev == b->dev && a->ino == b->ino;
}

static bool is_unchanged(const struct place *a, const struct place *b)
{
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* News of the folder itself (moved, unmounted) bear its own name. What stands in
 * its place now may look the same: it is watched anew at the next look. */
static bool is_of_folder(const struct pd_folder_watch *watch, const char *name)
{
    const char *slash = strrchr(watch->path, '/');

    return name && strcmp(name, slash ? slash + 1 : watch->path) == 0;
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct pd_folder_watch *watch = event->data;

    (void)events;
    if (status == 0 && is_of_folder(watch, name))
        watch->place.exists = false;
    else if (status == 0)
        watch->cb(watch->arg, name);
}

static void begin(struct pd_folder_watch *watch)
{
    uv_fs_event_stop(&watch->event);
    watch->watched =
        watch->place.exists && uv_fs_event_start(&watch->event, on_event, watch->path, 0) == 0;
    if (watch->place.exists && !watch->watched)
        pd_log(PD_LOG_INFO, "watch", "folder cannot be watched; it is looked at instead", "path",
               watch->path, NULL);
}

static void on_look(uv_timer_t *timer)
{
    struct pd_folder_watch *watch = timer->data;
    struct place before = watch->place;

    watch->place = place_of(watch->path);
    if (!is_same_folder(&before, &watch->place)) {
        begin(watch);
        watch->cb(watch->arg, NULL);
    } else if (!watch->watched && !is_unchanged(&before, &watch->place)) {
        watch->cb(watch->arg, NULL);
    }
}

struct pd_folder_watch *pd_folder_watch_open(uv_loop_t *loop, const char *path,
                                             pd_folder_watch_cb cb, void *arg)
{
    struct pd_folder_watch *watch = PD_NEW(struct pd_folder_watch);

    watch->path = pd_strdup(path);
    watch->cb = cb;
    watch->arg = arg;
    uv_fs_event_init(loop, &watch->event);
    uv_timer_init(loop, &watch->look);
    watch->event.data = watch->look.data = watch;
    watch->open_handles = 2;
    watch->place = place_of(path);
    begin(watch);
    uv_timer_start(&watch->look, on_look, PD_FOLDER_LOOK_MS, PD_FOLDER_LOOK_MS);
    return watch;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_folder_watch *watch = handle->data;
    void (*closed)(void *arg) = watch->closed;
    void *arg = watch->closed_arg;

    if (--watch->open_handles > 0)
        return;
    free(watch->path);
    free(watch);
    closed(arg);
}

void pd_folder_watch_close(struct pd_folder_watch *watch, void (*closed)(void *arg), void *arg)
{
    watch->closed = closed;
    watch->closed_arg = arg;
    uv_close((uv_handle_t *)&watch->event, on_handle_closed);
    uv_close((uv_handle_t *)&watch->look, on_handle_closed);
}
