#include "controller/ecs_place.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

/* A pool, after so many failures for want of capacity. */
struct pd_ecs_place {
    TAILQ_ENTRY(pd_ecs_place) entry;
    char pool[PD_POOL_NAME_MAX];
    unsigned failures;
    struct pd_time failed;
};

void pd_ecs_places_init(struct pd_ecs_places *places)
{
    TAILQ_INIT(places);
}

void pd_ecs_places_fini(struct pd_ecs_places *places)
{
    struct pd_ecs_place *place;

    while ((place = TAILQ_FIRST(places))) {
        TAILQ_REMOVE(places, place, entry);
        free(place);
    }
}

static struct pd_ecs_place *place_of(struct pd_ecs_places *places, const char *pool)
{
    struct pd_ecs_place *place;

    TAILQ_FOREACH(place, places, entry)
    {
        if (strcmp(place->pool, pool) == 0)
            return place;
    }
    place = PD_NEW(struct pd_ecs_place);
    pd_strcpy(place->pool, sizeof place->pool, pool);
    TAILQ_INSERT_TAIL(places, place, entry);
    return place;
}

void pd_ecs_place_failed(struct pd_ecs_places *places, const char *pool, struct pd_time now)
{
    struct pd_ecs_place *place = place_of(places, pool);

    place->failures++;
    place->failed = now;
}

static void set_provider(struct pd_node *body, const char *provider)
{
    struct pd_node *item;

    if (strcmp(provider, "FARGATE") == 0) {
        pd_node_set_string(body, "launchType", "FARGATE");
        return;
    }
    item = pd_node_map_new();
    pd_node_set_string(item, "capacityProvider", provider);
    pd_node_set_int(item, "weight", 1);
    pd_node_add(pd_node_set(body, "capacityProviderStrategy", pd_node_list_new()), item);
}

/* The provider changes with each failure; when all have been tried the subnets do:
 * all of them, then one after another. */
void pd_ecs_place_set(struct pd_ecs_places *places, const struct pd_pool_spec *spec,
                      const struct pd_strings *subnets, const struct pd_strings *security_groups,
                      bool public_address, struct pd_time now, struct pd_node *body)
{
    const struct pd_strings *providers = &spec->ecs.capacity_providers;
    struct pd_ecs_place *place = place_of(places, spec->name);
    struct pd_node *network = pd_node_map_new(), *list;
    size_t n_providers = providers->count > 0 ? providers->count : 1, only;

    if (place->failures > 0 &&
        pd_time_ms_between(place->failed, now) >= PD_ECS_PLACE_FORGIVEN_MS)
        place->failures = 0;
    only = subnets->count > 1 ? place->failures / n_providers % (subnets->count + 1) : 0;
    set_provider(body, providers->count > 0 ? providers->items[place->failures % n_providers]
                                            : "FARGATE");
    list = pd_node_set(network, "subnets", pd_node_list_new());
    for (size_t i = 0; i < subnets->count; i++) {
        if (only == 0 || i == only - 1)
            pd_node_add(list, pd_node_string_new(subnets->items[i]));
    }
    pd_node_set(network, "securityGroups", pd_strings_node(security_groups));
    pd_node_set_string(network, "assignPublicIp", public_address ? "ENABLED" : "DISABLED");
    pd_node_set(pd_node_set(body, "networkConfiguration", pd_node_map_new()), "awsvpcConfiguration",
                network);
}
