/* What the links to tasks are secured by: our own key, and the pins of the agents
 * that have been met. Kept in the state folder:
 *
 *   ecs-link.pem  our key, 0600; PADDOCK_ECS_LINK_KEY in its place, as PEM
 *   ecs-pins      "ARN pin" lines, the newest last */
#ifndef PD_CONTROLLER_ECS_KEYS_H
#define PD_CONTROLLER_ECS_KEYS_H

#include "common/err.h"
#include "common/tls.h"

#define PD_ECS_PINS_MAX 20000 /* older ones are forgotten at the next start */
#define PD_ECS_OWNER_KEY_BYTES (2 * PD_TLS_POINT_BYTES + 1)

struct pd_ecs_keys;

/* state_dir NULL: nothing is kept. PD_INVALID: a key that is none. */
int pd_ecs_keys_open(const char *state_dir, struct pd_ecs_keys **ret_keys, struct pd_err *err)
    __attribute__((warn_unused_result));
void pd_ecs_keys_free(struct pd_ecs_keys *keys); /* NULL is fine */

const struct pd_tls_identity *pd_ecs_keys_identity(const struct pd_ecs_keys *keys);
/* Hexadecimal, of our public key: what a task is told. */
const char *pd_ecs_keys_owner(const struct pd_ecs_keys *keys);

/* PD_TLS_PIN_BYTES, or NULL: this task's agent has not been met. */
const unsigned char *pd_ecs_keys_pin(const struct pd_ecs_keys *keys, const char *arn);
/* It has now. The first pin of a task stays. */
void pd_ecs_keys_pinned(struct pd_ecs_keys *keys, const char *arn, const unsigned char *pin);

#endif
