/* What must be there before a task of a template can be run: permission, and a
 * task definition. The definition's family names its content by a hash, so one that
 * exists already is the right one, whoever registered it. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/ecs_definition.h"
#include "controller/ecs_preflight.h"
#include "controller/ecs_state.h"

#define DEFINITIONS_MAX 1000
#define PREFLIGHT_VALID_MS (10 * 60 * 1000)

struct definition {
    char key[PD_POOL_NAME_MAX + PD_TEMPLATE_HASH_BYTES + 1]; /* "pool/hash" */
    char *arn;
};

struct pd_ecs_ready {
    struct definition definitions[DEFINITIONS_MAX];
    size_t next, count;
    char checked[PD_ECS_CLUSTER_MAX]; /* the cluster that was last found in order */
    struct pd_time checked_at;
};

struct ensure {
    struct pd_ecs *ecs;
    struct pd_pool_spec *spec;
    struct pd_node *body;
    pd_provider_done_cb cb;
    void *arg;
};

/* ---- what pools do not say themselves ---- */

static const char *or_default(const char *text, const char *fallback)
{
    return *text ? text : fallback;
}

int pd_ecs_ready_launch(const struct pd_ecs *ecs, const struct pd_pool_spec *spec,
                        struct pd_ecs_launch *ret_launch, struct pd_err *err)
{
    const struct pd_strings *subnets =
        spec->ecs.subnets.count > 0 ? &spec->ecs.subnets : &ecs->subnets;
    const struct pd_strings *groups =
        spec->ecs.security_groups.count > 0 ? &spec->ecs.security_groups : &ecs->security_groups;
    const char *definition = pd_ecs_ready_definition(ecs, spec);

    if (!*pd_ecs_cluster_of(ecs, spec))
        return pd_err_set(err, PD_INVALID, "no cluster: set ECS_CLUSTER or spec.ecs.cluster");
    if (subnets->count == 0)
        return pd_err_set(err, PD_INVALID, "no subnets: set ECS_SUBNET_IDS or spec.ecs.subnets");
    if (groups->count == 0)
        return pd_err_set(
            err, PD_INVALID,
            "no security groups: set ECS_SECURITY_GROUP_IDS or spec.ecs.securityGroups; without "
            "one a task gets the default group of its network, which is too open");
    *ret_launch = (struct pd_ecs_launch){
        .definition = definition ? definition : "",
        .cluster = pd_ecs_cluster_of(ecs, spec),
        .subnets = subnets,
        .security_groups = groups,
        .public_address = ecs->public_address,
    };
    return 0;
}

/* ---- definitions known ---- */

static void key_of(const struct pd_pool_spec *spec, struct definition *definition)
{
    pd_strcpy(definition->key, sizeof definition->key, spec->name);
    strcat(definition->key, "/");
    strcat(definition->key, spec->template_hash);
}

const char *pd_ecs_ready_definition(const struct pd_ecs *ecs, const struct pd_pool_spec *spec)
{
    const struct pd_ecs_ready *ready = ecs->ready;
    struct definition wanted;

    if (*spec->ecs.task_definition)
        return spec->ecs.task_definition;
    key_of(spec, &wanted);
    for (size_t i = 0; i < ready->count; i++) {
        if (strcmp(ready->definitions[i].key, wanted.key) == 0)
            return ready->definitions[i].arn;
    }
    return NULL;
}

static void remember(struct pd_ecs *ecs, const struct pd_pool_spec *spec, const char *arn)
{
    struct pd_ecs_ready *ready = ecs->ready;
    struct definition *slot;

    if (pd_ecs_ready_definition(ecs, spec))
        return;
    slot = &ready->definitions[ready->next];
    ready->next = (ready->next + 1) % DEFINITIONS_MAX;
    ready->count = ready->count < DEFINITIONS_MAX ? ready->count + 1 : DEFINITIONS_MAX;
    free(slot->arn);
    key_of(spec, slot);
    slot->arn = pd_strdup(arn);
}

/* ---- ensuring ---- */

static void end(struct ensure *ensure, const struct pd_err *err)
{
    ensure->cb(ensure->arg, err);
    pd_pool_spec_unref(ensure->spec);
    pd_node_free(ensure->body);
    free(ensure);
}

static bool take_definition(struct ensure *ensure, const struct pd_node *answer)
{
    const struct pd_node *definition = pd_node_get(answer, "taskDefinition");
    const char *arn = pd_ecs_text(definition, "taskDefinitionArn");
    const char *status = pd_ecs_text(definition, "status");

    if (!*arn || (*status && strcmp(status, "ACTIVE") != 0))
        return false;
    remember(ensure->ecs, ensure->spec, arn);
    return true;
}

static void on_registered(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct ensure *ensure = arg;
    struct pd_err failure;

    if (!err && !take_definition(ensure, answer)) {
        pd_err_set(&failure, PD_UNAVAILABLE, "ecs:RegisterTaskDefinition names no definition");
        err = &failure;
    }
    if (!err)
        pd_log(PD_LOG_INFO, "ecs", "task definition registered", "pool", ensure->spec->name,
               "definition", pd_ecs_ready_definition(ensure->ecs, ensure->spec), NULL);
    end(ensure, err);
}

/* Not there (a ClientException), or not to be used any more: registered. */
static void on_looked_up(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct ensure *ensure = arg;
    struct pd_err failure;

    if (!err && take_definition(ensure, answer))
        end(ensure, NULL);
    else if (err && err->kind != PD_INVALID && err->kind != PD_NOT_FOUND)
        end(ensure, err);
    else if (pd_ecs_call(ensure->ecs->client, PD_ECS_REGISTER_TASK_DEFINITION, ensure->body, 0,
                         on_registered, ensure, &failure) < 0)
        end(ensure, &failure);
}

static void look_up(struct ensure *ensure)
{
    pd_autonode struct pd_node *question = pd_node_map_new();
    struct pd_err err;

    if (!ensure->body) {
        end(ensure, NULL);
        return;
    }
    pd_node_set_string(question, "taskDefinition", pd_ecs_text(ensure->body, "family"));
    if (pd_ecs_call(ensure->ecs->client, PD_ECS_DESCRIBE_TASK_DEFINITION, question, 0, on_looked_up,
                    ensure, &err) < 0)
        end(ensure, &err);
}

static void on_checked(void *arg, const struct pd_err *err)
{
    struct ensure *ensure = arg;
    struct pd_ecs_ready *ready = ensure->ecs->ready;

    if (err) {
        end(ensure, err);
        return;
    }
    pd_strcpy(ready->checked, sizeof ready->checked, pd_ecs_cluster_of(ensure->ecs, ensure->spec));
    ready->checked_at = pd_time_now();
    look_up(ensure);
}

static int body_of(const struct pd_ecs *ecs, const struct pd_pool_spec *spec,
                   struct pd_node **ret_body, struct pd_err *err)
{
    const struct pd_ecs_template template = {
        .spec = spec,
        .agent_image = or_default(spec->ecs.agent_image, ecs->agent_image),
        .execution_role_arn = or_default(spec->ecs.execution_role_arn, ecs->execution_role_arn),
        .owner_key = pd_ecs_keys_owner(ecs->keys),
    };

    return *spec->ecs.task_definition ? 0 : pd_ecs_definition(&template, ret_body, err);
}

static bool is_checked(const struct pd_ecs *ecs, const char *cluster)
{
    return pd_time_is_set(ecs->ready->checked_at) && strcmp(ecs->ready->checked, cluster) == 0 &&
           pd_time_ms_between(ecs->ready->checked_at, pd_time_now()) < PREFLIGHT_VALID_MS;
}

int pd_ecs_ready_ensure(struct pd_ecs *ecs, const struct pd_pool_spec *spec, pd_provider_done_cb cb,
                        void *arg, struct pd_err *err)
{
    struct pd_ecs_launch launch;
    struct ensure *ensure;
    struct pd_node *body = NULL;
    int rc = pd_ecs_ready_launch(ecs, spec, &launch, err);

    if (rc < 0 || (rc = body_of(ecs, spec, &body, err)) < 0)
        return rc;
    ensure = PD_NEW(struct ensure);
    ensure->ecs = ecs;
    ensure->spec = pd_pool_spec_ref((struct pd_pool_spec *)(uintptr_t)spec);
    ensure->body = body;
    ensure->cb = cb;
    ensure->arg = arg;
    if (body && is_checked(ecs, launch.cluster)) {
        look_up(ensure);
        return 0;
    }
    rc = pd_ecs_preflight(ecs->client, launch.cluster, ecs->started_by, body != NULL, on_checked,
                          ensure, err);
    if (rc < 0) {
        pd_pool_spec_unref(ensure->spec);
        pd_node_free(body);
        free(ensure);
    }
    return rc;
}

struct pd_ecs_ready *pd_ecs_ready_new(struct pd_ecs *ecs)
{
    (void)ecs;
    return PD_NEW(struct pd_ecs_ready);
}

void pd_ecs_ready_free(struct pd_ecs_ready *ready)
{
    for (size_t i = 0; i < DEFINITIONS_MAX; i++)
        free(ready->definitions[i].arn);
    free(ready);
}
