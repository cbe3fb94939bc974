/* Questions, and waiting for outcomes that others will tell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/book.h"
#include "api/ledger_redis_state.h"
#include "common/mem.h"

#define ROW_BYTES_MAX (64u * 1024 * 1024)
#define LIST_BYTES_MAX (4u * 1024 * 1024)
#define NUMBER_BYTES 24
#define GET_ANSWER 6 /* of the reply of get: */
#define GET_KEY 7

static const char *text_of(const struct pd_redis_reply *reply, size_t i)
{
    const struct pd_redis_reply *item = pd_redis_reply_string(reply, i);

    return item ? item->text : "";
}

/* ---- asking ---- */

struct asking {
    struct ledger_redis *ledger;
    pd_records_text_cb cb;
    void *arg;
    char id[PD_RECORD_ID_BYTES];
    char key_id[PD_KEY_ID_MAX]; /* whose it must be; "": anybody's */
};

static struct asking *asking_new(struct ledger_redis *ledger, const char *id, const char *key_id,
                                 pd_records_text_cb cb, void *arg)
{
    struct asking *asking = PD_NEW(struct asking);

    asking->ledger = ledger;
    asking->cb = cb;
    asking->arg = arg;
    pd_strcpy(asking->id, sizeof asking->id, id);
    pd_strcpy(asking->key_id, sizeof asking->key_id, key_id ? key_id : "");
    return asking;
}

static void answer(struct asking *asking, struct pd_buf *text, const struct pd_err *err)
{
    struct ledger_redis *ledger = asking->ledger;

    asking->cb(asking->arg, text, err);
    pd_buf_fini(text);
    free(asking);
    pd_ledger_redis_unref(ledger);
}

/* 0: asked; on_reply answers, by `answer`. */
static int ask(struct asking *asking, int rc, const struct pd_err *why, struct pd_err *err)
{
    if (rc == 0) {
        pd_ledger_redis_ref(asking->ledger);
        return 0;
    }
    free(asking);
    return pd_err_set(err, PD_UNAVAILABLE, "Redis is not in reach: %.200s", why->msg);
}

static const char *own_or_null(const struct asking *asking)
{
    return *asking->key_id ? asking->key_id : NULL;
}

/* What Redis keeps no longer, the records here may. */
static void on_recorded(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    answer(arg, text, err);
}

static void ask_records(struct asking *asking,
                        int (*question)(struct pd_records *records, const char *id,
                                        const char *key_id, pd_records_text_cb cb, void *arg,
                                        struct pd_err *err))
{
    struct pd_buf none = {0};
    struct pd_err err;

    if (asking->ledger->closing)
        pd_err_set(&err, PD_UNAVAILABLE, "the service is stopping");
    else if (question(asking->ledger->config.records, asking->id, own_or_null(asking), on_recorded,
                      asking, &err) == 0)
        return;
    answer(asking, &none, &err);
}

static bool is_anothers(const struct asking *asking, const char *key_id)
{
    return *asking->key_id && strcmp(asking->key_id, key_id) != 0;
}

static void on_got(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct asking *asking = arg;
    struct pd_buf text;
    struct pd_err why;
    int rc = 0;

    if (!err && reply->count <= GET_KEY) {
        ask_records(asking, pd_records_get);
        return;
    }
    pd_buf_init(&text, ROW_BYTES_MAX);
    if (err)
        rc = pd_ledger_redis_word(err, reply, &why);
    else if (is_anothers(asking, text_of(reply, GET_KEY)))
        rc = pd_err_set(&why, PD_NOT_FOUND, "there is no such execution");
    else
        rc = pd_ledger_redis_row(reply, 0, asking->id, pd_redis_reply_string(reply, GET_ANSWER),
                                 &text, &why);
    if (rc == 0)
        rc = pd_buf_add(&text, "\n", 1, &why);
    answer(asking, &text, rc < 0 ? &why : NULL);
}

int pd_ledger_redis_get(struct pd_ledger *base, const char *id, const char *key_id,
                        pd_records_text_cb cb, void *arg, struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(id)};
    struct asking *asking = asking_new(ledger, id, key_id, cb, arg);
    struct pd_err why;

    return ask(
        asking,
        pd_redis_eval(ledger->config.redis, &ledger->scripts.get, 0, args, 1, on_got, asking, &why),
        &why, err);
}

/* One or two fields of the hash, by HMGET. */
static int ask_fields(struct ledger_redis *ledger, struct asking *asking, const char *field,
                      const char *second, const char *third, pd_redis_cb cb, struct pd_err *err)
{
    char key[sizeof PD_LEDGER_PREFIX + 2 + PD_RECORD_ID_BYTES];
    const char *command = "HMGET";
    struct pd_redis_arg args[5] = {PD_REDIS_TEXT(command)};
    struct pd_err why;

    snprintf(key, sizeof key, PD_LEDGER_PREFIX "r:%s", asking->id);
    args[1] = PD_REDIS_TEXT(key);
    args[2] = PD_REDIS_TEXT(field);
    args[3] = PD_REDIS_TEXT(second);
    args[4] = PD_REDIS_TEXT(third);
    return ask(asking, pd_redis_command(ledger->config.redis, args, 5, cb, asking, &why), &why,
               err);
}

static int copy_text(const struct pd_redis_reply *from, struct pd_buf *out, struct pd_err *err)
{
    return from && from->len > 0 ? pd_buf_add(out, from->text, from->len, err) : 0;
}

static void on_events(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct asking *asking = arg;
    struct pd_buf text;
    struct pd_err why;
    int rc = 0;

    if (!err && !pd_redis_reply_string(reply, 1)) {
        ask_records(asking, pd_records_events);
        return;
    }
    pd_buf_init(&text, ROW_BYTES_MAX);
    if (err)
        rc = pd_ledger_redis_word(err, reply, &why);
    else if (is_anothers(asking, text_of(reply, 2)) || strcmp(text_of(reply, 1), "2") != 0)
        rc = pd_err_set(&why, PD_NOT_FOUND, "there is no such execution");
    else
        rc = pd_buf_addf(&text, &why, "%s\n", text_of(reply, 2)); /* whose it is comes first */
    if (!err && rc == 0)
        rc = copy_text(pd_redis_reply_string(reply, 0), &text, &why);
    answer(asking, &text, rc < 0 ? &why : NULL);
}

int pd_ledger_redis_events(struct pd_ledger *base, const char *id, const char *key_id,
                           pd_records_text_cb cb, void *arg, struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);

    return ask_fields(ledger, asking_new(ledger, id, key_id, cb, arg), "events", "state", "key",
                      on_events, err);
}

/* PD_NOT_FOUND also where another owns it by now: it is not ours to run. */
static void on_body(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct asking *asking = arg;
    struct pd_buf text;
    struct pd_err why;
    int rc = 0;

    pd_buf_init(&text, ROW_BYTES_MAX);
    if (err)
        rc = pd_ledger_redis_word(err, reply, &why);
    else if (!pd_redis_reply_string(reply, 0) || strcmp(text_of(reply, 1), "2") == 0 ||
             strcmp(text_of(reply, 2), asking->ledger->owner) != 0)
        rc = pd_err_set(&why, PD_NOT_FOUND, "another has it, or it is over");
    else
        rc = copy_text(pd_redis_reply_string(reply, 0), &text, &why);
    answer(asking, &text, rc < 0 ? &why : NULL);
}

int pd_ledger_redis_body(struct pd_ledger *base, const char *id, pd_records_text_cb cb, void *arg,
                         struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);

    return ask_fields(ledger, asking_new(ledger, id, NULL, cb, arg), "body", "state", "owner",
                      on_body, err);
}

/* ---- lists ---- */

static int put_rows(const struct pd_redis_reply *reply, struct pd_buf *out, struct pd_err *err)
{
    int rc = pd_buf_addf(out, err, "{\"items\":[");

    for (size_t at = 2; rc == 0 && at + PD_LEDGER_ROW_ITEMS <= reply->count;
         at += PD_LEDGER_ROW_ITEMS) {
        if (at > 2)
            rc = pd_buf_add(out, ",", 1, err);
        if (rc == 0)
            rc = pd_ledger_redis_row(reply, at + 1, text_of(reply, at), NULL, out, err);
    }
    if (rc == 0)
        rc = pd_buf_add(out, "]", 1, err);
    if (rc == 0 && *text_of(reply, 1))
        rc = pd_buf_addf(out, err, ",\"next\":\"%s.%s\"", text_of(reply, 0), text_of(reply, 1));
    return rc < 0 ? rc : pd_buf_add(out, "}\n", 2, err);
}

static void on_listed(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_buf text;
    struct pd_err why;
    int rc;

    pd_buf_init(&text, LIST_BYTES_MAX);
    rc = err ? pd_ledger_redis_word(err, reply, &why) : put_rows(reply, &text, &why);
    answer(arg, &text, rc < 0 ? &why : NULL);
}

/* "queued" is a state, anything else a cause. */
static const char *state_of(const char *status)
{
    static const char *const names[] = {"queued", "running", "done"};
    static const char *const digits[] = {"0", "1", "2"};

    for (size_t i = 0; i < PD_COUNT(names); i++) {
        if (strcmp(names[i], status) == 0)
            return digits[i];
    }
    return "";
}

int pd_ledger_redis_list(struct pd_ledger *base, const struct pd_records_query *query,
                         pd_records_text_cb cb, void *arg, struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);
    struct asking *asking = asking_new(ledger, "", NULL, cb, arg);
    int64_t to_ms = query->to_wall_ms > 0 ? query->to_wall_ms : INT64_MAX;
    char index[PD_KEY_ID_MAX + 4] = "all";
    char max[NUMBER_BYTES] = "+inf", cursor[NUMBER_BYTES] = "", min[NUMBER_BYTES] = "-inf";
    char limit[NUMBER_BYTES], look[NUMBER_BYTES];
    const char *state = state_of(query->status);
    struct pd_err why;

    if (*query->key_id)
        snprintf(index, sizeof index, "by:%s", query->key_id);
    if (*query->cursor_id) {
        snprintf(cursor, sizeof cursor, "%lld", (long long)query->cursor_ms);
        to_ms = query->cursor_ms < to_ms ? query->cursor_ms : to_ms;
    }
    if (to_ms != INT64_MAX)
        snprintf(max, sizeof max, "%lld", (long long)to_ms);
    if (query->from_wall_ms > 0)
        snprintf(min, sizeof min, "%lld", (long long)query->from_wall_ms);
    snprintf(limit, sizeof limit, "%d", query->limit);
    snprintf(look, sizeof look, "%d", PD_LEDGER_LOOK_MAX);
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(index),
        PD_REDIS_TEXT(max),
        PD_REDIS_TEXT(cursor),
        PD_REDIS_TEXT(query->cursor_id),
        PD_REDIS_TEXT(min),
        PD_REDIS_TEXT(state),
        PD_REDIS_TEXT(*state ? "" : query->status),
        PD_REDIS_TEXT(query->pool),
        PD_REDIS_TEXT(query->language),
        PD_REDIS_TEXT(limit),
        PD_REDIS_TEXT(look),
    };
    return ask(asking,
               pd_redis_eval(ledger->config.redis, &ledger->scripts.list, 0, args, PD_COUNT(args),
                             on_listed, asking, &why),
               &why, err);
}

/* ---- waiting ---- */

/* One of another's that somebody here waits for; it goes with the last who does. */
struct remote {
    char id[PD_RECORD_ID_BYTES];
    struct pd_ring waits;
    bool asking, again;
};

static void remote_tell(struct ledger_redis *ledger, struct remote *remote,
                        const struct pd_buf *text, const struct pd_err *err)
{
    pd_strmap_remove(&ledger->waits, remote->id);
    while (!pd_ring_is_empty(&remote->waits)) {
        struct pd_book_wait *wait =
            PD_CONTAINER_OF(remote->waits.next, struct pd_book_wait, in_entry);
        pd_book_forgo(wait);
        wait->done(wait->arg, text, err, err ? 1 : 0);
    }
    free(remote);
}

static void ask_outcome(struct ledger_redis *ledger, struct remote *remote);

static void on_outcome_reply(void *arg, const struct pd_err *err,
                             const struct pd_redis_reply *reply)
{
    static const struct pd_err refused = {
        .kind = PD_UNAVAILABLE, .msg = "it was refused before it began, or is kept no longer"};
    struct asking *asking = arg;
    struct ledger_redis *ledger = asking->ledger;
    struct remote *remote = pd_strmap_get(&ledger->waits, asking->id);
    const struct pd_redis_reply *result = err ? NULL : pd_redis_reply_string(reply, 0);

    if (remote) {
        remote->asking = false;
        if (!err && !pd_redis_reply_string(reply, 1)) {
            remote_tell(ledger, remote, NULL, &refused);
        } else if (!err && strcmp(text_of(reply, 1), "2") == 0) {
            struct pd_buf text = {.len = result ? result->len : 0,
                                  .data = result ? result->text : NULL};
            remote_tell(ledger, remote, &text, NULL);
        } else if (!err && remote->again) {
            ask_outcome(ledger, remote);
        }
    }
    free(asking);
    pd_ledger_redis_unref(ledger);
}

static void ask_outcome(struct ledger_redis *ledger, struct remote *remote)
{
    struct asking *asking;
    struct pd_err err;

    remote->again = remote->asking;
    if (remote->asking)
        return;
    asking = asking_new(ledger, remote->id, NULL, NULL, NULL);
    remote->asking =
        ask_fields(ledger, asking, "answer", "state", "owner", on_outcome_reply, &err) == 0;
}

bool pd_ledger_redis_await(struct pd_ledger *base, const char *id, struct pd_book_wait *wait)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);
    struct remote *remote = pd_strmap_get(&ledger->waits, id);

    if (ledger->closing || !ledger->events)
        return false;
    if (!remote && ledger->waits.count >= PD_LEDGER_WAITS_MAX)
        return false;
    if (!remote) {
        remote = PD_NEW(struct remote);
        pd_strcpy(remote->id, sizeof remote->id, id);
        pd_ring_init(&remote->waits);
        pd_strmap_add(&ledger->waits, remote->id, remote);
    }
    pd_ring_append(&remote->waits, &wait->in_entry);
    ask_outcome(ledger, remote); /* it may be done by now */
    return true;
}

void pd_ledger_redis_ended(struct ledger_redis *ledger, const char *id)
{
    struct remote *remote = pd_strmap_get(&ledger->waits, id);

    if (remote)
        ask_outcome(ledger, remote);
}

void pd_ledger_redis_poll(struct ledger_redis *ledger)
{
    struct remote **all = pd_calloc(ledger->waits.count + 1, sizeof(struct remote *));
    size_t n = 0;

    for (size_t i = 0; i < ledger->waits.capacity; i++) {
        if (ledger->waits.slots[i].key && ledger->waits.slots[i].value)
            all[n++] = ledger->waits.slots[i].value;
    }
    for (size_t i = 0; i < n; i++) {
        if (!pd_ring_is_empty(&all[i]->waits)) {
            ask_outcome(ledger, all[i]);
        } else if (!all[i]->asking) { /* all who waited have gone */
            pd_strmap_remove(&ledger->waits, all[i]->id);
            free(all[i]);
        }
    }
    free(all);
}

void pd_ledger_redis_waits_fini(struct ledger_redis *ledger)
{
    const struct pd_err err = {.kind = PD_UNAVAILABLE, .msg = "the service is stopping"};
    struct remote *remote;

    while ((remote = pd_strmap_any(&ledger->waits)))
        remote_tell(ledger, remote, NULL, &err);
    pd_strmap_fini(&ledger->waits);
}
