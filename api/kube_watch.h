/* Watching: the changes of a kind of objects, as they happen, to whoever asked
 * (kubernetes.io/docs/reference/using-api/api-concepts, "Efficient detection of
 * changes"): one JSON object a line.
 *
 * A bounded number of past changes is kept, so that a client can list, and then
 * watch from there. Who asks for more, or is too slow, gets an ERROR event 410
 * and lists again. Changes to one object that follow each other within
 * PD_KUBE_WATCH_GATHER_MS count as one. Keeping changes begins with the first
 * list or watch of a kind and ends when nobody has asked for
 * PD_KUBE_WATCH_IDLE_MS: nobody watching costs nothing. */
#ifndef PD_API_KUBE_WATCH_H
#define PD_API_KUBE_WATCH_H

#include <stddef.h>
#include <uv.h>

#include "api/kube_cache.h"
#include "api/kube_keep.h"
#include "api/kube_request.h"
#include "common/store.h"

struct pd_exchange;
struct pd_kube_watch;

#define PD_KUBE_WATCHERS_MAX 256
#define PD_KUBE_WATCH_GATHER_MS 50
#define PD_KUBE_WATCH_IDLE_MS (5 * 60 * 1000)
#define PD_KUBE_WATCH_BOOKMARK_MS 60000
#define PD_KUBE_WATCH_DEFAULT_S 1800 /* and up to as long again, so that not all end at once */

struct pd_kube_watch *pd_kube_watch_new(uv_loop_t *loop, struct pd_store *store,
                                        struct pd_kube_keep *keep);
/* Ends every watch; `closed` fires once from the loop. */
void pd_kube_watch_close(struct pd_kube_watch *watch, void (*closed)(void *arg), void *arg);

/* A list of this kind is about to be answered: changes after it will be known. */
void pd_kube_watch_prepare(struct pd_kube_watch *watch, const struct pd_kube_kind *kind);

/* Among replicas (kube_shared.h): from here on what there is comes from Redis, into
 * pd_kube_watch_cache. Watches that were begun before end with 410. */
void pd_kube_watch_share(struct pd_kube_watch *watch);
/* The kinds before PD_KUBE_NAMESPACES. */
struct pd_kube_cache *pd_kube_watch_cache(struct pd_kube_watch *watch, enum pd_kube_kind_id kind);
/* What was fed is told to those who watch. */
void pd_kube_watch_fed(struct pd_kube_watch *watch, enum pd_kube_kind_id kind);
/* The version of everything that is known. */
uint64_t pd_kube_watch_version(const struct pd_kube_watch *watch);

/* Answer a watch. The request's selectors are taken over (emptied). */
void pd_kube_watch_begin(struct pd_kube_watch *watch, struct pd_exchange *exchange,
                         struct pd_kube_request *request);

#endif
