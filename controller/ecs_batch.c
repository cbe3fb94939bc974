/* Theory of operation. A batch is one RunTask. Its intent (ecs_intent.h) is on the
 * disk before it is sent; its answer names tasks, in whatever order: each create gets
 * one. What becomes of the intent:
 *
 *   refused for a reason that will not pass   settled; the creates are told
 *   nobody knows (timeout, 5xx, throttled)    open; the creates are told
 *   answered                                  answered, until a list shows its tasks
 *
 * A batch that says an open intent again may be given tasks that a list has shown
 * already, or that have ended since: creates that get none wait again. */
#include "controller/ecs_batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/ecs_error.h"

/* ---- what is said ---- */

static void add_tag(struct pd_node *tags, const char *key, const char *value)
{
    struct pd_node *tag = pd_node_map_new();

    pd_node_set_string(tag, "key", key);
    pd_node_set_string(tag, "value", value);
    pd_node_add(tags, tag);
}

static struct pd_node *request_new(const struct pd_ecs_batch *batch, const char *token)
{
    const struct pd_ecs_create *create = batch->creates[0];
    struct pd_ecs_run *run = batch->run;
    struct pd_node *body = pd_node_map_new(), *tags;

    pd_node_set_string(body, "cluster", create->launch.cluster);
    pd_node_set_string(body, "taskDefinition", create->launch.definition);
    pd_node_set_int(body, "count", (int64_t)batch->count);
    pd_node_set_string(body, "platformVersion", create->spec->ecs.platform_version);
    pd_node_set_string(body, "startedBy", run->started_by);
    pd_node_set_string(body, "clientToken", token);
    pd_ecs_place_set(&run->places, create->spec, create->launch.subnets,
                     create->launch.security_groups, create->launch.public_address, pd_time_now(),
                     body);
    tags = pd_node_set(body, "tags", pd_node_list_new());
    add_tag(tags, PD_ECS_TAG_INSTANCE, run->instance);
    add_tag(tags, PD_ECS_TAG_POOL, create->spec->name);
    add_tag(tags, PD_ECS_TAG_TEMPLATE_HASH, create->spec->template_hash);
    add_tag(tags, PD_ECS_TAG_BATCH, token);
    return body;
}

/* The first sandbox's id, and a number that no other call of ours has: an id that
 * is asked for anew after a failure may not meet what an earlier call was. */
static void choose_token(const struct pd_ecs_batch *batch, char token[static PD_ECS_TOKEN_MAX])
{
    const char *id = batch->creates[0]->id;
    size_t len = strlen(id), keep = PD_ECS_TOKEN_MAX - 1 - 17;

    snprintf(token, PD_ECS_TOKEN_MAX, "%.47s-%016" PRIx64, len > keep ? id + len - keep : id,
             batch->run->serial++);
}

/* ---- the end ---- */

static void batch_end(struct pd_ecs_batch *batch)
{
    struct pd_ecs_run *run = batch->run;

    TAILQ_REMOVE(&run->batches, batch, entry);
    free(batch);
    pd_ecs_run_maybe_closed(run);
}

static void batch_fail(struct pd_ecs_batch *batch, size_t from, const struct pd_err *err)
{
    struct pd_ecs_run *run = batch->run;

    if (err->kind == PD_LIMIT && from < batch->count) {
        const char *pool = batch->creates[from]->spec->name;
        pd_ecs_place_failed(&run->places, pool, pd_time_now());
        pd_log(PD_LOG_WARN, "ecs", "no capacity, trying elsewhere next", "pool", pool, "reason",
               err->msg, NULL);
    }
    for (size_t i = from; i < batch->count; i++)
        pd_ecs_create_tell(run, batch->creates[i], err, NULL);
}

/* Whether the call may have had its effect: an attempt before the last one, too. */
static bool is_unknown(const struct pd_err *err)
{
    return pd_err_retryable(err->kind) || err->kind == PD_CANCELED;
}

static void fail_all(struct pd_ecs_batch *batch, const struct pd_err *err)
{
    struct pd_ecs_intent *intent = batch->intent;

    if (is_unknown(err))
        intent->state = PD_ECS_INTENT_OPEN;
    else
        pd_ecs_intents_settle(batch->run->intents, intent);
    batch_fail(batch, 0, err);
    batch_end(batch);
}

/* ---- the answer ---- */

/* What the answer need not say is known: it is what was asked for. */
static void note_tags(struct pd_ecs_run *run, const struct pd_ecs_intent *intent,
                      struct pd_ecs_task *task)
{
    pd_strcpy(task->instance, sizeof task->instance, run->instance);
    pd_strcpy(task->pool, sizeof task->pool, intent->pool);
    pd_strcpy(task->template_hash, sizeof task->template_hash, intent->template_hash);
    pd_strcpy(task->batch, sizeof task->batch, intent->token);
}

/* One that is said again may have been shown by a list, used and stopped meanwhile. */
static bool is_taken(const struct pd_ecs_batch *batch, const struct pd_ecs_entry *entry)
{
    return entry->id[0] || pd_time_is_set(entry->gone) ||
           (batch->again && entry->task.stage >= PD_ECS_LEAVING);
}

/* Of the tasks that the answer names, one for each create. Returns how many creates
 * are told; *ret_tasks: how many tasks there are. */
static size_t take_tasks(struct pd_ecs_batch *batch, const struct pd_node *answer, int *ret_tasks)
{
    struct pd_ecs_run *run = batch->run;
    const char *cluster = pd_ecs_text(batch->intent->request, "cluster");
    char arns[PD_ECS_BATCH_MAX][PD_ECS_ARN_MAX];
    const struct pd_node *node;
    struct pd_ecs_task task;
    size_t taken = 0;

    *ret_tasks = 0;
    for (size_t i = 0; i < PD_ECS_BATCH_MAX && (node = pd_ecs_item(answer, "tasks", i)); i++) {
        struct pd_ecs_entry *entry;
        if (!pd_ecs_task_read(node, &task))
            continue;
        ++*ret_tasks;
        entry = pd_ecs_book_add(run->book, task.arn, cluster, pd_time_now());
        if (!pd_time_is_set(entry->described))
            entry->task = task;
        note_tags(run, batch->intent, &entry->task);
        if (taken == batch->count || is_taken(batch, entry))
            continue;
        pd_strcpy(entry->id, sizeof entry->id, batch->creates[taken]->id);
        pd_strcpy(arns[taken++], PD_ECS_ARN_MAX, task.arn);
    }
    for (size_t i = 0; i < taken; i++)
        pd_ecs_create_tell(run, batch->creates[i], NULL, arns[i]);
    return taken;
}

static void give_back(struct pd_ecs_batch *batch, size_t from)
{
    for (size_t i = batch->count; i-- > from;)
        pd_ecs_create_back(batch->run, batch->creates[i]);
}

static void take_answer(struct pd_ecs_batch *batch, const struct pd_node *answer)
{
    const struct pd_node *failure = pd_ecs_item(answer, "failures", 0);
    const char *reason = pd_ecs_text(failure, "reason");
    struct pd_err failed;
    size_t taken;
    int tasks;

    taken = take_tasks(batch, answer, &tasks);
    batch->intent->state = PD_ECS_INTENT_ANSWERED;
    batch->intent->count = tasks;
    if (tasks == 0)
        pd_ecs_intents_settle(batch->run->intents, batch->intent);
    batch->intent = NULL;
    if (taken == batch->count)
        return;
    if (batch->again && !failure) {
        give_back(batch, taken);
        return;
    }
    pd_err_set(&failed, pd_ecs_reason_kind(reason, PD_UNAVAILABLE), "ecs:RunTask: %.120s %.200s",
               *reason ? reason : "fewer tasks than asked for", pd_ecs_text(failure, "detail"));
    batch_fail(batch, taken, &failed);
}

static void on_answer(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct pd_ecs_batch *batch = arg;

    if (err && err->kind == PD_CONFLICT && batch->again) {
        /* ECS holds the token for something else: what there is, lists will show. */
        pd_ecs_intents_settle(batch->run->intents, batch->intent);
        give_back(batch, 0);
        batch_end(batch);
    } else if (err) {
        fail_all(batch, err);
    } else {
        take_answer(batch, answer);
        batch_end(batch);
    }
}

/* ---- sending ---- */

static void call(struct pd_ecs_batch *batch)
{
    struct pd_ecs_run *run = batch->run;
    struct pd_err err;

    if (run->closing)
        pd_err_set(&err, PD_CANCELED, "the provider is closing");
    else if (pd_ecs_call(run->client, PD_ECS_RUN_TASK, batch->intent->request, batch->intent->count,
                         on_answer, batch, &err) == 0)
        return;
    if (!batch->again) { /* it was never sent */
        pd_ecs_intents_settle(run->intents, batch->intent);
        batch_fail(batch, 0, &err);
        batch_end(batch);
    } else {
        fail_all(batch, &err);
    }
}

static void on_written(void *arg, const struct pd_err *err)
{
    struct pd_ecs_batch *batch = arg;

    /* Without the disk a kill may cost tasks that lists have to find; without
     * sandboxes nobody is served. */
    if (err && err->kind != PD_CANCELED)
        pd_log(PD_LOG_WARN, "ecs", "an intent is kept in memory only", "token",
               batch->intent->token, "err", err->msg, NULL);
    call(batch);
}

static void say_again(struct pd_ecs_batch *batch, struct pd_ecs_intent *intent)
{
    size_t keep = intent->count > 0 ? (size_t)intent->count : 1;

    pd_log(PD_LOG_INFO, "ecs", "asking again with the token of a call whose outcome is unknown",
           "pool", intent->pool, "token", intent->token, NULL);
    while (batch->count > keep)
        pd_ecs_create_back(batch->run, batch->creates[--batch->count]);
    batch->intent = intent;
    batch->again = true;
    intent->state = PD_ECS_INTENT_BUSY;
    call(batch);
}

void pd_ecs_batch_send(struct pd_ecs_batch *batch)
{
    const struct pd_pool_spec *spec = batch->creates[0]->spec;
    struct pd_ecs_run *run = batch->run;
    char token[PD_ECS_TOKEN_MAX];
    struct pd_node *request;
    struct pd_ecs_intent *open;

    TAILQ_INSERT_TAIL(&run->batches, batch, entry);
    choose_token(batch, token);
    request = request_new(batch, token);
    open = pd_ecs_intents_find(run->intents, spec->name, spec->template_hash, request, pd_wall_ms());
    if (open) {
        pd_node_free(request);
        say_again(batch, open);
        return;
    }
    batch->intent = pd_ecs_intents_add(run->intents, token, spec->name, spec->template_hash,
                                       (int)batch->count, pd_wall_ms(), request);
    if (!pd_ecs_intents_write(run->intents, batch->intent, on_written, batch))
        call(batch);
}
