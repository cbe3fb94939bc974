#include "api/rates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/rate_script.h"
#include "api/trace.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"

#define NUMBER_BYTES 24
#define REPLICA_DIGITS 16

/* A key that was used: kept as long as the keys are. */
struct entry {
    struct pd_lease lease;
    struct pd_ring waiters;
    int n_waiters;
    char key_id[PD_KEY_ID_MAX];
};

struct pd_rates {
    const struct pd_keys *keys;
    struct pd_redis *redis;
    struct pd_redis_script script;
    char replica[REPLICA_DIGITS + 1];
    struct pd_strmap entries; /* of struct entry, by the key's id */
    uv_timer_t tick;
    uv_timer_t late; /* the wait of those who wait is over */
    uint64_t questions;
    bool is_away; /* and the log has said so */
    size_t refs;  /* answers to come, and open timers */
    bool closing;
};

/* ---- life ---- */

static void unref(struct pd_rates *rates)
{
    struct entry *entry;

    if (--rates->refs > 0)
        return;
    while ((entry = pd_strmap_any(&rates->entries))) {
        pd_strmap_remove(&rates->entries, entry->key_id);
        free(entry);
    }
    pd_strmap_fini(&rates->entries);
    free(rates);
}

static void on_timer_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

static struct entry *entry_of(struct pd_rates *rates, const struct pd_key *key)
{
    const struct pd_key_record *record = &key->record;
    struct entry *entry = pd_strmap_get(&rates->entries, record->id);

    if (!entry) {
        entry = PD_NEW(struct entry);
        pd_strcpy(entry->key_id, sizeof entry->key_id, record->id);
        pd_lease_init(&entry->lease, record->rate_runs, record->rate_seconds, !rates->redis);
        pd_ring_init(&entry->waiters);
        pd_strmap_add(&rates->entries, entry->key_id, entry);
    }
    pd_lease_set(&entry->lease, record->rate_runs, record->rate_seconds,
                 pd_keys_replicas(rates->keys));
    return entry;
}

/* NULL: it has no rate. */
static struct entry *find(struct pd_rates *rates, const char *key_id)
{
    const struct pd_key *key = key_id ? pd_keys_find(rates->keys, key_id) : NULL;

    return key && key->record.rate_runs > 0 ? entry_of(rates, key) : NULL;
}

/* ---- who waits ---- */

static void take_out(struct entry *entry, struct pd_rates_waiter *waiter)
{
    pd_ring_remove(&waiter->in_lease);
    entry->n_waiters--;
}

/* Those who wait again stand behind, and are not told twice. */
static void wake(struct entry *entry)
{
    for (int n = entry->n_waiters; n > 0 && !pd_ring_is_empty(&entry->waiters); n--) {
        struct pd_rates_waiter *waiter =
            PD_CONTAINER_OF(entry->waiters.next, struct pd_rates_waiter, in_lease);
        take_out(entry, waiter);
        waiter->ready(waiter);
    }
}

/* ---- asking Redis ---- */

struct asking {
    struct pd_rates *rates;
    struct entry *entry;
    struct pd_lease_question question;
};

static void note_away(struct pd_rates *rates, const char *why)
{
    if (why && !rates->is_away)
        pd_log(PD_LOG_WARN, "rates",
               "keys' rates are divided among replicas, since Redis does not answer", "why", why,
               NULL);
    else if (!why && rates->is_away)
        pd_log(PD_LOG_INFO, "rates", "keys' rates are one for all replicas again", NULL);
    rates->is_away = why != NULL;
}

static void ask_if_needed(struct pd_rates *rates, struct entry *entry);

static void on_answer(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct asking *asking = arg;
    struct pd_rates *rates = asking->rates;
    struct entry *entry = asking->entry;
    struct pd_lease_answer answer;

    if (!err && pd_lease_answer_parse(reply, &asking->question, &answer)) {
        pd_lease_answered(&entry->lease, &asking->question, &answer, pd_time_now());
        note_away(rates, NULL);
    } else {
        pd_lease_failed(&entry->lease, &asking->question);
        note_away(rates, err ? err->msg : "its answer is none");
    }
    free(asking);
    if (!rates->closing) {
        wake(entry);
        ask_if_needed(rates, entry);
    }
    unref(rates);
}

static void number(char out[static NUMBER_BYTES], struct pd_redis_arg *arg, long long value)
{
    arg->len = (size_t)snprintf(out, NUMBER_BYTES, "%lld", value);
    arg->data = out;
}

static void ask(struct pd_rates *rates, struct entry *entry,
                const struct pd_lease_question *question)
{
    const struct pd_lease *lease = &entry->lease;
    const long long values[] = {lease->limit,      lease->seconds,  lease->replicas,
                                question->waiting, question->block, question->held,
                                question->back,    question->owed,  PD_LEASE_LIFE_MS};
    char texts[PD_COUNT(values)][NUMBER_BYTES];
    struct pd_redis_arg args[PD_RATE_SCRIPT_ARGS] = {PD_REDIS_TEXT(entry->key_id),
                                                     PD_REDIS_TEXT(rates->replica)};
    struct asking *asking = PD_NEW(struct asking);
    struct pd_err err;

    for (size_t i = 0; i < PD_COUNT(values); i++)
        number(texts[i], &args[2 + i], values[i]);
    *asking = (struct asking){rates, entry, *question};
    if (pd_redis_eval(rates->redis, &rates->script, 0, args, PD_COUNT(args), on_answer, asking,
                      &err) < 0) {
        free(asking);
        pd_lease_failed(&entry->lease, question);
        note_away(rates, err.msg);
        return;
    }
    rates->questions++;
    rates->refs++;
}

static void ask_if_needed(struct pd_rates *rates, struct entry *entry)
{
    struct pd_lease_question question;

    if (rates->redis && pd_lease_ask(&entry->lease, entry->n_waiters, pd_time_now(), &question))
        ask(rates, entry, &question);
}

static void on_tick(uv_timer_t *timer)
{
    struct pd_rates *rates = timer->data;
    struct pd_lease_question question;

    for (size_t i = 0; i < rates->entries.capacity; i++) {
        struct pd_strmap_slot *slot = &rates->entries.slots[i];
        struct entry *entry = slot->key ? slot->value : NULL;
        if (entry && pd_lease_tick(&entry->lease, pd_time_now(), &question))
            ask(rates, entry, &question);
    }
}

/* Whoever has waited so long is not kept any more: their own part decides, until Redis
 * answers. */
static void on_late(uv_timer_t *timer)
{
    struct pd_rates *rates = timer->data;

    for (size_t i = 0; i < rates->entries.capacity; i++) {
        struct pd_strmap_slot *slot = &rates->entries.slots[i];
        struct entry *entry = slot->key ? slot->value : NULL;
        if (!entry || entry->n_waiters == 0)
            continue;
        if (pd_time_ms_between(entry->lease.asked, pd_time_now()) >= PD_RATES_WAIT_MS) {
            note_away(rates, "it is slow");
            entry->lease.alone = true;
            wake(entry);
        } else {
            uv_timer_start(timer, on_late, PD_RATES_WAIT_MS / 10, 0);
        }
    }
}

/* ---- taking ---- */

enum pd_lease_verdict pd_rates_take(struct pd_rates *rates, const char *key_id,
                                    struct pd_rate *ret_rate)
{
    struct entry *entry = find(rates, key_id);
    struct pd_time now = pd_time_now();
    enum pd_lease_verdict verdict;

    *ret_rate = (struct pd_rate){.limit = 0};
    if (!entry)
        return PD_LEASE_YES;
    if (rates->redis && !entry->lease.alone && !pd_redis_is_up(rates->redis)) {
        entry->lease.alone = true;
        note_away(rates, "it is not in reach");
    }
    verdict = pd_lease_take(&entry->lease, now);
    if (verdict == PD_LEASE_ASK)
        return verdict;
    pd_lease_tell(&entry->lease, now, ret_rate);
    ask_if_needed(rates, entry);
    return verdict;
}

void pd_rates_take_more(struct pd_rates *rates, const char *key_id, int count)
{
    struct entry *entry = find(rates, key_id);

    if (entry && count > 0)
        pd_lease_take_more(&entry->lease, count, pd_time_now());
}

/* All that comes in one turn of the loop is asked for by one question. */
void pd_rates_wait(struct pd_rates *rates, const char *key_id, struct pd_rates_waiter *waiter)
{
    struct entry *entry = find(rates, key_id);

    pd_ring_append(&entry->waiters, &waiter->in_lease);
    waiter->entry = entry;
    entry->n_waiters++;
    ask_if_needed(rates, entry);
    if (!uv_is_active((uv_handle_t *)&rates->late))
        uv_timer_start(&rates->late, on_late, PD_RATES_WAIT_MS, 0);
}

void pd_rates_forget(struct pd_rates_waiter *waiter)
{
    if (waiter->in_lease.next)
        take_out(waiter->entry, waiter);
}

/* ---- opening, closing ---- */

struct pd_rates *pd_rates_open(uv_loop_t *loop, const struct pd_keys *keys, struct pd_redis *redis)
{
    struct pd_rates *rates = PD_NEW(struct pd_rates);

    rates->keys = keys;
    rates->redis = redis;
    rates->script = pd_redis_script_of(pd_rate_lua);
    pd_random_hex(rates->replica, REPLICA_DIGITS);
    uv_timer_init(loop, &rates->tick);
    uv_timer_init(loop, &rates->late);
    rates->tick.data = rates;
    rates->late.data = rates;
    rates->refs = 2;
    if (redis)
        uv_timer_start(&rates->tick, on_tick, PD_LEASE_TICK_MS, PD_LEASE_TICK_MS);
    return rates;
}

/* What is held goes back at once. */
void pd_rates_close(struct pd_rates *rates)
{
    if (!rates)
        return;
    rates->closing = true;
    for (size_t i = 0; rates->redis && i < rates->entries.capacity; i++) {
        struct pd_strmap_slot *slot = &rates->entries.slots[i];
        struct entry *entry = slot->key ? slot->value : NULL;
        struct pd_lease_question question;
        if (!entry)
            continue;
        entry->lease.used = 0;
        if (pd_lease_tick(&entry->lease, pd_time_now(), &question))
            ask(rates, entry, &question);
    }
    uv_close((uv_handle_t *)&rates->tick, on_timer_closed);
    uv_close((uv_handle_t *)&rates->late, on_timer_closed);
}

void pd_rates_collect(const struct pd_rates *rates, struct pd_metrics *metrics)
{
    if (!rates->redis)
        return;
    pd_metrics_set(metrics, PD_M_RATE_QUESTIONS, NULL, (double)rates->questions);
    pd_metrics_set(metrics, PD_M_RATES_SHARED, NULL, !rates->is_away);
}
