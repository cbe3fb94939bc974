/* The changes of one kind of objects: what there is, compared with what there
 * was at the last look, and the differences kept in order of resourceVersion, a
 * bounded number of them. Between kube_watch.c and the store. */
#ifndef PD_API_KUBE_CACHE_H
#define PD_API_KUBE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/kube_keep.h"
#include "api/kube_kind.h"
#include "common/node.h"
#include "common/store.h"

#define PD_KUBE_CHANGES_MAX 2048

/* An object as it was; shared by reference count. */
struct pd_kube_snapshot {
    struct pd_node *node;
    uint64_t version;
    unsigned refs;
};
struct pd_kube_snapshot *pd_kube_snapshot_ref(struct pd_kube_snapshot *snapshot);
void pd_kube_snapshot_unref(struct pd_kube_snapshot *snapshot); /* NULL is fine */

struct pd_kube_change {
    uint64_t version;
    struct pd_kube_snapshot *before; /* NULL: it is new */
    struct pd_kube_snapshot *after;  /* NULL: it is gone */
};

struct pd_kube_cache;

struct pd_kube_cache *pd_kube_cache_new(enum pd_kube_kind_id kind, struct pd_store *store,
                                        struct pd_kube_keep *keep);
void pd_kube_cache_free(struct pd_kube_cache *cache); /* NULL is fine */

/* While it is off it holds nothing, and its looks do nothing. */
bool pd_kube_cache_is_on(const struct pd_kube_cache *cache);
void pd_kube_cache_turn_on(struct pd_kube_cache *cache); /* idempotent */
void pd_kube_cache_turn_off(struct pd_kube_cache *cache);

/* Among replicas what there is comes from Redis (kube_shared.h): from here on the cache
 * is told of it by the next two, is on, and its looks do nothing. */
void pd_kube_cache_feed_begin(struct pd_kube_cache *cache);
/* An object is like this (node is taken over), or gone (NULL), since this version;
 * versions only grow. */
void pd_kube_cache_feed(struct pd_kube_cache *cache, const char *name, struct pd_node *node,
                        uint64_t version);
/* That was all up to this version. is_news: what was told are changes, to be kept for
 * those who watch. Returns whether there were any. */
bool pd_kube_cache_feed_end(struct pd_kube_cache *cache, uint64_t version, bool is_news);

/* The version of the last change that the cache can know of. */
uint64_t pd_kube_cache_version(const struct pd_kube_cache *cache);
/* As it was at the last look; NULL where there is none. */
const struct pd_kube_snapshot *pd_kube_cache_get(const struct pd_kube_cache *cache,
                                                 const char *name);
bool pd_kube_cache_is_fed(const struct pd_kube_cache *cache);

/* This pool, or what belongs to it, may have changed (events: any name). */
void pd_kube_cache_mark(struct pd_kube_cache *cache, const char *pool);
/* Look at what was marked. Returns whether anything had changed. */
bool pd_kube_cache_look(struct pd_kube_cache *cache);

/* Positions count changes from the beginning; the ones from `oldest` on are there. */
uint64_t pd_kube_cache_oldest(const struct pd_kube_cache *cache);
uint64_t pd_kube_cache_end(const struct pd_kube_cache *cache);
const struct pd_kube_change *pd_kube_cache_at(const struct pd_kube_cache *cache, uint64_t position);
/* Where the changes after this resourceVersion begin; false when some of them
 * are not there any more, or it has not been given out yet. One that is fed may be
 * asked for a version that another replica has heard of first: up to
 * PD_KUBE_AHEAD_US more than its own, or than the time. */
#define PD_KUBE_AHEAD_US (60ull * 1000 * 1000) /* versions are about microseconds */
bool pd_kube_cache_find(const struct pd_kube_cache *cache, uint64_t version,
                        uint64_t *ret_position);

/* What there was at the last look, each with a reference for the caller, who
 * frees *ret_list. */
size_t pd_kube_cache_all(const struct pd_kube_cache *cache, struct pd_kube_snapshot ***ret_list);

#endif
