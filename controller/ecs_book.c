#include "controller/ecs_book.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

void pd_ecs_book_init(struct pd_ecs_book *book)
{
    *book = (struct pd_ecs_book){.count = 0};
    TAILQ_INIT(&book->entries);
}

static void forget(struct pd_ecs_book *book, struct pd_ecs_entry *entry)
{
    TAILQ_REMOVE(&book->entries, entry, entry);
    pd_strmap_remove(&book->by_arn, entry->task.arn);
    book->count--;
    free(entry);
}

void pd_ecs_book_fini(struct pd_ecs_book *book)
{
    struct pd_ecs_entry *entry;

    while ((entry = TAILQ_FIRST(&book->entries)))
        forget(book, entry);
    pd_strmap_fini(&book->by_arn);
}

struct pd_ecs_entry *pd_ecs_book_find(const struct pd_ecs_book *book, const char *arn)
{
    return pd_strmap_get(&book->by_arn, arn);
}

struct pd_ecs_entry *pd_ecs_book_add(struct pd_ecs_book *book, const char *arn, const char *cluster,
                                     struct pd_time now)
{
    struct pd_ecs_entry *entry = pd_ecs_book_find(book, arn);

    if (entry)
        return entry;
    entry = PD_NEW(struct pd_ecs_entry);
    pd_strcpy(entry->task.arn, sizeof entry->task.arn, arn);
    pd_strcpy(entry->cluster, sizeof entry->cluster, cluster);
    entry->known = now;
    TAILQ_INSERT_TAIL(&book->entries, entry, entry);
    pd_strmap_add(&book->by_arn, entry->task.arn, entry);
    book->count++;
    return entry;
}

bool pd_ecs_entry_has_ended(const struct pd_ecs_entry *entry)
{
    return entry->task.stage >= PD_ECS_GOING;
}

/* What was asked to stop, and what has stopped, is remembered for as long as ECS
 * may still speak of it. */
void pd_ecs_book_prune(struct pd_ecs_book *book, struct pd_time now)
{
    struct pd_ecs_entry *entry, *next;

    for (entry = TAILQ_FIRST(&book->entries); entry; entry = next) {
        next = TAILQ_NEXT(entry, entry);
        if (!entry->asked && pd_time_is_set(entry->gone) &&
            pd_time_ms_between(entry->gone, now) >= PD_ECS_TOMBSTONE_MS)
            forget(book, entry);
    }
}

bool pd_ecs_entry_moves(const struct pd_ecs_entry *entry)
{
    if (pd_time_is_set(entry->gone) || pd_ecs_entry_has_ended(entry))
        return false;
    return entry->task.stage != PD_ECS_RUNNING || !entry->task.address[0] ||
           pd_time_is_set(entry->missing);
}

static enum pd_ecs_news news_of(enum pd_ecs_stage before, const struct pd_ecs_task *task,
                                bool had_address)
{
    if (task->stage >= PD_ECS_GOING)
        return before >= PD_ECS_GOING ? PD_ECS_NOTHING_NEW : PD_ECS_HAS_ENDED;
    if (task->stage == PD_ECS_LEAVING && before != PD_ECS_LEAVING)
        return PD_ECS_IS_LEAVING;
    if (task->stage == PD_ECS_RUNNING && task->address[0] &&
        (before != PD_ECS_RUNNING || !had_address))
        return PD_ECS_IS_READY;
    return PD_ECS_NOTHING_NEW;
}

/* An answer without tags says nothing about them. */
static void keep_tags(struct pd_ecs_entry *entry, const struct pd_ecs_task *task)
{
    struct pd_ecs_task kept = entry->task;

    entry->task = *task;
    memcpy(entry->task.instance, kept.instance, sizeof kept.instance);
    memcpy(entry->task.pool, kept.pool, sizeof kept.pool);
    memcpy(entry->task.template_hash, kept.template_hash, sizeof kept.template_hash);
    memcpy(entry->task.batch, kept.batch, sizeof kept.batch);
}

enum pd_ecs_news pd_ecs_entry_described(struct pd_ecs_entry *entry, const struct pd_ecs_task *task,
                                        struct pd_time now)
{
    enum pd_ecs_stage before = entry->task.stage;
    bool had_address = entry->task.address[0] != '\0';

    entry->described = now;
    entry->missing = (struct pd_time){0};
    if (task->stage < before)
        return PD_ECS_NOTHING_NEW; /* an answer from a place that has not heard yet */
    if (task->pool[0])
        entry->task = *task;
    else
        keep_tags(entry, task);
    return news_of(before, task, had_address);
}

enum pd_ecs_news pd_ecs_entry_missing(struct pd_ecs_entry *entry, struct pd_time now)
{
    struct pd_ecs_task task = entry->task;
    bool seen = pd_time_is_set(entry->described);

    if (!pd_time_is_set(entry->missing))
        entry->missing = now;
    if (pd_ecs_entry_has_ended(entry) ||
        (seen ? pd_time_ms_between(entry->missing, now) < PD_ECS_MISSING_MS
              : pd_time_ms_between(entry->known, now) < PD_ECS_UNSEEN_MS))
        return PD_ECS_NOTHING_NEW;
    task.stage = PD_ECS_STOPPED;
    pd_strcpy(task.reason, sizeof task.reason, "ECS does not know it any more");
    return pd_ecs_entry_described(entry, &task, now);
}

void pd_ecs_entry_name(struct pd_ecs_entry *entry)
{
    const char *slash = strrchr(entry->task.arn, '/');

    snprintf(entry->id, sizeof entry->id, "%.63s-%.12s", entry->task.pool,
             slash ? slash + 1 : "task");
}
