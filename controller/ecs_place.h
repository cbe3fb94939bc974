/* Where a pool's next task goes. Where there is no capacity the next attempt goes
 * elsewhere: to the next of the pool's capacity providers, then to one subnet after
 * another. Ten minutes without a failure, and the first choice is tried again. */
#ifndef PD_CONTROLLER_ECS_PLACE_H
#define PD_CONTROLLER_ECS_PLACE_H

#include <stdbool.h>
#include <sys/queue.h>

#include "common/node.h"
#include "common/pool.h"
#include "common/strings.h"
#include "common/time.h"

#define PD_ECS_PLACE_FORGIVEN_MS (10 * 60 * 1000)

struct pd_ecs_place;
TAILQ_HEAD(pd_ecs_places, pd_ecs_place);

void pd_ecs_places_init(struct pd_ecs_places *places);
void pd_ecs_places_fini(struct pd_ecs_places *places);

/* There was no room for this pool where it was sent last. */
void pd_ecs_place_failed(struct pd_ecs_places *places, const char *pool, struct pd_time now);
/* Write into RunTask's body where this one is to go: launchType or
 * capacityProviderStrategy, and networkConfiguration. */
void pd_ecs_place_set(struct pd_ecs_places *places, const struct pd_pool_spec *spec,
                      const struct pd_strings *subnets, const struct pd_strings *security_groups,
                      bool public_address, struct pd_time now, struct pd_node *body);

#endif
