/* Theory of operation. A create waits in `waiting` until the loop's next turn,
 * which puts those of one pool and template into a batch; a batch is one RunTask
 * (ecs_batch.c). A create lives until it is told, however often its sandbox is asked
 * for meanwhile; who asks again waits along. One for which a task is there that nobody
 * has yet (of a call whose outcome was unknown) gets that. */
#include "controller/ecs_run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/ecs_batch.h"

/* ---- telling ---- */

static void create_free(struct pd_ecs_create *create)
{
    pd_pool_spec_unref(create->spec);
    free((void *)(uintptr_t)create->launch.definition);
    free((void *)(uintptr_t)create->launch.cluster);
    free(create);
}

void pd_ecs_create_tell(struct pd_ecs_run *run, struct pd_ecs_create *create,
                        const struct pd_err *err, const char *arn)
{
    struct pd_err wrapped;

    if (err) {
        wrapped = *err;
        pd_err_wrap(&wrapped, "create sandbox %s", create->id);
    }
    run->n_creates--;
    for (size_t i = 0; i < create->n_waiters; i++)
        create->waiters[i].cb(create->waiters[i].arg, err ? &wrapped : NULL, arn);
    create_free(create);
}

/* ---- batches ---- */

static void on_turn(uv_timer_t *timer);

static void turn_soon(struct pd_ecs_run *run)
{
    if (!run->closing)
        uv_timer_start(&run->turn, on_turn, 0, 0);
}

void pd_ecs_create_back(struct pd_ecs_run *run, struct pd_ecs_create *create)
{
    TAILQ_INSERT_HEAD(&run->waiting, create, entry);
    turn_soon(run);
}

static bool go_together(const struct pd_ecs_create *a, const struct pd_ecs_create *b)
{
    return strcmp(a->spec->name, b->spec->name) == 0 &&
           strcmp(a->spec->template_hash, b->spec->template_hash) == 0 &&
           strcmp(a->launch.definition, b->launch.definition) == 0;
}

static struct pd_ecs_batch *batch_new(struct pd_ecs_run *run)
{
    struct pd_ecs_batch *batch = PD_NEW(struct pd_ecs_batch);
    struct pd_ecs_create *create, *next;

    batch->run = run;
    for (create = TAILQ_FIRST(&run->waiting); create && batch->count < PD_ECS_BATCH_MAX;
         create = next) {
        next = TAILQ_NEXT(create, entry);
        if (create->arn[0] || (batch->count > 0 && !go_together(batch->creates[0], create)))
            continue;
        TAILQ_REMOVE(&run->waiting, create, entry);
        batch->creates[batch->count++] = create;
    }
    return batch;
}

static void on_turn(uv_timer_t *timer)
{
    struct pd_ecs_run *run = timer->data;
    struct pd_ecs_create *create;

    while ((create = TAILQ_FIRST(&run->waiting))) {
        if (create->arn[0]) {
            TAILQ_REMOVE(&run->waiting, create, entry);
            pd_ecs_create_tell(run, create, NULL, create->arn);
        } else {
            pd_ecs_batch_send(batch_new(run));
        }
    }
}

/* ---- creates ---- */

static struct pd_ecs_create *find_create(struct pd_ecs_run *run, const char *id)
{
    struct pd_ecs_create *create;
    struct pd_ecs_batch *batch;

    TAILQ_FOREACH(create, &run->waiting, entry)
    {
        if (strcmp(create->id, id) == 0)
            return create;
    }
    TAILQ_FOREACH(batch, &run->batches, entry)
    {
        for (size_t i = 0; i < batch->count; i++) {
            if (strcmp(batch->creates[i]->id, id) == 0)
                return batch->creates[i];
        }
    }
    return NULL;
}

/* Made for this pool and template, and nobody has it. */
static bool is_spare(const struct pd_ecs_run *run, const struct pd_ecs_entry *entry,
                     const struct pd_pool_spec *spec)
{
    return !entry->id[0] && !pd_time_is_set(entry->gone) && entry->task.stage < PD_ECS_LEAVING &&
           strcmp(entry->task.instance, run->instance) == 0 &&
           strcmp(entry->task.pool, spec->name) == 0 &&
           strcmp(entry->task.template_hash, spec->template_hash) == 0 &&
           !pd_ecs_run_is_open(run, entry->task.batch);
}

static void take_existing(struct pd_ecs_run *run, struct pd_ecs_create *create)
{
    struct pd_ecs_entry *entry, *spare = NULL;

    TAILQ_FOREACH(entry, &run->book->entries, entry)
    {
        if (strcmp(entry->id, create->id) == 0 && !pd_ecs_entry_has_ended(entry)) {
            pd_strcpy(create->arn, sizeof create->arn, entry->task.arn);
            return;
        }
        if (!spare && is_spare(run, entry, create->spec))
            spare = entry;
    }
    if (!spare)
        return;
    pd_strcpy(spare->id, sizeof spare->id, create->id);
    pd_strcpy(create->arn, sizeof create->arn, spare->task.arn);
}

static struct pd_ecs_create *create_new(struct pd_ecs_run *run, const struct pd_pool_spec *spec,
                                        const struct pd_ecs_launch *launch, const char *id)
{
    struct pd_ecs_create *create = PD_NEW(struct pd_ecs_create);

    pd_strcpy(create->id, sizeof create->id, id);
    create->spec = pd_pool_spec_ref((struct pd_pool_spec *)(uintptr_t)spec);
    create->launch = *launch;
    create->launch.definition = pd_strdup(launch->definition);
    create->launch.cluster = pd_strdup(launch->cluster);
    take_existing(run, create);
    TAILQ_INSERT_TAIL(&run->waiting, create, entry);
    run->n_creates++;
    turn_soon(run);
    return create;
}

int pd_ecs_run_create(struct pd_ecs_run *run, const struct pd_pool_spec *spec,
                      const struct pd_ecs_launch *launch, const char *id, pd_provider_create_cb cb,
                      void *arg, struct pd_err *err)
{
    struct pd_ecs_create *create = find_create(run, id);

    if (run->closing)
        return pd_err_set(err, PD_CANCELED, "the provider is closing");
    if (create ? create->n_waiters == PD_ECS_WAITERS_MAX : run->n_creates == PD_ECS_CREATES_MAX)
        return pd_err_set(err, PD_LIMIT, "too many tasks asked for at once");
    if (!create)
        create = create_new(run, spec, launch, id);
    create->waiters[create->n_waiters].cb = cb;
    create->waiters[create->n_waiters++].arg = arg;
    return 0;
}

bool pd_ecs_run_is_open(const struct pd_ecs_run *run, const char *token)
{
    const struct pd_ecs_batch *batch;

    TAILQ_FOREACH(batch, &run->batches, entry)
    {
        if (batch->intent && strcmp(batch->intent->token, token) == 0)
            return true;
    }
    return false;
}

/* How many tasks of a token lists have shown, or have ended. */
static int listed(void *arg, const char *token)
{
    const struct pd_ecs_run *run = arg;
    const struct pd_ecs_entry *entry;
    int count = 0;

    TAILQ_FOREACH(entry, &run->book->entries, entry)
    {
        count += strcmp(entry->task.batch, token) == 0 &&
                 (entry->listed || pd_ecs_entry_has_ended(entry) || pd_time_is_set(entry->gone));
    }
    return count;
}

void pd_ecs_run_listed(struct pd_ecs_run *run)
{
    pd_ecs_intents_listed(run->intents, listed, run, pd_wall_ms());
}

/* ---- life ---- */

struct pd_ecs_run *pd_ecs_run_new(uv_loop_t *loop, struct pd_ecs_client *client,
                                  struct pd_ecs_book *book, struct pd_ecs_intents *intents,
                                  const char *instance, const char *started_by)
{
    struct pd_ecs_run *run = PD_NEW(struct pd_ecs_run);

    run->loop = loop;
    run->client = client;
    run->book = book;
    run->intents = intents;
    pd_strcpy(run->instance, sizeof run->instance, instance);
    pd_strcpy(run->started_by, sizeof run->started_by, started_by);
    if (getrandom(&run->serial, sizeof run->serial, 0) != sizeof run->serial)
        abort();
    uv_timer_init(loop, &run->turn);
    run->turn.data = run;
    TAILQ_INIT(&run->waiting);
    TAILQ_INIT(&run->batches);
    pd_ecs_places_init(&run->places);
    return run;
}

void pd_ecs_run_maybe_closed(struct pd_ecs_run *run)
{
    void (*closed)(void *arg) = run->closed;
    void *arg = run->closed_arg;

    if (!run->turn_closed || !TAILQ_EMPTY(&run->batches))
        return;
    pd_ecs_places_fini(&run->places);
    free(run);
    closed(arg);
}

static void on_turn_closed(uv_handle_t *handle)
{
    struct pd_ecs_run *run = handle->data;
    struct pd_ecs_create *create;
    struct pd_err err;

    pd_err_set(&err, PD_CANCELED, "the provider is closing");
    while ((create = TAILQ_FIRST(&run->waiting))) {
        TAILQ_REMOVE(&run->waiting, create, entry);
        pd_ecs_create_tell(run, create, &err, NULL);
    }
    run->turn_closed = true;
    pd_ecs_run_maybe_closed(run);
}

void pd_ecs_run_close(struct pd_ecs_run *run, void (*closed)(void *arg), void *arg)
{
    run->closing = true;
    run->closed = closed;
    run->closed_arg = arg;
    uv_close((uv_handle_t *)&run->turn, on_turn_closed);
}
