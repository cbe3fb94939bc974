/* A folder whose files are watched, by inotify through libuv, for as long as the
 * watch is open: also one that is made later, one that is replaced by another
 * (a rename, a mount), one that goes and comes back. What inotify does not tell,
 * a look every PD_FOLDER_LOOK_MS does: whether the path still leads to the folder
 * that is watched and, where it cannot be watched, whether it has changed. */
#ifndef PD_CLI_FOLDER_WATCH_H
#define PD_CLI_FOLDER_WATCH_H

#include <uv.h>

#define PD_FOLDER_LOOK_MS 1000

struct pd_folder_watch;

/* `name` is the file in the folder that was touched, however; NULL: anything may
 * have changed. Many calls may follow from one change. */
typedef void (*pd_folder_watch_cb)(void *arg, const char *name);

/* The folder need not exist. `path` is copied. */
struct pd_folder_watch *pd_folder_watch_open(uv_loop_t *loop, const char *path,
                                             pd_folder_watch_cb cb, void *arg);
/* cb does not fire any more; `closed` fires once from the loop. */
void pd_folder_watch_close(struct pd_folder_watch *watch, void (*closed)(void *arg), void *arg);

#endif
