/* Theory of operation. A wish becomes a job: a place is reserved for it in Redis
 * (fenced), the provider made ready for its template, the sandbox created with
 * the wish's id as its name, the wisher told. Each step can be repeated by this
 * or the next leader without another result. A job whose lease has run out is
 * dropped: the wish is still there.
 *
 * For each other replica there is a guest, its provider. A dead one's is listed
 * and emptied until nothing is left; then Redis forgets the replica. */
#include "controller/maker.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/maker_state.h"

/* ---- the end ---- */

void pd_maker_gone(struct pd_maker *maker)
{
    void (*closed)(void *arg) = maker->closed;
    void *arg = maker->closed_arg;

    if (!maker->closing || maker->pending > 0 || maker->n_jobs > 0)
        return;
    pd_strmap_fini(&maker->by_id);
    free(maker->lease_key);
    free(maker->sandboxes_key);
    free(maker->totals_key);
    free(maker->wishes_key);
    free(maker->seen_key);
    free(maker->reports_key);
    free(maker->made_prefix);
    free(maker);
    closed(arg);
}

bool pd_maker_may_act(const struct pd_maker *maker)
{
    return !maker->closing && pd_lease_is_held(maker->config.lease);
}

/* ---- guests ---- */

struct guest *pd_maker_find_guest(struct pd_maker *maker, const char *id)
{
    struct guest *guest;

    SLIST_FOREACH(guest, &maker->guests, next)
    if (strcmp(guest->id, id) == 0)
        return guest;
    return NULL;
}

struct guest *pd_maker_guest_of(struct pd_maker *maker, const char *id)
{
    struct guest *guest = pd_maker_find_guest(maker, id);
    struct pd_err err;

    if (guest)
        return guest;
    guest = PD_NEW(struct guest);
    guest->maker = maker;
    pd_strcpy(guest->id, sizeof guest->id, id);
    if (maker->config.guest(maker->config.arg, id, &guest->provider, &err) < 0) {
        pd_log(PD_LOG_ERROR, "maker", "no provider for a replica", "replica", id, "err", err.msg,
               NULL);
        free(guest);
        return NULL;
    }
    SLIST_INSERT_HEAD(&maker->guests, guest, next);
    return guest;
}

static void on_guest_closed(void *arg)
{
    struct guest *guest = arg;
    struct pd_maker *maker = guest->maker;

    free(guest);
    maker->pending--;
    pd_maker_gone(maker);
}

void pd_maker_guest_close(struct guest *guest)
{
    struct pd_maker *maker = guest->maker;

    SLIST_REMOVE(&maker->guests, guest, guest, next);
    maker->pending++;
    guest->provider->ops->close(guest->provider, on_guest_closed, guest);
}

struct pd_provider *pd_maker_provider_of(struct pd_maker *maker, const char *replica)
{
    struct guest *guest;

    if (strcmp(replica, maker->config.own->instance) == 0)
        return maker->config.own;
    guest = pd_maker_guest_of(maker, replica);
    return guest ? guest->provider : NULL;
}

/* ---- life ---- */

struct pd_maker *pd_maker_open(const struct pd_maker_config *config)
{
    struct pd_maker *maker = PD_NEW(struct pd_maker);

    maker->config = *config;
    maker->reserve = pd_redis_script_of(pd_maker_reserve_script);
    maker->settle = pd_redis_script_of(pd_maker_settle_script);
    maker->forget = pd_redis_script_of(pd_maker_forget_script);
    maker->lease_key = pd_asprintf("%s:lease", config->prefix);
    maker->sandboxes_key = pd_asprintf("%s:sandboxes", config->prefix);
    maker->totals_key = pd_asprintf("%s:totals", config->prefix);
    maker->wishes_key = pd_asprintf("%s:wishes", config->prefix);
    maker->seen_key = pd_asprintf("%s:seen", config->prefix);
    maker->reports_key = pd_asprintf("%s:reports", config->prefix);
    maker->made_prefix = pd_asprintf("%s:made:", config->prefix);
    LIST_INIT(&maker->jobs);
    SLIST_INIT(&maker->guests);
    uv_timer_init(config->loop, &maker->end);
    maker->end.data = maker;
    maker->pending = 1; /* that timer */
    pd_store_observe(config->store, pd_maker_on_pool, maker);
    return maker;
}

static void on_end_closed(uv_handle_t *handle)
{
    struct pd_maker *maker = handle->data;

    maker->pending--;
    pd_maker_gone(maker);
}

/* What the engine has been asked for comes to be, whether anybody waits for it or
 * not: so it is waited for, and its wisher told. Then the guests go. */
static void let_go(struct pd_maker *maker)
{
    if (!maker->closing || maker->creating > 0)
        return;
    while (!SLIST_EMPTY(&maker->guests))
        pd_maker_guest_close(SLIST_FIRST(&maker->guests));
    uv_close((uv_handle_t *)&maker->end, on_end_closed);
}

void pd_maker_made(struct pd_maker *maker)
{
    maker->creating--;
    let_go(maker);
}

void pd_maker_close(struct pd_maker *maker, void (*closed)(void *arg), void *arg)
{
    if (maker->closing)
        return;
    maker->closing = true;
    maker->closed = closed;
    maker->closed_arg = arg;
    pd_store_unobserve(maker->config.store, pd_maker_on_pool, maker);
    pd_maker_look_at_held(maker);
    let_go(maker);
}
