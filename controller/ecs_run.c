/* Theory of operation. A create waits in `waiting` until the loop's next turn,
 * which puts those of one pool and template into a batch; a batch is one RunTask.
 * Its answer names tasks, in whatever order: each create gets one. Creates beyond
 * them get the first failure. A create lives until its batch is told, however
 * often its sandbox is asked for meanwhile; who asks again waits along. */
#include "controller/ecs_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/ecs_error.h"

#define WAITERS_MAX 4
#define PLACE_FORGIVEN_MS (10 * 60 * 1000) /* then the first choice is tried again */

struct create {
    TAILQ_ENTRY(create) entry;
    char id[PD_SANDBOX_ID_MAX];
    struct pd_pool_spec *spec;
    struct pd_ecs_launch launch; /* its texts are ours */
    struct {
        pd_provider_create_cb cb;
        void *arg;
    } waiters[WAITERS_MAX];
    size_t n_waiters;
    char arn[PD_ECS_ARN_MAX]; /* known already: only to be told */
};

struct batch {
    TAILQ_ENTRY(batch) entry;
    struct pd_ecs_run *run;
    char token[PD_ECS_TOKEN_MAX];
    struct create *creates[PD_ECS_BATCH_MAX];
    size_t count;
};

/* Where a pool's next task goes, after so many failures for want of capacity. */
struct place {
    TAILQ_ENTRY(place) entry;
    char pool[PD_POOL_NAME_MAX];
    unsigned failures;
    struct pd_time failed;
};

struct pd_ecs_run {
    uv_loop_t *loop;
    struct pd_ecs_client *client;
    struct pd_ecs_book *book;
    char instance[PD_ECS_TOKEN_MAX];
    char started_by[PD_ECS_TOKEN_MAX];
    uint64_t serial;
    uv_timer_t turn;
    size_t n_creates;
    TAILQ_HEAD(creates, create) waiting;
    TAILQ_HEAD(, batch) batches;
    TAILQ_HEAD(, place) places;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- telling ---- */

static void create_free(struct create *create)
{
    pd_pool_spec_unref(create->spec);
    free((void *)(uintptr_t)create->launch.definition);
    free((void *)(uintptr_t)create->launch.cluster);
    free(create);
}

static void tell(struct pd_ecs_run *run, struct create *create, const struct pd_err *err,
                 const char *arn)
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

/* ---- where ---- */

static struct place *place_of(struct pd_ecs_run *run, const char *pool)
{
    struct place *place;

    TAILQ_FOREACH(place, &run->places, entry)
    {
        if (strcmp(place->pool, pool) == 0)
            return place;
    }
    place = PD_NEW(struct place);
    pd_strcpy(place->pool, sizeof place->pool, pool);
    TAILQ_INSERT_TAIL(&run->places, place, entry);
    return place;
}

static void no_capacity(struct pd_ecs_run *run, const struct create *create, const char *reason)
{
    struct place *place = place_of(run, create->spec->name);

    place->failures++;
    place->failed = pd_time_now();
    pd_log(PD_LOG_WARN, "ecs", "no capacity, trying elsewhere next", "pool", create->spec->name,
           "reason", reason, NULL);
}

/* The provider changes with each failure; when all have been tried the subnets do:
 * all of them, then one after another. */
static void set_place(struct pd_node *body, struct pd_ecs_run *run, const struct create *create)
{
    const struct pd_strings *providers = &create->spec->ecs.capacity_providers;
    const struct pd_strings *subnets = create->launch.subnets;
    struct place *place = place_of(run, create->spec->name);
    struct pd_node *network = pd_node_map_new(), *list, *item;
    const char *provider;
    size_t round, only;

    if (place->failures > 0 &&
        pd_time_ms_between(place->failed, pd_time_now()) >= PLACE_FORGIVEN_MS)
        place->failures = 0;
    provider =
        providers->count > 0 ? providers->items[place->failures % providers->count] : "FARGATE";
    round = place->failures / (providers->count > 0 ? providers->count : 1);
    only = subnets->count > 1 ? round % (subnets->count + 1) : 0;
    if (strcmp(provider, "FARGATE") == 0) {
        pd_node_set_string(body, "launchType", "FARGATE");
    } else {
        item = pd_node_map_new();
        pd_node_set_string(item, "capacityProvider", provider);
        pd_node_set_int(item, "weight", 1);
        pd_node_add(pd_node_set(body, "capacityProviderStrategy", pd_node_list_new()), item);
    }
    list = pd_node_set(network, "subnets", pd_node_list_new());
    for (size_t i = 0; i < subnets->count; i++) {
        if (only == 0 || i == only - 1)
            pd_node_add(list, pd_node_string_new(subnets->items[i]));
    }
    pd_node_set(network, "securityGroups", pd_strings_node(create->launch.security_groups));
    pd_node_set_string(network, "assignPublicIp",
                       create->launch.public_address ? "ENABLED" : "DISABLED");
    pd_node_set(pd_node_set(body, "networkConfiguration", pd_node_map_new()), "awsvpcConfiguration",
                network);
}

/* ---- RunTask ---- */

static void add_tag(struct pd_node *tags, const char *key, const char *value)
{
    struct pd_node *tag = pd_node_map_new();

    pd_node_set_string(tag, "key", key);
    pd_node_set_string(tag, "value", value);
    pd_node_add(tags, tag);
}

static struct pd_node *body_new(const struct batch *batch)
{
    const struct create *create = batch->creates[0];
    struct pd_node *body = pd_node_map_new(), *tags;

    pd_node_set_string(body, "cluster", create->launch.cluster);
    pd_node_set_string(body, "taskDefinition", create->launch.definition);
    pd_node_set_int(body, "count", (int64_t)batch->count);
    pd_node_set_string(body, "platformVersion", create->spec->ecs.platform_version);
    pd_node_set_string(body, "startedBy", batch->run->started_by);
    pd_node_set_string(body, "clientToken", batch->token);
    set_place(body, batch->run, create);
    tags = pd_node_set(body, "tags", pd_node_list_new());
    add_tag(tags, PD_ECS_TAG_INSTANCE, batch->run->instance);
    add_tag(tags, PD_ECS_TAG_POOL, create->spec->name);
    add_tag(tags, PD_ECS_TAG_TEMPLATE_HASH, create->spec->template_hash);
    add_tag(tags, PD_ECS_TAG_BATCH, batch->token);
    return body;
}

static void batch_end(struct batch *batch)
{
    TAILQ_REMOVE(&batch->run->batches, batch, entry);
    free(batch);
}

static void batch_fail(struct batch *batch, size_t from, const struct pd_err *err)
{
    struct pd_ecs_run *run = batch->run;

    if (err->kind == PD_LIMIT && from < batch->count)
        no_capacity(run, batch->creates[from], err->msg);
    for (size_t i = from; i < batch->count; i++)
        tell(run, batch->creates[i], err, NULL);
}

/* Of the tasks that the answer names, one for each create. */
static size_t take_tasks(struct batch *batch, const struct pd_node *answer)
{
    struct pd_ecs_run *run = batch->run;
    const struct pd_node *node;
    struct pd_ecs_task task;
    char arns[PD_ECS_BATCH_MAX][PD_ECS_ARN_MAX];
    size_t taken = 0;

    for (size_t i = 0; taken < batch->count && (node = pd_ecs_item(answer, "tasks", i)); i++) {
        struct create *create = batch->creates[taken];
        struct pd_ecs_entry *entry;
        if (!pd_ecs_task_read(node, &task))
            continue;
        entry = pd_ecs_book_add(run->book, task.arn, create->launch.cluster, pd_time_now());
        pd_strcpy(entry->id, sizeof entry->id, create->id);
        if (!pd_time_is_set(entry->described))
            entry->task = task;
        pd_strcpy(entry->task.pool, sizeof entry->task.pool, create->spec->name);
        pd_strcpy(entry->task.template_hash, sizeof entry->task.template_hash,
                  create->spec->template_hash);
        pd_strcpy(arns[taken++], PD_ECS_ARN_MAX, task.arn);
    }
    for (size_t i = 0; i < taken; i++)
        tell(run, batch->creates[i], NULL, arns[i]);
    return taken;
}

static void on_run(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct batch *batch = arg;
    const struct pd_node *failure;
    struct pd_err failed;
    const char *reason;
    size_t taken;

    if (err) {
        batch_fail(batch, 0, err);
        batch_end(batch);
        return;
    }
    taken = take_tasks(batch, answer);
    failure = pd_ecs_item(answer, "failures", 0);
    reason = pd_ecs_text(failure, "reason");
    pd_err_set(&failed, pd_ecs_reason_kind(reason, PD_UNAVAILABLE), "ecs:RunTask: %.120s %.200s",
               *reason ? reason : "fewer tasks than asked for", pd_ecs_text(failure, "detail"));
    batch_fail(batch, taken, &failed);
    batch_end(batch);
}

/* ---- batches ---- */

/* The first sandbox's id, and a number that no other call of ours has: an id that
 * is asked for anew after a failure may not meet what an earlier call was. */
static void choose_token(struct batch *batch)
{
    const char *id = batch->creates[0]->id;
    size_t len = strlen(id), keep = PD_ECS_TOKEN_MAX - 1 - 17;

    snprintf(batch->token, sizeof batch->token, "%.47s-%016" PRIx64,
             len > keep ? id + len - keep : id, batch->run->serial++);
}

static void send_batch(struct batch *batch)
{
    pd_autonode struct pd_node *body = NULL;
    struct pd_err err;

    choose_token(batch);
    TAILQ_INSERT_TAIL(&batch->run->batches, batch, entry);
    body = body_new(batch);
    if (pd_ecs_call(batch->run->client, PD_ECS_RUN_TASK, body, (int)batch->count, on_run, batch,
                    &err) < 0) {
        batch_fail(batch, 0, &err);
        batch_end(batch);
    }
}

static bool go_together(const struct create *a, const struct create *b)
{
    return strcmp(a->spec->name, b->spec->name) == 0 &&
           strcmp(a->spec->template_hash, b->spec->template_hash) == 0 &&
           strcmp(a->launch.definition, b->launch.definition) == 0;
}

static void on_turn(uv_timer_t *timer)
{
    struct pd_ecs_run *run = timer->data;
    struct create *create, *next;
    struct batch *batch;

    while ((create = TAILQ_FIRST(&run->waiting))) {
        if (create->arn[0]) {
            TAILQ_REMOVE(&run->waiting, create, entry);
            tell(run, create, NULL, create->arn);
            continue;
        }
        batch = PD_NEW(struct batch);
        batch->run = run;
        for (; create && batch->count < PD_ECS_BATCH_MAX; create = next) {
            next = TAILQ_NEXT(create, entry);
            if (create->arn[0] || (batch->count > 0 && !go_together(batch->creates[0], create)))
                continue;
            TAILQ_REMOVE(&run->waiting, create, entry);
            batch->creates[batch->count++] = create;
        }
        send_batch(batch);
    }
}

static struct create *find_create(struct pd_ecs_run *run, const char *id)
{
    struct create *create;
    struct batch *batch;

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

static struct create *create_new(struct pd_ecs_run *run, const struct pd_pool_spec *spec,
                                 const struct pd_ecs_launch *launch, const char *id)
{
    struct create *create = PD_NEW(struct create);
    const struct pd_ecs_entry *entry;

    pd_strcpy(create->id, sizeof create->id, id);
    create->spec = pd_pool_spec_ref((struct pd_pool_spec *)(uintptr_t)spec);
    create->launch = *launch;
    create->launch.definition = pd_strdup(launch->definition);
    create->launch.cluster = pd_strdup(launch->cluster);
    TAILQ_FOREACH(entry, &run->book->entries, entry)
    {
        if (strcmp(entry->id, id) == 0 && !pd_ecs_entry_has_ended(entry))
            pd_strcpy(create->arn, sizeof create->arn, entry->task.arn);
    }
    TAILQ_INSERT_TAIL(&run->waiting, create, entry);
    run->n_creates++;
    uv_timer_start(&run->turn, on_turn, 0, 0);
    return create;
}

int pd_ecs_run_create(struct pd_ecs_run *run, const struct pd_pool_spec *spec,
                      const struct pd_ecs_launch *launch, const char *id, pd_provider_create_cb cb,
                      void *arg, struct pd_err *err)
{
    struct create *create = find_create(run, id);

    if (uv_is_closing((uv_handle_t *)&run->turn))
        return pd_err_set(err, PD_CANCELED, "the provider is closing");
    if (create ? create->n_waiters == WAITERS_MAX : run->n_creates == PD_ECS_CREATES_MAX)
        return pd_err_set(err, PD_LIMIT, "too many tasks asked for at once");
    if (!create)
        create = create_new(run, spec, launch, id);
    create->waiters[create->n_waiters].cb = cb;
    create->waiters[create->n_waiters++].arg = arg;
    return 0;
}

bool pd_ecs_run_is_open(const struct pd_ecs_run *run, const char *token)
{
    const struct batch *batch;

    TAILQ_FOREACH(batch, &run->batches, entry)
    {
        if (strcmp(batch->token, token) == 0)
            return true;
    }
    return false;
}

/* ---- life ---- */

struct pd_ecs_run *pd_ecs_run_new(uv_loop_t *loop, struct pd_ecs_client *client,
                                  struct pd_ecs_book *book, const char *instance,
                                  const char *started_by)
{
    struct pd_ecs_run *run = PD_NEW(struct pd_ecs_run);

    run->loop = loop;
    run->client = client;
    run->book = book;
    pd_strcpy(run->instance, sizeof run->instance, instance);
    pd_strcpy(run->started_by, sizeof run->started_by, started_by);
    if (getrandom(&run->serial, sizeof run->serial, 0) != sizeof run->serial)
        abort();
    uv_timer_init(loop, &run->turn);
    run->turn.data = run;
    TAILQ_INIT(&run->waiting);
    TAILQ_INIT(&run->batches);
    TAILQ_INIT(&run->places);
    return run;
}

static void on_turn_closed(uv_handle_t *handle)
{
    struct pd_ecs_run *run = handle->data;
    void (*closed)(void *arg) = run->closed;
    void *arg = run->closed_arg;
    struct create *create;
    struct place *place;
    struct pd_err err;

    pd_err_set(&err, PD_CANCELED, "the provider is closing");
    while ((create = TAILQ_FIRST(&run->waiting))) {
        TAILQ_REMOVE(&run->waiting, create, entry);
        tell(run, create, &err, NULL);
    }
    while ((place = TAILQ_FIRST(&run->places))) {
        TAILQ_REMOVE(&run->places, place, entry);
        free(place);
    }
    free(run);
    closed(arg);
}

void pd_ecs_run_close(struct pd_ecs_run *run, void (*closed)(void *arg), void *arg)
{
    run->closed = closed;
    run->closed_arg = arg;
    uv_close((uv_handle_t *)&run->turn, on_turn_closed);
}
