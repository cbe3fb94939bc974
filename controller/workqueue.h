/* Keys that wait to be worked on, in the semantics of client-go's workqueue:
 *   - a key that is added again before its turn is worked on once
 *   - a key is never worked on twice at once: added while it is being worked
 *     on, it comes exactly once more when that is done
 *   - a key may be added for later; of several times the earliest counts
 * Pauses after failures are the business of whoever fails (growth.h).
 * Times are given, never asked for. */
#ifndef PD_CONTROLLER_WORKQUEUE_H
#define PD_CONTROLLER_WORKQUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/time.h"

struct pd_workqueue;

struct pd_workqueue *pd_workqueue_new(void);
void pd_workqueue_free(struct pd_workqueue *queue); /* NULL is fine */

/* The key is copied. */
void pd_workqueue_add(struct pd_workqueue *queue, const char *key);
void pd_workqueue_add_at(struct pd_workqueue *queue, const char *key, struct pd_time when);

/* Keys whose time has come join the line. */
void pd_workqueue_advance(struct pd_workqueue *queue, struct pd_time now);
/* When advance next has something to do; unset: never. */
struct pd_time pd_workqueue_next(const struct pd_workqueue *queue);

/* The next key in line, to be given back with done; NULL when there is none.
 * It stays valid until then. */
const char *pd_workqueue_get(struct pd_workqueue *queue);
void pd_workqueue_done(struct pd_workqueue *queue, const char *key);

size_t pd_workqueue_length(const struct pd_workqueue *queue); /* in line */

#endif
