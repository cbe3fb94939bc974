#include "tests/lib/provider_sim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/lib/provider_sim_stream.h"

struct provider_sim_call {
    struct provider_sim_call *next;
    enum provider_sim_op op;
    enum provider_sim_verdict verdict;
    struct pd_time effect_at;
    struct pd_time answer_at;
    bool took_effect;
    bool orphan;                 /* nobody hears the answer */
    struct pd_err err;           /* of the effect */
    char id[PD_PROVIDER_ID_MAX]; /* the sandbox's or the provider's */
    char pool[PD_POOL_NAME_MAX];
    char template_hash[PD_TEMPLATE_HASH_BYTES];
    struct pd_instance *listed;
    size_t n_listed;
    union {
        pd_provider_done_cb done;
        pd_provider_create_cb create;
        pd_provider_list_cb list;
        pd_provider_link_cb link;
    } cb;
    void *arg;
};

static int dice(struct provider_sim *sim, int n)
{
    sim->random = sim->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((sim->random >> 33) % (uint64_t)n);
}

static bool chance(struct provider_sim *sim, int percent)
{
    return percent > 0 && dice(sim, 100) < percent;
}

static struct provider_sim_instance *by_provider_id(struct provider_sim *sim, const char *id)
{
    return pd_strmap_get(&sim->by_provider_id, id);
}

static struct provider_sim_instance *by_id(struct provider_sim *sim, const char *id)
{
    return pd_strmap_get(&sim->by_id, id);
}

/* ---- events ---- */

static void announce(struct provider_sim *sim, const struct pd_instance *instance, bool dead)
{
    struct pd_provider_event event = {.type = PD_PROVIDER_CHANGED, .dead = dead};

    if (!sim->event_cb || sim->down || chance(sim, sim->lose_event_percent))
        return;
    pd_strcpy(event.pool, sizeof event.pool, instance->pool);
    pd_strcpy(event.id, sizeof event.id, instance->id);
    pd_strcpy(event.reason, sizeof event.reason, instance->reason);
    sim->event_cb(sim->event_arg, &event);
}

static void announce_state(struct provider_sim *sim)
{
    struct pd_provider_event event = {.type = sim->down ? PD_PROVIDER_DOWN : PD_PROVIDER_UP};

    if (sim->event_cb)
        sim->event_cb(sim->event_arg, &event);
}

/* ---- instances ---- */

static void instance_index(struct provider_sim *sim, struct provider_sim_instance *instance)
{
    if (sim->count == sim->cap) {
        sim->cap = sim->cap ? sim->cap * 2 : 16;
        sim->instances = pd_realloc(sim->instances, sim->cap, sizeof(void *));
    }
    instance->index = sim->count;
    sim->instances[sim->count++] = instance;
    pd_strmap_add(&sim->by_id, instance->instance.id, instance);
    pd_strmap_add(&sim->by_provider_id, instance->instance.provider_id, instance);
    if (sim->count > sim->count_max)
        sim->count_max = sim->count;
}

static struct provider_sim_instance *instance_new(struct provider_sim *sim, const char *id,
                                                  const char *pool, const char *template_hash)
{
    struct provider_sim_instance *instance = PD_NEW(struct provider_sim_instance);
    struct pd_instance *public = &instance->instance;

    pd_strcpy(public->id, sizeof public->id, id);
    pd_strcpy(public->pool, sizeof public->pool, pool);
    pd_strcpy(public->template_hash, sizeof public->template_hash, template_hash);
    snprintf(public->provider_id, sizeof public->provider_id, "i-%u", sim->created++);
    public->phase = PD_INSTANCE_RUNNING;
    public->created_wall_ms = pd_wall_ms();
    instance_index(sim, instance);
    return instance;
}

static void instance_remove(struct provider_sim *sim, struct provider_sim_instance *instance)
{
    struct provider_sim_instance *last = sim->instances[--sim->count];

    provider_sim_stream_end(instance);
    pd_strmap_remove(&sim->by_id, instance->instance.id);
    pd_strmap_remove(&sim->by_provider_id, instance->instance.provider_id);
    sim->instances[instance->index] = last;
    last->index = instance->index;
    free(instance);
}

void provider_sim_kill(struct provider_sim *sim, size_t i)
{
    struct provider_sim_instance *instance = sim->instances[i];

    instance->instance.phase = PD_INSTANCE_DEAD;
    pd_strcpy(instance->instance.reason, sizeof instance->instance.reason, "it was killed");
    provider_sim_stream_end(instance);
    announce(sim, &instance->instance, true);
}

void provider_sim_vanish(struct provider_sim *sim, size_t i)
{
    struct pd_instance instance = sim->instances[i]->instance;

    instance_remove(sim, sim->instances[i]);
    announce(sim, &instance, true);
}

void provider_sim_plant(struct provider_sim *sim, const char *id, const char *pool,
                        const char *template_hash, enum pd_instance_phase phase, uint64_t runs)
{
    struct provider_sim_instance *instance = instance_new(sim, id, pool, template_hash);

    instance->instance.phase = phase;
    instance->runs = runs;
}

void provider_sim_break_link(struct provider_sim *sim, size_t i)
{
    provider_sim_stream_end(sim->instances[i]);
}

void provider_sim_set_down(struct provider_sim *sim, bool down, bool dead)
{
    sim->down = down;
    for (size_t i = 0; i < sim->count; i++) {
        provider_sim_stream_end(sim->instances[i]);
        if (dead)
            sim->instances[i]->instance.phase = PD_INSTANCE_DEAD;
    }
    announce_state(sim);
}

/* ---- calls ---- */

static enum provider_sim_verdict verdict_of(struct provider_sim *sim,
                                            const struct provider_sim_fault *fault)
{
    enum provider_sim_verdict verdict = sim->next_verdict;

    sim->next_verdict = PROVIDER_SIM_CHANCE;
    if (verdict != PROVIDER_SIM_CHANCE)
        return verdict;
    return chance(sim, fault->fail_percent)     ? PROVIDER_SIM_FAIL
           : chance(sim, fault->late_percent)   ? PROVIDER_SIM_LATE
           : chance(sim, fault->silent_percent) ? PROVIDER_SIM_SILENT
                                                : PROVIDER_SIM_WELL;
}

static int call_new(struct provider_sim *sim, enum provider_sim_op op, const char *id, void *arg,
                    struct provider_sim_call **ret_call, struct pd_err *err)
{
    const struct provider_sim_fault *fault = &sim->faults[op];
    int slow_ms = (int)fault->slow_ms + 1;
    struct provider_sim_call *call;
    struct provider_sim_call **at = &sim->pending;

    sim->calls[op]++;
    if (chance(sim, fault->refuse_percent))
        return pd_err_set(err, fault->kind ? fault->kind : PD_INTERNAL, "refused");
    call = PD_NEW(struct provider_sim_call);
    call->op = op;
    call->arg = arg;
    call->verdict = verdict_of(sim, fault);
    call->effect_at = pd_time_add_ms(sim->now(), dice(sim, slow_ms));
    call->answer_at = pd_time_add_ms(call->effect_at, dice(sim, slow_ms));
    pd_strcpy(call->id, sizeof call->id, id);
    while (*at)
        at = &(*at)->next;
    *at = call;
    *ret_call = call;
    return 0;
}

static void take_effect_create(struct provider_sim *sim, struct provider_sim_call *call)
{
    struct provider_sim_instance *instance = by_id(sim, call->id);

    if (!instance) {
        instance = instance_new(sim, call->id, call->pool, call->template_hash);
        instance->mute = chance(sim, sim->mute_percent);
        announce(sim, &instance->instance, false);
        if (chance(sim, sim->stillborn_percent))
            provider_sim_kill(sim, instance->index);
    }
}

static void take_effect_list(struct provider_sim *sim, struct provider_sim_call *call)
{
    call->listed = pd_calloc(sim->count, sizeof *call->listed);
    call->n_listed = sim->count;
    for (size_t i = 0; i < sim->count; i++)
        call->listed[i] = sim->instances[i]->instance;
}

static void take_effect_destroy(struct provider_sim *sim, struct provider_sim_call *call)
{
    struct provider_sim_instance *instance = by_provider_id(sim, call->id);

    if (instance)
        provider_sim_vanish(sim, instance->index);
}

static void take_effect(struct provider_sim *sim, struct provider_sim_call *call)
{
    call->took_effect = true;
    if (sim->down) {
        pd_err_set(&call->err, PD_UNAVAILABLE, "the engine does not answer");
    } else if (call->verdict == PROVIDER_SIM_FAIL) {
        int kind = sim->faults[call->op].kind;
        pd_err_set(&call->err, kind ? kind : PD_INTERNAL, "it failed");
    } else if (call->op == PROVIDER_SIM_CREATE) {
        take_effect_create(sim, call);
    } else if (call->op == PROVIDER_SIM_LIST) {
        take_effect_list(sim, call);
    } else if (call->op == PROVIDER_SIM_DESTROY) {
        take_effect_destroy(sim, call);
    }
    if (call->verdict == PROVIDER_SIM_LATE && !call->err.kind)
        pd_err_set(&call->err, PD_TIMEOUT, "no answer in time");
}

static void answer_link(struct provider_sim *sim, struct provider_sim_call *call,
                        const struct pd_err *err)
{
    struct provider_sim_instance *instance = by_provider_id(sim, call->id);
    struct pd_err gone;

    if (!err && (!instance || instance->instance.phase != PD_INSTANCE_RUNNING)) {
        pd_err_set(&gone, PD_NOT_FOUND, "it does not run");
        err = &gone;
    }
    call->cb.link(call->arg, err, err ? NULL : provider_sim_stream_new(sim, instance));
}

static void answer(struct provider_sim *sim, struct provider_sim_call *call)
{
    const struct pd_err *err = call->err.kind ? &call->err : NULL;
    struct provider_sim_instance *instance;

    if (call->orphan)
        return;
    if (call->verdict == PROVIDER_SIM_DIE && sim->on_die)
        sim->on_die(sim->on_die_arg); /* need not come back */
    switch (call->op) {
    case PROVIDER_SIM_CREATE:
        instance = by_id(sim, call->id);
        call->cb.create(call->arg, err,
                        err        ? NULL
                        : instance ? instance->instance.provider_id
                                   : "gone");
        break;
    case PROVIDER_SIM_LIST:
        call->cb.list(call->arg, err, err ? NULL : call->listed, err ? 0 : call->n_listed);
        break;
    case PROVIDER_SIM_LINK:
        answer_link(sim, call, err);
        break;
    case PROVIDER_SIM_ENSURE:
    case PROVIDER_SIM_DESTROY:
        call->cb.done(call->arg, err);
        break;
    case PROVIDER_SIM_OPS:
        abort();
    }
}

static void call_free(struct provider_sim_call *call)
{
    free(call->listed);
    free(call);
}

static struct pd_time call_due(const struct provider_sim_call *call)
{
    return call->took_effect ? call->answer_at : call->effect_at;
}

static bool call_waits(const struct provider_sim_call *call)
{
    return !(call->took_effect && call->verdict == PROVIDER_SIM_SILENT);
}

static bool run_calls(struct provider_sim *sim)
{
    for (struct provider_sim_call **at = &sim->pending; *at; at = &(*at)->next) {
        struct provider_sim_call *call = *at;
        if (!call_waits(call) || pd_time_before(sim->now(), call_due(call)))
            continue;
        if (!call->took_effect) {
            take_effect(sim, call);
            return true;
        }
        *at = call->next;
        answer(sim, call);
        call_free(call);
        return true;
    }
    return false;
}

void provider_sim_orphan(struct provider_sim *sim, uv_loop_t *loop)
{
    for (struct provider_sim_call *call = sim->pending; call; call = call->next)
        call->orphan = true;
    for (size_t i = 0; i < sim->count; i++)
        sim->instances[i]->stream = NULL;
    sim->streams = NULL; /* they went with their loop */
    sim->event_cb = NULL;
    sim->next_verdict = PROVIDER_SIM_CHANCE;
    sim->loop = loop;
}

bool provider_sim_run(struct provider_sim *sim)
{
    bool any = sim->announce_due;

    if (sim->announce_due)
        announce_state(sim);
    sim->announce_due = false;
    while (run_calls(sim))
        any = true;
    return provider_sim_streams_run(sim) || any;
}

struct pd_time provider_sim_next(const struct provider_sim *sim)
{
    struct pd_time next = {0};

    for (const struct provider_sim_call *call = sim->pending; call; call = call->next) {
        if (call_waits(call) && (!pd_time_is_set(next) || pd_time_before(call_due(call), next)))
            next = call_due(call);
    }
    return next;
}

/* ---- the provider ---- */

static int sim_ensure_ready(struct pd_provider *provider, const struct pd_pool_spec *spec,
                            pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct provider_sim *sim = (struct provider_sim *)provider;
    struct provider_sim_call *call;
    int result = call_new(sim, PROVIDER_SIM_ENSURE, spec->name, arg, &call, err);

    if (result == 0)
        call->cb.done = cb;
    return result;
}

static int sim_create(struct pd_provider *provider, const struct pd_pool_spec *spec, const char *id,
                      pd_provider_create_cb cb, void *arg, struct pd_err *err)
{
    struct provider_sim *sim = (struct provider_sim *)provider;
    struct provider_sim_call *call;
    int result = call_new(sim, PROVIDER_SIM_CREATE, id, arg, &call, err);

    if (result < 0)
        return result;
    call->cb.create = cb;
    pd_strcpy(call->pool, sizeof call->pool, spec->name);
    pd_strcpy(call->template_hash, sizeof call->template_hash, spec->template_hash);
    return 0;
}

static int sim_list(struct pd_provider *provider, pd_provider_list_cb cb, void *arg,
                    struct pd_err *err)
{
    struct provider_sim_call *call;
    int result = call_new((struct provider_sim *)provider, PROVIDER_SIM_LIST, "", arg, &call, err);

    if (result == 0)
        call->cb.list = cb;
    return result;
}

static int sim_destroy(struct pd_provider *provider, const char *provider_id,
                       pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct provider_sim_call *call;
    int result = call_new((struct provider_sim *)provider, PROVIDER_SIM_DESTROY, provider_id, arg,
                          &call, err);

    if (result == 0)
        call->cb.done = cb;
    return result;
}

static int sim_link(struct pd_provider *provider, const char *provider_id, pd_provider_link_cb cb,
                    void *arg, struct pd_err *err)
{
    struct provider_sim_call *call;
    int result =
        call_new((struct provider_sim *)provider, PROVIDER_SIM_LINK, provider_id, arg, &call, err);

    if (result == 0)
        call->cb.link = cb;
    return result;
}

static void sim_watch(struct pd_provider *provider, pd_provider_event_cb cb, void *arg)
{
    struct provider_sim *sim = (struct provider_sim *)provider;

    sim->event_cb = cb;
    sim->event_arg = arg;
    sim->announce_due = true;
}

static void sim_close(struct pd_provider *provider, void (*closed)(void *arg), void *arg)
{
    (void)provider;
    closed(arg);
}

static const struct pd_provider_ops sim_ops = {
    .name = "sim",
    .ensure_ready = sim_ensure_ready,
    .create = sim_create,
    .list = sim_list,
    .destroy = sim_destroy,
    .watch = sim_watch,
    .link = sim_link,
    .close = sim_close,
};

struct provider_sim *provider_sim_new(uv_loop_t *loop, struct pd_time (*now)(void), uint64_t seed)
{
    struct provider_sim *sim = PD_NEW(struct provider_sim);

    sim->provider = (struct pd_provider){.ops = &sim_ops, .instance = "sim"};
    sim->loop = loop;
    sim->now = now;
    sim->random = seed * 2 + 1;
    return sim;
}

void provider_sim_free(struct provider_sim *sim)
{
    while (sim->pending) {
        struct provider_sim_call *call = sim->pending;
        sim->pending = call->next;
        pd_err_set(&call->err, PD_CANCELED, "the provider closes");
        answer(sim, call);
        call_free(call);
    }
    assert(!sim->streams);
    while (sim->count > 0)
        instance_remove(sim, sim->instances[0]);
    pd_strmap_fini(&sim->by_id);
    pd_strmap_fini(&sim->by_provider_id);
    free(sim->instances);
    free(sim);
}
