/* What goes to Redis. */
#include <stdlib.h>
#include <string.h>

#include "api/kube_shared_script.h"
#include "api/kube_shared_state.h"
#include "common/log.h"

static struct pd_redis_arg *head(struct pd_redis_arg *arg, const char *text)
{
    *arg = (struct pd_redis_arg)PD_REDIS_TEXT(text);
    return arg + 1;
}

/* ---- batches ---- */

void pd_kube_shared_batch(struct pd_kube_shared *shared, struct batch *batch, bool fenced)
{
    struct pd_redis_arg *arg = batch->args;

    batch->n_fields = batch->bytes = batch->n_texts = 0;
    arg = head(arg, shared->hash_key);
    arg = head(arg, shared->order_key);
    arg = head(arg, shared->lease_key);
    arg = head(arg, shared->channel);
    arg = head(arg, "0"); /* the version, when it is sent */
    arg = head(arg, fenced ? pd_kube_shared_lease(shared) : "");
    batch->n_args = (size_t)(arg - batch->args);
}

bool pd_kube_shared_batch_is_full(const struct batch *batch)
{
    return batch->n_fields == PD_KUBE_SHARED_BATCH_MAX ||
           batch->bytes >= PD_KUBE_SHARED_BATCH_BYTES;
}

void pd_kube_shared_batch_add(struct batch *batch, const char *field, char *text, size_t len)
{
    char *own = batch->fields[batch->n_fields];

    pd_strcpy(own, PD_KUBE_FIELD_BYTES, field);
    batch->args[batch->n_args++] = (struct pd_redis_arg)PD_REDIS_TEXT(own);
    batch->args[batch->n_args++] = (struct pd_redis_arg){text ? text : "", text ? len : 0};
    batch->n_fields++;
    batch->bytes += len;
    if (text)
        batch->texts[batch->n_texts++] = text;
}

static void on_batch(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_kube_shared *shared = arg;
    struct pd_err own;

    (void)reply;
    shared->writing = false;
    if (!pd_kube_shared_op_over(shared))
        return;
    if (err) {
        pd_log(PD_LOG_DEBUG, "kube", "objects not written to Redis", "err", err->msg, NULL);
        return; /* the next look begins anew */
    }
    shared->pools_dirty = true;
    (void)pd_kube_shared_look(shared, &own);
}

void pd_kube_shared_batch_send(struct pd_kube_shared *shared, struct batch *batch)
{
    char version[PD_KUBE_VERSION_BYTES];
    struct pd_err err;

    batch->args[4] = (struct pd_redis_arg)PD_REDIS_TEXT(pd_kube_version(shared->version, version));
    if (batch->n_fields > 0 &&
        pd_redis_eval(shared->config.peers->redis, &shared->write, 3, batch->args, batch->n_args,
                      on_batch, shared, &err) == 0) {
        shared->writing = true;
        shared->open_ops++;
    }
    for (size_t i = 0; i < batch->n_texts; i++)
        free(batch->texts[i]);
}

/* ---- what is lost ---- */

void pd_kube_shared_restore(struct pd_kube_shared *shared)
{
    struct batch batch = {.n_args = 5};
    char version[PD_KUBE_VERSION_BYTES], versions[PD_KUBE_SHARED_BATCH_MAX][PD_KUBE_VERSION_BYTES];
    struct pd_err err;

    if (shared->writing)
        return;
    batch.args[0] = (struct pd_redis_arg)PD_REDIS_TEXT(shared->hash_key);
    batch.args[1] = (struct pd_redis_arg)PD_REDIS_TEXT(shared->order_key);
    batch.args[2] = (struct pd_redis_arg)PD_REDIS_TEXT(shared->channel);
    batch.args[3] = (struct pd_redis_arg)PD_REDIS_TEXT(pd_kube_version(shared->version, version));
    batch.args[4] = (struct pd_redis_arg)PD_REDIS_TEXT(shared->dataset);
    for (size_t i = 0; i < shared->n_known && !pd_kube_shared_batch_is_full(&batch); i++) {
        const struct known *known = shared->known[i];
        if (!known->lost)
            continue;
        batch.args[batch.n_args++] = (struct pd_redis_arg)PD_REDIS_TEXT(known->field);
        batch.args[batch.n_args++] = (struct pd_redis_arg)PD_REDIS_TEXT(
            pd_kube_version(known->version, versions[batch.n_fields]));
        batch.args[batch.n_args++] = (struct pd_redis_arg){known->text, known->len};
        batch.n_fields++;
        batch.bytes += known->len;
    }
    if (batch.n_fields > 0 &&
        pd_redis_eval(shared->config.peers->redis, &shared->restore, 2, batch.args, batch.n_args,
                      on_batch, shared, &err) == 0) {
        shared->writing = true;
        shared->open_ops++;
    }
}

static void on_pruned(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    (void)err, (void)reply;
    (void)pd_kube_shared_op_over(arg);
}

void pd_kube_shared_prune(struct pd_kube_shared *shared)
{
    const char *lease = pd_kube_shared_lease(shared);
    pd_autofree char *age_us = pd_asprintf("%lld", 1000ll * PD_KUBE_SHARED_TOMB_MS);
    struct pd_err err;

    if (!lease)
        return;
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(shared->hash_key), PD_REDIS_TEXT(shared->order_key),
        PD_REDIS_TEXT(shared->lease_key), PD_REDIS_TEXT(lease), PD_REDIS_TEXT(age_us)};
    if (pd_redis_eval(shared->config.peers->redis, &shared->prune, 3, args, PD_COUNT(args),
                      on_pruned, shared, &err) == 0)
        shared->open_ops++;
}

/* ---- a pool of the API ---- */

struct put {
    struct pd_kube_shared *shared;
    void (*done)(void *arg, const struct pd_err *err, uint64_t version);
    void *arg;
};

static void on_put(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct put *put = arg;
    uint64_t version = err || !reply->text ? 0 : strtoull(reply->text, NULL, 10);
    struct pd_err own;

    if (!err && version == 0)
        err = (pd_err_set(&own, PD_INVALID, "Redis answers something else"), &own);
    put->done(put->arg, err, version);
    if (pd_kube_shared_op_over(put->shared))
        (void)pd_kube_shared_look(put->shared, &own);
    free(put);
}

int pd_kube_shared_put(struct pd_kube_shared *shared, const struct pd_kube_entry *entry,
                       uint64_t expected,
                       void (*done)(void *arg, const struct pd_err *err, uint64_t version),
                       void *arg, struct pd_err *err)
{
    char version[PD_KUBE_VERSION_BYTES], was[PD_KUBE_VERSION_BYTES];
    char field[PD_KUBE_FIELD_BYTES], rival[PD_KUBE_FIELD_BYTES];
    pd_autobuf struct pd_buf text;
    struct put *put;
    int rc;

    pd_buf_init(&text, PD_KUBE_ENTRY_BYTES_MAX);
    if (!shared->hash_key)
        return pd_err_set(err, PD_UNAVAILABLE, "which engine this is, is not known yet");
    rc = pd_kube_entry_format(entry, &text, err);
    if (rc < 0)
        return rc;
    pd_kube_entry_field(PD_ENTRY_API, entry->name, field);
    pd_kube_entry_field(PD_ENTRY_POOL, entry->name, rival);
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(shared->hash_key),
        PD_REDIS_TEXT(shared->order_key),
        PD_REDIS_TEXT(shared->channel),
        PD_REDIS_TEXT(pd_kube_version(shared->version, version)),
        PD_REDIS_TEXT(field),
        PD_REDIS_TEXT(pd_kube_version(expected, was)),
        {text.data, text.len},
        PD_REDIS_TEXT(rival),
    };
    put = PD_NEW(struct put);
    *put = (struct put){shared, done, arg};
    rc = pd_redis_eval(shared->config.peers->redis, &shared->put, 2, args, PD_COUNT(args), on_put,
                       put, err);
    if (rc < 0)
        free(put);
    else
        shared->open_ops++;
    return rc;
}
