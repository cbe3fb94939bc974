/* A write among replicas. Theory of operation: Redis is read, so that the live object is
 * what any replica has answered; what the client makes of it is written by
 * compare-and-set of the version that was read. Where another was faster, all of it
 * begins anew: a client that named a version is then told of the conflict, one that did
 * not has its change made on top of the other's, as with any Kubernetes. */
#include <stdlib.h>
#include <string.h>

#include "api/kube_object.h"
#include "api/kube_write_state.h"
#include "common/mem.h"
#include "common/pool_status.h"
#include "common/time.h"

#define ATTEMPTS_MAX 8

static void begin(struct pd_kube_write *write);

static void on_gone(void *arg)
{
    struct pd_kube_write *write = arg;

    write->exchange = NULL;
}

static void end_away(struct pd_kube_write *write, bool is_sent, const struct pd_err *err)
{
    if (write->exchange && is_sent)
        PD_REFUSE(write, 503,
                  "Redis, where pools are kept, did not answer (%s): whether the change was made "
                  "is not known; ask again",
                  err->msg);
    else if (write->exchange)
        PD_REFUSE(write, 503,
                  "Redis, where pools are kept, is not in reach (%s): nothing can be changed until "
                  "it is back; what is declared stays in force",
                  err->msg);
    pd_kube_write_free(write);
}

/* ---- what is written ---- */

static void end_metadata(struct pd_kube_entry *entry)
{
    struct pd_node *metadata = pd_node_get(entry->object, "metadata");

    pd_node_remove(metadata, "resourceVersion");
    pd_node_remove(entry->object, "status");
}

static void entry_of_deletion(struct pd_kube_write *write, struct pd_kube_entry *entry)
{
    struct pd_node *metadata;

    entry->identity.deletion_wall_ms = pd_wall_ms();
    entry->object = pd_node_copy(write->live);
    end_metadata(entry);
    metadata = pd_node_get(entry->object, "metadata");
    pd_node_set(metadata, "deletionTimestamp", pd_kube_time(entry->identity.deletion_wall_ms));
    pd_node_set_int(metadata, "deletionGracePeriodSeconds", 0);
}

static void entry_of_candidate(struct pd_kube_write *write, struct pd_kube_entry *ret_entry,
                               const struct pd_pool_identity *identity)
{
    struct pd_pool pool = {.spec = write->spec,
                           .generation = identity->generation,
                           .created_wall_ms = identity->created_wall_ms};

    if (write->live &&
        !pd_node_equal(pd_node_get(write->live, "spec"), pd_node_get(write->spec->node, "spec")))
        pool.generation++;
    pd_strcpy(pool.uid, sizeof pool.uid, identity->uid);
    pd_strcpy(pool.source, sizeof pool.source, PD_KUBE_SOURCE);
    pd_kube_entry_of_pool(&pool, write->managed, ret_entry);
}

/* The caller ends it by _fini. */
static void make_entry(struct pd_kube_write *write, struct pd_kube_entry *ret_entry)
{
    const char *name = write->request.target.name;
    struct pd_kube_entry entry = {.kind = PD_ENTRY_API};

    write->expected = 0;
    if (pd_kube_shared_pool(write->kube->shared, name, &entry.identity, &write->expected) < 0) {
        pd_uid_random(entry.identity.uid);
        entry.identity.generation = 1;
        entry.identity.created_wall_ms = pd_wall_ms();
    }
    if (write->request.method != PD_METHOD_DELETE) {
        entry_of_candidate(write, ret_entry, &entry.identity);
        return;
    }
    pd_strcpy(entry.name, sizeof entry.name, name);
    pd_strcpy(entry.source, sizeof entry.source, PD_KUBE_SOURCE);
    entry_of_deletion(write, &entry);
    *ret_entry = entry;
}

/* ---- what is answered ---- */

static struct pd_node *status_of_new(void)
{
    struct pd_pool blank = {
        .status = {
            .warm_hit_ratio = -1, .refill_p99_ms = -1, .start_p90_ms = -1, .recommended_min = -1}};

    pd_strcpy(blank.source, sizeof blank.source, PD_KUBE_SOURCE);
    return pd_pool_status_encode(&blank);
}

/* write->result becomes the whole object; its version is not known yet. */
static void imagine(struct pd_kube_write *write, const struct pd_kube_entry *entry)
{
    const struct pd_node *status = pd_node_get(write->live, "status");

    pd_node_free(write->result);
    write->result = pd_node_copy(entry->object);
    pd_node_set(write->result, "status", status ? pd_node_copy(status) : status_of_new());
    write->status = write->live ? 200 : 201;
}

static void answer(struct pd_kube_write *write, const char *version)
{
    pd_autonode struct pd_node *scale = NULL;

    pd_node_set_string(pd_node_get(write->result, "metadata"), "resourceVersion", version);
    if (write->request.target.part == PD_KUBE_SCALE)
        scale = pd_kube_scale_object(write->result);
    if (write->exchange)
        pd_kube_write_reply(write, write->status, scale ? scale : write->result);
    pd_kube_write_free(write);
}

/* ---- carrying out ---- */

static void forget_attempt(struct pd_kube_write *write)
{
    pd_node_free(PD_STEAL(write->live));
    pd_node_free(PD_STEAL(write->candidate));
    pd_node_free(PD_STEAL(write->applied));
    pd_node_free(PD_STEAL(write->managed));
    pd_pool_spec_unref(PD_STEAL(write->spec));
    write->warnings.count = 0;
}

static void on_put(void *arg, const struct pd_err *err, uint64_t version)
{
    struct pd_kube_write *write = arg;
    char text[PD_KUBE_VERSION_BYTES];

    if (!err) {
        answer(write, pd_kube_version(version, text));
    } else if (err->kind != PD_CONFLICT) {
        end_away(write, true, err);
    } else if (!write->exchange) { /* nobody asks any more, and all may be closing */
        pd_kube_write_free(write);
    } else if (++write->attempts >= ATTEMPTS_MAX) {
        PD_REFUSE(write, 409, "others change it all the time; try again");
        pd_kube_write_free(write);
    } else {
        forget_attempt(write);
        begin(write);
    }
}

/* Whether it is like this already: nothing is written then. */
static bool is_so(const struct pd_kube_write *write)
{
    pd_autonode struct pd_node *now = NULL;

    if (!write->live)
        return false;
    now = pd_node_copy(write->live);
    pd_node_remove(pd_node_get(now, "metadata"), "resourceVersion");
    return pd_node_equal(now, write->result);
}

static void put(struct pd_kube_write *write)
{
    struct pd_kube_entry entry;
    struct pd_err err;
    int rc = 0;

    make_entry(write, &entry);
    imagine(write, &entry);
    if (write->request.dry_run || is_so(write)) {
        const char *version = pd_kube_write_text(write->live, "resourceVersion");
        pd_autofree char *copy = pd_strdup(version);
        answer(write, copy);
    } else {
        rc = pd_kube_shared_put(write->kube->shared, &entry, write->expected, on_put, write, &err);
    }
    pd_kube_entry_fini(&entry);
    if (rc == PD_LIMIT && write->exchange) {
        PD_REFUSE(write, 413, "the pool is too large: %s", err.msg);
        pd_kube_write_free(write);
    } else if (rc < 0) {
        end_away(write, false, &err);
    }
}

static void on_fresh(void *arg, const struct pd_err *err)
{
    struct pd_kube_write *write = arg;
    int rc;

    if (err) {
        end_away(write, false, err);
        return;
    }
    if (!write->exchange) { /* nobody was told anything */
        pd_kube_write_free(write);
        return;
    }
    rc = write->request.method == PD_METHOD_DELETE
             ? pd_kube_write_prepare_delete(write, write->body, write->body_len)
             : pd_kube_write_prepare(write, write->body, write->body_len);
    if (rc < 0)
        pd_kube_write_free(write);
    else
        put(write);
}

static void begin(struct pd_kube_write *write)
{
    struct pd_err err;
    int rc = pd_kube_shared_refresh(write->kube->shared, on_fresh, write, &err);

    if (rc < 0)
        end_away(write, false, &err);
}

void pd_kube_write_shared(struct pd_kube_write *write, const char *body, size_t len)
{
    write->body = pd_strndup(body, len);
    write->body_len = len;
    pd_exchange_on_gone(write->exchange, on_gone, write);
    begin(write);
}
