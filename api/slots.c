/* Theory of operation.
 *
 * What Redis has of us is never less than what runs here: a question says how many may be
 * running until its answer comes (those that run, and the places there are), and a smaller
 * answer is in force here before the next question gives the difference back. */
#include "api/slots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/slot_script.h"
#include "api/trace.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"

#define NUMBER_BYTES 24
#define REPLICA_DIGITS 16
#define CALM_TICKS 4 /* between questions while there are places for all */

/* A key that has had runs. */
struct entry {
    char key_id[PD_KEY_ID_MAX];
    int whole;  /* its concurrency */
    int places; /* that we have */
    bool alone; /* Redis does not answer */
    bool asking, ask_soon;
    bool is_short;        /* we, or others, want more than they have */
    int wanted;           /* as of the last question */
    int told;             /* what Redis believes that we have */
    int peak;             /* runs at a time since the last tick */
    int calm;             /* ticks since the last question */
    struct pd_time asked; /* the last question */
    struct pd_time heard; /* when the last one that was answered was asked */
};

struct pd_slots {
    const struct pd_keys *keys;
    struct pd_redis *redis;
    struct pd_dispatch *dispatch; /* NULL: closing */
    struct pd_redis_script script;
    struct pd_redis_subscription *freed;
    char replica[REPLICA_DIGITS + 1];
    struct pd_strmap entries;
    uv_timer_t tick, soon;
    bool is_away; /* and the log has said so */
    size_t refs;
};

static void unref(struct pd_slots *slots)
{
    struct entry *entry;

    if (--slots->refs > 0)
        return;
    while ((entry = pd_strmap_any(&slots->entries))) {
        pd_strmap_remove(&slots->entries, entry->key_id);
        free(entry);
    }
    pd_strmap_fini(&slots->entries);
    free(slots);
}

static struct entry *entry_at(const struct pd_slots *slots, size_t i)
{
    return slots->entries.slots[i].key ? slots->entries.slots[i].value : NULL;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

/* ---- what there is ---- */

static bool is_alone(const struct pd_slots *slots, const struct entry *entry)
{
    return entry->alone || !pd_redis_is_up(slots->redis) ||
           (pd_time_is_set(entry->heard) && entry->places > 0 &&
            pd_time_ms_between(entry->heard, pd_time_now()) > PD_SLOTS_USE_MS);
}

static int limit_of(const struct pd_slots *slots, const struct entry *entry)
{
    if (is_alone(slots, entry))
        return pd_keys_part(slots->keys, entry->whole);
    return entry->places > 0 ? entry->places : PD_KEY_NONE_NOW;
}

int pd_slots_limit(struct pd_slots *slots, const struct pd_key *key)
{
    int whole = key->record.concurrency;
    struct entry *entry;

    if (!slots->redis || whole == 0)
        return pd_keys_part(slots->keys, whole);
    entry = pd_strmap_get(&slots->entries, key->record.id);
    if (!entry) {
        entry = PD_NEW(struct entry);
        pd_strcpy(entry->key_id, sizeof entry->key_id, key->record.id);
        pd_strmap_add(&slots->entries, entry->key_id, entry);
    }
    entry->whole = whole;
    return limit_of(slots, entry);
}

/* ---- asking ---- */

struct asking {
    struct pd_slots *slots;
    struct entry *entry;
    int wanted;
    int running; /* at most, until the answer */
};

static void on_soon(uv_timer_t *timer);

/* Once for all that comes in one turn of the loop. */
static void ask_soon(struct pd_slots *slots, struct entry *entry)
{
    entry->ask_soon = true;
    if (!uv_is_active((uv_handle_t *)&slots->soon))
        uv_timer_start(&slots->soon, on_soon, 0, 0);
}

static void set_away(struct pd_slots *slots, struct entry *entry, const char *why)
{
    entry->alone = why != NULL;
    if (why && !slots->is_away)
        pd_log(PD_LOG_WARN, "slots",
               "keys' concurrency is divided among replicas, since Redis does not answer", "why",
               why, NULL);
    else if (!why && slots->is_away)
        pd_log(PD_LOG_INFO, "slots", "keys' concurrency is one for all replicas again", NULL);
    slots->is_away = why != NULL;
}

bool pd_slots_answer_parse(const struct pd_redis_reply *reply, int wanted, int *ret_places,
                           bool *ret_short)
{
    int64_t places = pd_redis_reply_integer(reply, 0, -1);
    int64_t is_short = pd_redis_reply_integer(reply, 1, -1);

    if (places < 0 || places > wanted || is_short < 0 || is_short > 1)
        return false;
    *ret_places = (int)places;
    *ret_short = is_short == 1;
    return true;
}

static void take_answer(struct pd_slots *slots, const struct asking *asking, int places,
                        bool is_short)
{
    struct entry *entry = asking->entry;
    int before = entry->places;
    bool was_alone = is_alone(slots, entry);

    set_away(slots, entry, NULL);
    entry->heard = entry->asked;
    entry->places = places;
    entry->told = most(asking->running, places);
    entry->is_short = is_short || places < asking->wanted;
    if (places < before)
        ask_soon(slots, entry); /* fewer are in force: now the rest can be given back */
    if (places > before || was_alone)
        pd_dispatch_pump(slots->dispatch);
}

static void on_answer(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct asking *asking = arg;
    struct pd_slots *slots = asking->slots;
    struct entry *entry = asking->entry;
    int places;
    bool is_short;

    entry->asking = false;
    if (!slots->dispatch) {
        free(asking);
        unref(slots);
        return;
    }
    if (!err && pd_slots_answer_parse(reply, asking->wanted, &places, &is_short)) {
        take_answer(slots, asking, places, is_short);
    } else {
        set_away(slots, entry, err ? err->msg : "its answer is none");
        pd_dispatch_pump(slots->dispatch);
    }
    free(asking);
    unref(slots);
}

/* 0: it is sent, or one is under way. */
static int send_question(struct pd_slots *slots, struct entry *entry, int wanted, int running,
                         struct pd_err *err)
{
    const int values[] = {entry->whole, running, wanted, PD_SLOTS_LIFE_MS};
    char texts[PD_COUNT(values)][NUMBER_BYTES];
    struct pd_redis_arg args[PD_SLOT_SCRIPT_ARGS] = {PD_REDIS_TEXT(entry->key_id),
                                                     PD_REDIS_TEXT(slots->replica)};
    struct asking *asking = PD_NEW(struct asking);
    int rc;

    for (size_t i = 0; i < PD_COUNT(values); i++) {
        snprintf(texts[i], NUMBER_BYTES, "%d", values[i]);
        args[2 + i] = PD_REDIS_TEXT(texts[i]);
    }
    *asking = (struct asking){slots, entry, wanted, running};
    rc = pd_redis_eval(slots->redis, &slots->script, 0, args, PD_COUNT(args), on_answer, asking,
                       err);
    if (rc < 0)
        free(asking);
    else
        slots->refs++;
    return rc;
}

static void ask(struct pd_slots *slots, struct entry *entry)
{
    struct pd_key_demand demand = pd_dispatch_key_demand(slots->dispatch, entry->key_id);
    int wanted = least(entry->whole, most(demand.running + demand.waiting, entry->peak));
    struct pd_err err;

    entry->ask_soon = false;
    entry->calm = 0;
    if (entry->asking)
        return;
    if (send_question(slots, entry, wanted, most(demand.running, entry->places), &err) < 0) {
        set_away(slots, entry, err.msg);
        pd_dispatch_pump(slots->dispatch);
        return;
    }
    entry->asking = true;
    entry->asked = pd_time_now();
    entry->wanted = wanted;
}

static void on_soon(uv_timer_t *timer)
{
    struct pd_slots *slots = timer->data;

    for (size_t i = 0; i < slots->entries.capacity; i++) {
        struct entry *entry = entry_at(slots, i);
        if (entry && entry->ask_soon)
            ask(slots, entry);
    }
}

/* ---- when to ask ---- */

/* A run of the key begins, or finds that none may. Nothing is asked that was asked before:
 * who waits is told by `freed`, and by the next tick. */
static void on_use(void *arg, const char *key_id, int running, bool at_limit)
{
    struct pd_slots *slots = arg;
    struct entry *entry = pd_strmap_get(&slots->entries, key_id);

    if (!entry)
        return;
    /* One that was refused at once, too: the next try is to find a place. */
    entry->peak = most(entry->peak, least(running + 1, entry->whole));
    if (!at_limit || entry->alone)
        return; /* alone: each tick asks */
    if (entry->wanted <= running && entry->wanted < entry->whole)
        ask_soon(slots, entry); /* more are wanted than Redis knows */
    else if (entry->told > most(running, entry->places))
        ask_soon(slots, entry); /* some can be given back */
}

static void tick(struct pd_slots *slots, struct entry *entry)
{
    struct pd_key_demand demand = pd_dispatch_key_demand(slots->dispatch, entry->key_id);
    bool is_used = demand.running + demand.waiting + entry->peak + entry->told > 0;

    if (entry->asking && !entry->alone &&
        pd_time_ms_between(entry->asked, pd_time_now()) > PD_SLOTS_WAIT_MS) {
        set_away(slots, entry, "it is slow");
        pd_dispatch_pump(slots->dispatch);
    }
    if (is_used && (entry->is_short || entry->alone || ++entry->calm >= CALM_TICKS)) {
        ask(slots, entry);
        entry->peak = demand.running;
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct pd_slots *slots = timer->data;

    for (size_t i = 0; i < slots->entries.capacity; i++) {
        struct entry *entry = entry_at(slots, i);
        if (entry)
            tick(slots, entry);
    }
}

/* Somebody has given places of this key back. */
static void on_freed(void *arg, const void *data, size_t len)
{
    struct pd_slots *slots = arg;
    char key_id[PD_KEY_ID_MAX];
    struct entry *entry;

    if (len >= sizeof key_id)
        return;
    memcpy(key_id, data, len);
    key_id[len] = '\0';
    entry = pd_strmap_get(&slots->entries, key_id);
    if (entry && entry->wanted > entry->places)
        ask_soon(slots, entry);
}

static const struct pd_redis_subscriber subscriber = {.message = on_freed};

/* ---- life ---- */

struct pd_slots *pd_slots_open(uv_loop_t *loop, const struct pd_keys *keys, struct pd_redis *redis,
                               struct pd_dispatch *dispatch)
{
    struct pd_slots *slots = PD_NEW(struct pd_slots);
    struct pd_err err;

    slots->keys = keys;
    slots->redis = redis;
    slots->dispatch = dispatch;
    slots->script = pd_redis_script_of(pd_slot_lua);
    pd_random_hex(slots->replica, REPLICA_DIGITS);
    uv_timer_init(loop, &slots->tick);
    uv_timer_init(loop, &slots->soon);
    slots->tick.data = slots;
    slots->soon.data = slots;
    slots->refs = 2;
    if (!redis)
        return slots;
    if (pd_redis_subscribe(redis, PD_SLOT_CHANNEL, &subscriber, slots, &slots->freed, &err) < 0)
        pd_log(PD_LOG_WARN, "slots", "places that become free are noticed later", "err", err.msg,
               NULL);
    uv_timer_start(&slots->tick, on_tick, PD_SLOTS_TICK_MS, PD_SLOTS_TICK_MS);
    pd_dispatch_on_use(dispatch, on_use, slots);
    return slots;
}

static void on_timer_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

/* What was had is given back at once; what still runs is about to be ended. */
static void give_all_back(struct pd_slots *slots)
{
    struct pd_err err;

    for (size_t i = 0; i < slots->entries.capacity; i++) {
        struct entry *entry = entry_at(slots, i);
        if (entry && entry->told > 0)
            (void)!send_question(slots, entry, 0, 0, &err);
    }
}

void pd_slots_close(struct pd_slots *slots)
{
    if (!slots)
        return;
    pd_dispatch_on_use(slots->dispatch, NULL, NULL);
    pd_dispatch_set_limits(slots->dispatch, NULL, NULL);
    slots->dispatch = NULL;
    if (slots->freed)
        pd_redis_unsubscribe(slots->freed);
    give_all_back(slots);
    uv_close((uv_handle_t *)&slots->tick, on_timer_closed);
    uv_close((uv_handle_t *)&slots->soon, on_timer_closed);
}
