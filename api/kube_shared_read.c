/* What comes from Redis. Theory of operation: one read at a time, in pages, in the order
 * of versions, from the last position; whoever asks meanwhile gets one more. Where that
 * cannot be (first read, another dataset, an older state, removals that are forgotten)
 * Redis begins with everything; what is then not there was removed, or is lost. What is
 * lost stays, and is written again. */
#include <stdlib.h>
#include <string.h>

#include "api/kube_shared_state.h"
#include "common/log.h"

/* ---- what is known ---- */

static struct known *known_add(struct pd_kube_shared *shared, const char *field)
{
    struct known *known = PD_NEW(struct known);

    pd_strcpy(known->field, sizeof known->field, field);
    if (shared->n_known == shared->cap_known) {
        shared->cap_known = shared->cap_known ? 2 * shared->cap_known : 64;
        shared->known = pd_realloc(shared->known, shared->cap_known, sizeof(void *));
    }
    known->at = shared->n_known;
    shared->known[shared->n_known++] = known;
    pd_strmap_add(&shared->by_field, known->field, known);
    return known;
}

void pd_kube_shared_drop(struct pd_kube_shared *shared, struct known *known)
{
    pd_strmap_remove(&shared->by_field, known->field);
    shared->known[known->at] = shared->known[--shared->n_known];
    shared->known[known->at]->at = known->at;
    free(known->text);
    free(known);
}

static void remove_known(struct pd_kube_shared *shared, struct known *known, uint64_t version)
{
    pd_kube_shared_show(shared, known, true, version);
    pd_kube_shared_drop(shared, known);
}

static void fill(struct known *known, const struct pd_kube_entry *entry, const char *text,
                 size_t len, uint64_t version)
{
    known->kind = entry->kind;
    known->name = strchr(known->field, '/') + 1;
    pd_strcpy(known->pool, sizeof known->pool, entry->pool);
    pd_strcpy(known->owner, sizeof known->owner, entry->owner);
    pd_strcpy(known->source, sizeof known->source, entry->source);
    known->identity = entry->identity;
    free(known->text);
    known->text = pd_strndup(text, len);
    known->len = len;
    known->local_version = 0;
    known->version = version;
    known->lost = false;
}

static void take_text(struct pd_kube_shared *shared, const char *field, const char *text,
                      size_t len, uint64_t version)
{
    struct known *known = pd_strmap_get(&shared->by_field, field);
    struct pd_kube_entry entry;
    struct pd_err err;

    if (pd_kube_entry_parse(field, strlen(field), text, len, &entry, &err) < 0) {
        pd_log(PD_LOG_ERROR, "kube", "what Redis has of an object is not understood", "field",
               field, "err", err.msg, NULL);
        if (known)
            known->here = true; /* it is as it was */
        return;
    }
    if (!known && shared->n_known >= PD_KUBE_SHARED_FIELDS_MAX) {
        if (!shared->left_out)
            pd_log(PD_LOG_ERROR, "kube", "too many objects in Redis: some are left out", NULL);
        shared->left_out = true;
        pd_kube_entry_fini(&entry);
        return;
    }
    if (!known)
        known = known_add(shared, field);
    fill(known, &entry, text, len, version);
    known->here = true;
    pd_kube_entry_fini(&entry);
    pd_kube_shared_show(shared, known, false, version);
}

/* One change. */
static void take(struct pd_kube_shared *shared, const char *field, const char *text, size_t len,
                 uint64_t version)
{
    struct known *known = pd_strmap_get(&shared->by_field, field);

    if (known && known->version == version && len > 0) {
        known->here = true;
        known->lost = false;
    } else if (known && known->version > version && shared->reading_all) {
        known->here = known->lost = true; /* we have heard of a later one */
    } else if (len > 0) {
        take_text(shared, field, text, len, version);
    } else if (known) {
        remove_known(shared, known, version);
    }
}

/* ---- everything ---- */

static void begin_all(struct pd_kube_shared *shared, const char *dataset, uint64_t version)
{
    shared->has_lost = shared->dataset[0] && strcmp(shared->dataset, dataset) != 0;
    shared->went_back = shared->dataset[0] && !shared->has_lost && version < shared->position;
    if (shared->has_lost || shared->went_back)
        pd_log(PD_LOG_WARN, "kube",
               "Redis has lost objects: those that are known here are "
               "written again",
               NULL);
    shared->reading_all = true;
    shared->all_version = version;
    pd_strcpy(shared->dataset, sizeof shared->dataset, dataset);
    for (size_t i = 0; i < shared->n_known; i++)
        shared->known[i]->here = false;
}

static void end_all(struct pd_kube_shared *shared)
{
    shared->reading_all = false;
    for (size_t i = shared->n_known; i-- > 0;) {
        struct known *known = shared->known[i];
        if (known->here)
            continue;
        if (shared->has_lost || (shared->went_back && known->version > shared->all_version))
            known->lost = true;
        else
            remove_known(shared, known, shared->position);
    }
}

/* ---- who waits ---- */

static void tell_waiters(struct pd_kube_shared *shared, const struct pd_err *err, bool all)
{
    LIST_HEAD(, waiter) told = LIST_HEAD_INITIALIZER(told);
    struct waiter *waiter, *next;

    for (waiter = LIST_FIRST(&shared->waiters); waiter; waiter = next) {
        next = LIST_NEXT(waiter, next);
        if (!all && !waiter->begun)
            continue;
        LIST_REMOVE(waiter, next);
        LIST_INSERT_HEAD(&told, waiter, next);
    }
    while ((waiter = LIST_FIRST(&told))) {
        LIST_REMOVE(waiter, next);
        waiter->done(waiter->arg, err);
        free(waiter);
    }
}

void pd_kube_shared_fail_waiters(struct pd_kube_shared *shared, const struct pd_err *err, bool all)
{
    tell_waiters(shared, err, all);
}

/* ---- reading ---- */

static int read_page(struct pd_kube_shared *shared, struct pd_err *err);

static uint64_t number(const struct pd_redis_reply *reply, size_t i)
{
    const struct pd_redis_reply *text = pd_redis_reply_string(reply, i);

    return text ? strtoull(text->text, NULL, 10) : 0;
}

static void take_page(struct pd_kube_shared *shared, const struct pd_redis_reply *reply)
{
    for (size_t i = 4; i + 2 < reply->count; i += 3) {
        const struct pd_redis_reply *field = pd_redis_reply_string(reply, i);
        const struct pd_redis_reply *text = pd_redis_reply_string(reply, i + 2);
        uint64_t version = number(reply, i + 1);
        if (!field || !text || version == 0)
            continue;
        shared->position = version;
        if (strlen(field->text) == field->len && field->len < PD_KUBE_FIELD_BYTES)
            take(shared, field->text, text->text, text->len, version);
    }
}

static void finish(struct pd_kube_shared *shared, uint64_t version)
{
    shared->position = version > shared->position ? version : shared->position;
    if (shared->reading_all)
        end_all(shared);
    if (shared->position > shared->version)
        shared->version = shared->position;
    if (!shared->on)
        pd_kube_shared_show_all(shared);
    pd_kube_shared_show_end(shared);
    pd_kube_shared_restore(shared);
    pd_kube_shared_tell_soon(shared);
}

static void read_over(struct pd_kube_shared *shared, const struct pd_err *err)
{
    struct pd_err own;

    shared->reading = false;
    tell_waiters(shared, err, false);
    if (!shared->closing && (shared->again || !LIST_EMPTY(&shared->waiters)) &&
        pd_kube_shared_look(shared, &own) < 0)
        tell_waiters(shared, &own, true);
}

static void on_read(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_kube_shared *shared = arg;
    const struct pd_redis_reply *dataset = err ? NULL : pd_redis_reply_string(reply, 0);
    struct pd_err own;

    if (!pd_kube_shared_op_over(shared))
        return;
    if (!err && (!dataset || reply->count < 4 || dataset->len >= sizeof shared->dataset)) {
        pd_err_set(&own, PD_INVALID, "Redis answers something else");
        err = &own;
    }
    if (err) { /* a read of everything goes on where it stopped */
        pd_log(PD_LOG_DEBUG, "kube", "objects not read from Redis", "err", err->msg, NULL);
        read_over(shared, err);
        return;
    }
    if (number(reply, 2) == 1) {
        begin_all(shared, dataset->text, number(reply, 1));
        shared->position = 0;
    }
    take_page(shared, reply);
    if (number(reply, 3) != 1) {
        finish(shared, number(reply, 1));
        read_over(shared, NULL);
    } else if (read_page(shared, &own) < 0) {
        read_over(shared, &own);
    }
}

static int read_page(struct pd_kube_shared *shared, struct pd_err *err)
{
    char position[PD_KUBE_VERSION_BYTES], fresh[PD_UID_BYTES];
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(shared->hash_key),
        PD_REDIS_TEXT(shared->order_key),
        PD_REDIS_TEXT(pd_kube_version(shared->position, position)),
        PD_REDIS_TEXT(shared->dataset),
        PD_REDIS_TEXT(pd_uid_random(fresh)),
        PD_REDIS_TEXT(PD_KUBE_SHARED_PAGE),
        PD_REDIS_TEXT(shared->reading_all ? "1" : "0"),
    };
    int rc = pd_redis_eval(shared->config.peers->redis, &shared->read, 2, args, PD_COUNT(args),
                           on_read, shared, err);

    if (rc == 0)
        shared->open_ops++;
    return rc;
}

int pd_kube_shared_look(struct pd_kube_shared *shared, struct pd_err *err)
{
    struct waiter *waiter;
    int rc;

    pd_kube_shared_join(shared);
    shared->again = shared->reading;
    if (shared->reading)
        return 0;
    if (!shared->hash_key)
        return pd_err_set(err, PD_UNAVAILABLE, "which engine this is, is not known yet");
    rc = read_page(shared, err);
    if (rc < 0)
        return rc;
    shared->reading = true;
    LIST_FOREACH(waiter, &shared->waiters, next)
    waiter->begun = true;
    return 0;
}
