#include "tests/lib/ledger_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ledger_records.h"
#include "common/mem.h"
#include "tests/lib/loop_until.h"

#define WAIT_MS 60000
#define HOUR_MS (3600 * 1000)
#define SIZE_BYTES (64 * 1024 * 1024)

static void insist(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "ledger rig: %s\n", what);
    abort();
}

/* ---- the book ---- */

static void on_taken(void *arg, const struct pd_unfinished *item)
{
    struct pd_ledger_rig *rig = arg;

    if (rig->n_taken < PD_RIG_TAKEN_MAX)
        rig->taken[rig->n_taken] = *item;
    rig->n_taken++;
}

static bool has(void *arg, const char *id)
{
    struct pd_ledger_rig *rig = arg;

    for (size_t i = 0; i < rig->n_taken && i < PD_RIG_TAKEN_MAX; i++)
        if (strcmp(rig->taken[i].id, id) == 0)
            return true;
    for (size_t i = 0; i < rig->n_accepted; i++)
        if (strcmp(rig->accepted[i], id) == 0)
            return true;
    return false;
}

static void on_canceled(void *arg, const char *id)
{
    struct pd_ledger_rig *rig = arg;

    pd_strcpy(rig->canceled, sizeof rig->canceled, id);
    rig->n_canceled++;
}

static void on_disowned(void *arg)
{
    ((struct pd_ledger_rig *)arg)->n_disowned++;
}

static size_t room(void *arg)
{
    return ((struct pd_ledger_rig *)arg)->room;
}

static const struct pd_ledger_events book = {
    .taken = on_taken, .has = has, .canceled = on_canceled, .disowned = on_disowned, .room = room};

/* ---- life ---- */

static void open_records(struct pd_ledger_rig *rig)
{
    static const struct pd_db_schema *const schemas[] = {&pd_records_schema, NULL};
    pd_autofree char *path = pd_asprintf("%s/records.db", rig->dir);
    const struct pd_db_config db = {.loop = rig->loop, .path = path, .schemas = schemas};
    struct pd_err err;

    insist(pd_db_open(&db, &rig->db, &err) == 0, "the database cannot be opened");
    rig->records = pd_records_new(&(struct pd_records_config){.db = rig->db});
}

static void open_redis(struct pd_ledger_rig *rig, const char *text)
{
    struct pd_redis_url url;
    struct pd_redis_config config = {.loop = rig->loop, .url = &url};

    insist(pd_redis_url_parse(text, &url, NULL) == 0, "this is no URL of a Redis");
    rig->redis = pd_redis_open(&config);
    pd_redis_url_fini(&url);
}

void pd_ledger_rig_open(struct pd_ledger_rig *rig, const struct pd_ledger_rig_config *config)
{
    struct pd_err err;

    *rig = (struct pd_ledger_rig){.loop = config->loop};
    snprintf(rig->dir, sizeof rig->dir, "%.40s/pd-ledger-XXXXXX", config->folder);
    insist(mkdtemp(rig->dir), "no folder can be made");
    open_records(rig);
    rig->store = pd_store_new(rig->loop, NULL);
    if (config->url) {
        const struct pd_ledger_redis_config own = {
            .loop = rig->loop,
            .redis = (open_redis(rig, config->url), rig->redis),
            .records = rig->records,
            .store = rig->store,
            .instance = config->instance,
            .durability = config->durability,
            .age_ms = config->age_ms ? config->age_ms : HOUR_MS,
            .size_bytes = config->size_bytes ? config->size_bytes : SIZE_BYTES,
        };
        rig->ledger = pd_ledger_redis_new(&own);
    } else {
        rig->ledger = pd_ledger_records_new(rig->records);
    }
    insist(rig->ledger->ops->start(rig->ledger, &book, rig, &err) == 0, "it does not start");
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void wait_closed(struct pd_ledger_rig *rig)
{
    insist(pd_loop_until(rig->loop, &rig->closed, WAIT_MS), "it does not close");
    rig->closed = false;
}

void pd_ledger_rig_close(struct pd_ledger_rig *rig)
{
    pd_autofree char *command = pd_asprintf("rm -rf %s", rig->dir);

    rig->closed = false;
    rig->ledger->ops->stop(rig->ledger);
    rig->ledger->ops->close(rig->ledger, on_closed, &rig->closed);
    wait_closed(rig);
    if (rig->redis) {
        pd_redis_close(rig->redis, on_closed, &rig->closed);
        wait_closed(rig);
    }
    pd_store_close(rig->store, on_closed, &rig->closed);
    wait_closed(rig);
    pd_db_close(rig->db, on_closed, &rig->closed);
    wait_closed(rig);
    pd_records_free(rig->records);
    insist(system(command) == 0, "its folder cannot be removed");
}

/* ---- asking and waiting ---- */

void pd_ledger_answer_fini(struct pd_ledger_answer *answer)
{
    free(answer->text);
    *answer = (struct pd_ledger_answer){.done = false};
}

static void on_done(void *arg, const struct pd_err *err)
{
    struct pd_ledger_answer *answer = arg;

    insist(!answer->done, "it has called back twice");
    answer->done = true;
    answer->kind = err ? err->kind : 0;
    pd_strcpy(answer->why, sizeof answer->why, err ? err->msg : "");
}

static void on_text(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct pd_ledger_answer *answer = arg;

    if (!err)
        answer->text = pd_strdup(text && text->len > 0 ? text->data : "");
    on_done(arg, err);
}

static void on_accepted(void *arg, struct pd_accepted *results, size_t count,
                        const struct pd_err *err)
{
    struct pd_ledger_answer *answer = arg;

    if (!err && count > 0) {
        answer->accepted = results[0];
        answer->accepted.answer = (struct pd_buf){0};
        answer->text = pd_strdup(results[0].answer.len > 0 ? results[0].answer.data : "");
    }
    on_done(arg, err);
}

static void on_pruned(void *arg, int64_t removed, const struct pd_err *err)
{
    (void)removed;
    on_done(arg, err);
}

/* rc: of the call that asked; err: what it filled where rc is negative. */
static int wait_for(struct pd_ledger_rig *rig, struct pd_ledger_answer *answer, int rc,
                    const struct pd_err *err)
{
    if (rc < 0) {
        insist(!answer->done, "it was refused and called back");
        on_done(answer, err);
    } else {
        insist(pd_loop_until(rig->loop, &answer->done, WAIT_MS), "no answer within a minute");
    }
    return answer->kind;
}

int pd_ledger_rig_accept(struct pd_ledger_rig *rig, const struct pd_accept *item,
                         struct pd_ledger_answer *answer)
{
    struct pd_err err;
    int rc;

    pd_ledger_answer_fini(answer);
    rc = wait_for(rig, answer,
                  rig->ledger->ops->accept(rig->ledger, item, 1, on_accepted, answer, &err), &err);
    if (rc == 0 && answer->accepted.is_new && rig->n_accepted < PD_RIG_TAKEN_MAX)
        pd_strcpy(rig->accepted[rig->n_accepted++], PD_RECORD_ID_BYTES, item->id);
    return rc;
}

int pd_ledger_rig_begin(struct pd_ledger_rig *rig, const char *id)
{
    struct pd_ledger_answer answer = {.done = false};
    struct pd_err err;

    return wait_for(rig, &answer, rig->ledger->ops->begin(rig->ledger, id, on_done, &answer, &err),
                    &err);
}

int pd_ledger_rig_finish(struct pd_ledger_rig *rig, const struct pd_record *record)
{
    struct pd_ledger_answer answer = {.done = false};

    rig->ledger->ops->finish(rig->ledger, record, on_done, &answer);
    return wait_for(rig, &answer, 0, NULL);
}

int pd_ledger_rig_cancel(struct pd_ledger_rig *rig, const char *id, const char *key_id)
{
    struct pd_ledger_answer answer = {.done = false};
    struct pd_err err;

    return wait_for(rig, &answer,
                    rig->ledger->ops->cancel(rig->ledger, id, key_id, on_done, &answer, &err),
                    &err);
}

int pd_ledger_rig_forget(struct pd_ledger_rig *rig, const char *id)
{
    struct pd_ledger_answer answer = {.done = false};
    struct pd_err err;

    return wait_for(rig, &answer, rig->ledger->ops->forget(rig->ledger, id, on_done, &answer, &err),
                    &err);
}

int pd_ledger_rig_get(struct pd_ledger_rig *rig, const char *id, const char *key_id,
                      struct pd_ledger_answer *answer)
{
    struct pd_err err;

    pd_ledger_answer_fini(answer);
    return wait_for(rig, answer,
                    rig->ledger->ops->get(rig->ledger, id, key_id, on_text, answer, &err), &err);
}

int pd_ledger_rig_body(struct pd_ledger_rig *rig, const char *id, struct pd_ledger_answer *answer)
{
    struct pd_err err;

    pd_ledger_answer_fini(answer);
    return wait_for(rig, answer, rig->ledger->ops->body(rig->ledger, id, on_text, answer, &err),
                    &err);
}

int pd_ledger_rig_events(struct pd_ledger_rig *rig, const char *id, const char *key_id,
                         struct pd_ledger_answer *answer)
{
    struct pd_err err;

    pd_ledger_answer_fini(answer);
    return wait_for(rig, answer,
                    rig->ledger->ops->events(rig->ledger, id, key_id, on_text, answer, &err), &err);
}

int pd_ledger_rig_list(struct pd_ledger_rig *rig, const struct pd_records_query *query,
                       struct pd_ledger_answer *answer)
{
    struct pd_err err;

    pd_ledger_answer_fini(answer);
    return wait_for(rig, answer, rig->ledger->ops->list(rig->ledger, query, on_text, answer, &err),
                    &err);
}

int pd_ledger_rig_prune(struct pd_ledger_rig *rig)
{
    struct pd_ledger_answer answer = {.done = false};
    struct pd_err err;

    return wait_for(rig, &answer, rig->ledger->ops->prune(rig->ledger, on_pruned, &answer, &err),
                    &err);
}

void pd_ledger_rig_accept_first(struct pd_ledger_rig *rig, const char *id)
{
    const struct pd_accept item = {.id = id,
                                   .key_id = "me",
                                   .pool = "default",
                                   .language = "python",
                                   .kind = PD_RECORD_ASYNC,
                                   .code = "1",
                                   .code_len = 1,
                                   .body = "{}",
                                   .body_len = 2};
    struct pd_ledger_answer answer = {.done = false};
    uint64_t since = uv_hrtime();

    while (pd_ledger_rig_accept(rig, &item, &answer) == PD_UNAVAILABLE) {
        insist(uv_hrtime() - since < (uint64_t)WAIT_MS * 1000000, answer.why);
        pd_loop_for(rig->loop, 10);
    }
    insist(answer.kind == 0, answer.why);
    pd_ledger_answer_fini(&answer);
}
