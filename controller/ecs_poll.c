/* What tasks do, by asking: ECS has no stream of events that a program without a
 * queue of its own could follow. What moves is asked for every second, a hundred
 * tasks a question; where more than a few hundred move at once the pace is such that
 * half of the published rate stays free. What stands still is asked for now and then. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/ecs_state.h"

#define READS_PER_S 8 /* for DescribeTasks, of the 20 that there are */

struct sweep {
    struct pd_ecs *ecs;
    int pending; /* questions; and one for the one who asks them */
    struct pd_err err;
    pd_ecs_described_cb cb;
    void *arg;
};

struct question {
    struct sweep *sweep;
    char cluster[PD_ECS_CLUSTER_MAX];
    char (*arns)[PD_ECS_ARN_MAX];
    size_t count;
};

/* ---- news ---- */

static void tell_news(struct pd_ecs *ecs, struct pd_ecs_entry *entry, enum pd_ecs_news news)
{
    struct pd_provider_event event = {
        .type = PD_PROVIDER_CHANGED,
        .dead = news == PD_ECS_HAS_ENDED,
        .leaving = news == PD_ECS_IS_LEAVING,
    };

    if (news == PD_ECS_NOTHING_NEW)
        return;
    pd_log(PD_LOG_DEBUG, "ecs", "task changed", "id", entry->id, "arn", entry->task.arn, "status",
           entry->task.status, NULL);
    pd_ecs_wires_look(ecs, entry->task.arn);
    if (!entry->id[0] || pd_time_is_set(entry->gone))
        return;
    pd_strcpy(event.pool, sizeof event.pool, entry->task.pool);
    pd_strcpy(event.id, sizeof event.id, entry->id);
    pd_strcpy(event.reason, sizeof event.reason, entry->task.reason);
    pd_ecs_emit(ecs, &event);
}

static void take_answer(struct pd_ecs *ecs, const struct pd_node *answer)
{
    struct pd_time now = pd_time_now();
    const struct pd_node *node;
    struct pd_ecs_entry *entry;
    struct pd_ecs_task task;

    for (size_t i = 0; (node = pd_ecs_item(answer, "tasks", i)); i++) {
        if (pd_ecs_task_read(node, &task) && (entry = pd_ecs_book_find(&ecs->book, task.arn)))
            tell_news(ecs, entry, pd_ecs_entry_described(entry, &task, now));
    }
    for (size_t i = 0; (node = pd_ecs_item(answer, "failures", i)); i++) {
        entry = pd_ecs_book_find(&ecs->book, pd_ecs_text(node, "arn"));
        if (entry)
            tell_news(ecs, entry, pd_ecs_entry_missing(entry, now));
    }
}

/* ---- questions ---- */

static void sweep_done(struct sweep *sweep)
{
    if (--sweep->pending > 0)
        return;
    sweep->cb(sweep->arg, sweep->err.kind ? &sweep->err : NULL);
    free(sweep);
}

static void question_end(struct question *question, const struct pd_err *err)
{
    struct sweep *sweep = question->sweep;
    struct pd_ecs_entry *entry;

    for (size_t i = 0; i < question->count; i++) {
        entry = pd_ecs_book_find(&sweep->ecs->book, question->arns[i]);
        if (entry)
            entry->asked = false;
    }
    if (err && sweep->err.kind == 0)
        sweep->err = *err;
    free(question->arns);
    free(question);
    sweep_done(sweep);
}

static void on_described(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct question *question = arg;

    if (!err)
        take_answer(question->sweep->ecs, answer);
    question_end(question, err);
}

static void send_question(struct question *question)
{
    pd_autonode struct pd_node *body = pd_node_map_new();
    struct pd_node *tasks = pd_node_set(body, "tasks", pd_node_list_new());
    struct pd_err err;

    pd_node_set_string(body, "cluster", question->cluster);
    for (size_t i = 0; i < question->count; i++)
        pd_node_add(tasks, pd_node_string_new(question->arns[i]));
    pd_node_add(pd_node_set(body, "include", pd_node_list_new()), pd_node_string_new("TAGS"));
    question->sweep->pending++;
    if (pd_ecs_call(question->sweep->ecs->client, PD_ECS_DESCRIBE_TASKS, body, 0, on_described,
                    question, &err) < 0)
        question_end(question, &err);
}

void pd_ecs_describe(struct pd_ecs *ecs, bool (*want)(const struct pd_ecs_entry *entry, void *arg),
                     void *want_arg, pd_ecs_described_cb cb, void *arg)
{
    struct sweep *sweep = PD_NEW(struct sweep);
    struct pd_ecs_entry *entry;

    *sweep = (struct sweep){.ecs = ecs, .pending = 1, .cb = cb, .arg = arg};
    for (size_t i = 0; i < ecs->n_clusters; i++) {
        struct question *question = NULL;
        TAILQ_FOREACH(entry, &ecs->book.entries, entry)
        {
            if (strcmp(entry->cluster, ecs->clusters[i]) != 0 || !want(entry, want_arg))
                continue;
            if (!question) {
                question = PD_NEW(struct question);
                question->sweep = sweep;
                question->arns = pd_calloc(PD_ECS_DESCRIBE_MAX, PD_ECS_ARN_MAX);
                pd_strcpy(question->cluster, sizeof question->cluster, entry->cluster);
            }
            entry->asked = true;
            pd_strcpy(question->arns[question->count++], PD_ECS_ARN_MAX, entry->task.arn);
            if (question->count == PD_ECS_DESCRIBE_MAX)
                send_question(PD_STEAL(question));
        }
        if (question)
            send_question(question);
    }
    sweep_done(sweep);
}

/* ---- the timer ---- */

static int64_t fast_ms(const struct pd_ecs *ecs)
{
    const struct pd_ecs_entry *entry;
    int64_t moving = 0, pace;

    TAILQ_FOREACH(entry, &ecs->book.entries, entry)
    moving += pd_ecs_entry_moves(entry);
    pace = moving * 1000 / (PD_ECS_DESCRIBE_MAX * READS_PER_S);
    pace = pace > PD_ECS_POLL_FAST_MS ? pace : PD_ECS_POLL_FAST_MS;
    return (int64_t)((double)pace / ecs->factor);
}

struct due {
    struct pd_time now;
    int64_t fast_ms, slow_ms;
};

static bool is_due(const struct pd_ecs_entry *entry, void *arg)
{
    const struct due *due = arg;
    bool moves = pd_ecs_entry_moves(entry);

    if (entry->asked || pd_time_is_set(entry->gone) || pd_ecs_entry_has_ended(entry))
        return false;
    return !pd_time_is_set(entry->described) || pd_time_ms_between(entry->described, due->now) >=
                                                    (moves ? due->fast_ms * 9 / 10 : due->slow_ms);
}

static void rearm(struct pd_ecs *ecs)
{
    if (!uv_is_closing((uv_handle_t *)&ecs->poll) && ecs->book.count > 0)
        uv_timer_start(&ecs->poll, pd_ecs_on_poll, (uint64_t)fast_ms(ecs), 0);
}

static void on_polled(void *arg, const struct pd_err *err)
{
    struct pd_ecs *ecs = arg;

    if (err && err->kind != PD_CANCELED)
        pd_log(PD_LOG_DEBUG, "ecs", "tasks not described, will try again", "err", err->msg, NULL);
    if (!ecs->closing)
        rearm(ecs);
}

void pd_ecs_on_poll(uv_timer_t *timer)
{
    struct pd_ecs *ecs = timer->data;
    struct due due = {pd_time_now(), fast_ms(ecs), (int64_t)(PD_ECS_POLL_SLOW_MS / ecs->factor)};

    pd_ecs_book_prune(&ecs->book, due.now);
    pd_ecs_describe(ecs, is_due, &due, on_polled, ecs);
}

void pd_ecs_poll_soon(struct pd_ecs *ecs)
{
    if (!ecs->closing && !uv_is_active((uv_handle_t *)&ecs->poll))
        rearm(ecs);
}
