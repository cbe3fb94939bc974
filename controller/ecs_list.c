/* What exists: every task that ECS lists as started by us, and every one in the
 * book that has not ended, listed or not; then what ECS says of each. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/ecs_state.h"

#define PAGES_MAX 1000
/* One that was asked to stop and is listed as wanted still, after so long: it was
 * not heard. */
#define STOP_UNHEARD_MS (2 * 60 * 1000)

struct pd_ecs_list {
    struct pd_ecs *ecs;
    size_t cluster; /* being listed */
    int pages;
    char *next;
    pd_provider_list_cb cb;
    pd_provider_done_cb surveyed; /* instead of cb */
    void *arg;
};

static void end(struct pd_ecs_list *list, const struct pd_err *err,
                const struct pd_instance *instances, size_t count)
{
    if (list->surveyed)
        list->surveyed(list->arg, err);
    else
        list->cb(list->arg, err, instances, count);
    free(list->next);
    free(list);
}

/* ---- the snapshot ---- */

/* A task that is only on its way counts as running: its link waits for it. */
static void fill(struct pd_instance *instance, const struct pd_ecs_entry *entry)
{
    pd_strcpy(instance->id, sizeof instance->id, entry->id);
    pd_strcpy(instance->provider_id, sizeof instance->provider_id, entry->task.arn);
    pd_strcpy(instance->pool, sizeof instance->pool, entry->task.pool);
    pd_strcpy(instance->template_hash, sizeof instance->template_hash, entry->task.template_hash);
    instance->phase = pd_ecs_entry_has_ended(entry) ? PD_INSTANCE_DEAD : PD_INSTANCE_RUNNING;
    instance->created_wall_ms = entry->task.created_wall_ms;
    pd_strcpy(instance->reason, sizeof instance->reason, entry->task.reason);
}

/* Ours, and known to be: by its tags, or because we made it just now. One whose
 * batch is not told yet will be one of those that are waited for. */
static bool counts(struct pd_ecs *ecs, struct pd_ecs_entry *entry)
{
    if (pd_time_is_set(entry->gone))
        return false;
    if (entry->id[0])
        return true;
    if (strcmp(entry->task.instance, ecs->instance) != 0 || !entry->task.pool[0] ||
        pd_ecs_entry_has_ended(entry) || pd_ecs_run_is_open(ecs->run, entry->task.batch))
        return false;
    pd_ecs_entry_name(entry);
    return true;
}

static void on_described(void *arg, const struct pd_err *err)
{
    struct pd_ecs_list *list = arg;
    struct pd_ecs *ecs = list->ecs;
    struct pd_instance *instances;
    struct pd_ecs_entry *entry;
    size_t count = 0;

    if (err) {
        end(list, err, NULL, 0);
        return;
    }
    ecs->n_listed = list->cluster > ecs->n_listed ? list->cluster : ecs->n_listed;
    pd_ecs_run_listed(ecs->run);
    if (list->surveyed) {
        end(list, NULL, NULL, 0);
        return;
    }
    instances = pd_calloc(ecs->book.count + 1, sizeof *instances);
    TAILQ_FOREACH(entry, &ecs->book.entries, entry)
    {
        if (counts(ecs, entry))
            fill(&instances[count++], entry);
    }
    end(list, NULL, instances, count);
    free(instances);
    pd_ecs_poll_soon(ecs);
}

static bool has_not_ended(const struct pd_ecs_entry *entry, void *arg)
{
    (void)arg;
    return !pd_time_is_set(entry->gone) && !pd_ecs_entry_has_ended(entry);
}

/* ---- ListTasks ---- */

static int ask(struct pd_ecs_list *list, struct pd_err *err);

static void take_arns(struct pd_ecs_list *list, const struct pd_node *answer)
{
    struct pd_ecs *ecs = list->ecs;
    struct pd_time now = pd_time_now();
    const struct pd_node *arn;

    for (size_t i = 0; (arn = pd_ecs_item(answer, "taskArns", i)); i++) {
        struct pd_ecs_entry *entry;
        if (arn->kind != PD_NODE_STRING || !arn->string.text[0] ||
            strlen(arn->string.text) >= PD_ECS_ARN_MAX)
            continue;
        entry = pd_ecs_book_add(&ecs->book, arn->string.text, ecs->clusters[list->cluster], now);
        entry->listed = true;
        if (pd_time_is_set(entry->gone) && entry->task.stage < PD_ECS_GOING &&
            pd_time_ms_between(entry->gone, now) >= STOP_UNHEARD_MS)
            entry->gone = (struct pd_time){0};
    }
}

static void on_page(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct pd_ecs_list *list = arg;
    struct pd_err failure;

    if (err) {
        end(list, err, NULL, 0);
        return;
    }
    take_arns(list, answer);
    free(list->next);
    list->next = NULL;
    if (*pd_ecs_text(answer, "nextToken") && ++list->pages < PAGES_MAX)
        list->next = pd_strdup(pd_ecs_text(answer, "nextToken"));
    else
        list->cluster++;
    if (list->cluster >= list->ecs->n_clusters)
        pd_ecs_describe(list->ecs, has_not_ended, NULL, on_described, list);
    else if (ask(list, &failure) < 0)
        end(list, &failure, NULL, 0);
}

static int ask(struct pd_ecs_list *list, struct pd_err *err)
{
    pd_autonode struct pd_node *body = pd_node_map_new();

    pd_node_set_string(body, "cluster", list->ecs->clusters[list->cluster]);
    pd_node_set_string(body, "startedBy", list->ecs->started_by);
    if (list->next)
        pd_node_set_string(body, "nextToken", list->next);
    return pd_ecs_call(list->ecs->client, PD_ECS_LIST_TASKS, body, 0, on_page, list, err);
}

static void on_no_cluster(uv_handle_t *handle)
{
    struct pd_ecs_list *list = handle->data;

    free(handle);
    end(list, NULL, NULL, 0);
}

int pd_ecs_list_begin(struct pd_ecs *ecs, pd_provider_list_cb cb, void *arg, struct pd_err *err)
{
    struct pd_ecs_list *list = PD_NEW(struct pd_ecs_list);
    uv_timer_t *turn;
    int rc;

    *list = (struct pd_ecs_list){.ecs = ecs, .cb = cb, .arg = arg};
    if (ecs->n_clusters == 0) { /* nothing anywhere; told on the loop's next turn */
        turn = PD_NEW(uv_timer_t);
        uv_timer_init(ecs->loop, turn);
        turn->data = list;
        uv_close((uv_handle_t *)turn, on_no_cluster);
        return 0;
    }
    rc = ask(list, err);
    if (rc < 0)
        free(list);
    return rc;
}

int pd_ecs_list_survey(struct pd_ecs *ecs, pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct pd_ecs_list *list = PD_NEW(struct pd_ecs_list);
    int rc;

    *list = (struct pd_ecs_list){.ecs = ecs, .surveyed = cb, .arg = arg};
    rc = ask(list, err);
    if (rc < 0)
        free(list);
    return rc;
}
