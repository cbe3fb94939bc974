/* What every replica has of every pool, so that each can speak for the whole pool. */
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "controller/shared_state.h"

#define LINE_FORMAT "%s %d %d %d %d %d %d %d %d\n"

/* "POOL wanted replicas ready claimed starting terminating updated queued", a line for
 * each pool. What goes beyond the buffer's bound is left out. */
void pd_shared_report(void *arg, struct pd_buf *out)
{
    struct shared *shared = arg;
    const struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(shared->config.store, i)); i++) {
        const struct pd_pool_status *status = &pool->status;
        if (pool->spec->provider == PD_PROVIDER_DOCKER &&
            pd_buf_addf(out, NULL, LINE_FORMAT, pool->spec->name, status->wanted, status->replicas,
                        status->ready, status->claimed, status->starting, status->terminating,
                        status->updated, status->queue_length) < 0)
            return;
    }
}

/* The counts in a report of one pool; zeros where it has none. */
static void add_counts(struct pd_pool_elsewhere *sum, const char *report, const char *pool)
{
    size_t len = strlen(pool);
    struct pd_pool_elsewhere c;

    for (const char *line = report; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, pool, len) != 0 || line[len] != ' ')
            continue;
        if (sscanf(line + len, "%d %d %d %d %d %d %d %d", &c.wanted, &c.replicas, &c.ready,
                   &c.claimed, &c.starting, &c.terminating, &c.updated, &c.queue_length) != 8)
            return;
        sum->wanted += c.wanted;
        sum->replicas += c.replicas;
        sum->ready += c.ready;
        sum->claimed += c.claimed;
        sum->starting += c.starting;
        sum->terminating += c.terminating;
        sum->updated += c.updated;
        sum->queue_length += c.queue_length;
        return;
    }
}

/* reports: a hash, replica and report in turn. Only those who are alive count. */
void pd_shared_take_reports(void *arg, const struct pd_redis_reply *reports)
{
    struct shared *shared = arg;
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(shared->config.store, i)); i++) {
        struct pd_pool_elsewhere sum = {0};
        for (size_t j = 0; pool->spec->provider == PD_PROVIDER_DOCKER && j + 1 < reports->count;
             j += 2) {
            const struct pd_redis_reply *id = pd_redis_reply_string(reports, j);
            const struct pd_redis_reply *text = pd_redis_reply_string(reports, j + 1);
            if (id && text && strcmp(id->text, shared->base.instance) != 0 &&
                pd_replica_is_live(shared->replica, id->text))
                add_counts(&sum, text->text, pool->spec->name);
        }
        pd_store_pool_set_elsewhere(shared->config.store, pool, &sum);
    }
}
