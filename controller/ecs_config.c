#include "controller/ecs_config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/ecs_state.h"

static const char *env(const char *name)
{
    const char *value = getenv(name);

    return value ? value : "";
}

struct pd_ecs_config pd_ecs_config_from_env(void)
{
    return (struct pd_ecs_config){
        .cluster = env("ECS_CLUSTER"),
        .subnets = env("ECS_SUBNET_IDS"),
        .security_groups = env("ECS_SECURITY_GROUP_IDS"),
        .agent_image = env("ECS_AGENT_IMAGE"),
        .execution_role_arn = env("ECS_EXECUTION_ROLE_ARN"),
        .public_address = strcmp(env("ECS_ASSIGN_PUBLIC_IP"), "ENABLED") == 0,
    };
}

/* By commas or blanks. */
static int split(const char *text, size_t most, const char *name, struct pd_strings *ret_items,
                 struct pd_err *err)
{
    pd_autofree char *copy = pd_strdup(text);
    char *rest = copy, *item;

    while ((item = strsep(&rest, ", \t\n"))) {
        if (!*item)
            continue;
        if (ret_items->count == most)
            return pd_err_set(err, PD_INVALID, "%s: at most %zu", name, most);
        ret_items->items =
            pd_realloc(ret_items->items, ret_items->count + 1, sizeof *ret_items->items);
        ret_items->items[ret_items->count++] = pd_strdup(item);
    }
    return 0;
}

/* startedBy takes letters, digits, '-', '_' and '/'. */
static bool is_instance(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("_-", name[i]))
            return false;
    }
    return len > 0 && len < PD_ECS_TOKEN_MAX;
}

int pd_ecs_configure(struct pd_ecs *ecs, const struct pd_ecs_config *config, struct pd_err *err)
{
    int rc;

    if (!is_instance(config->instance))
        return pd_err_set(err, PD_INVALID,
                          "an instance on ECS is named by 1 to %d letters, digits, '_' and '-'",
                          PD_ECS_TOKEN_MAX - 1);
    if (split(config->subnets, PD_ECS_SUBNETS_MAX, "ECS_SUBNET_IDS", &ecs->subnets, err) < 0 ||
        split(config->security_groups, PD_ECS_SECURITY_GROUPS_MAX, "ECS_SECURITY_GROUP_IDS",
              &ecs->security_groups, err) < 0)
        return PD_INVALID;
    pd_strcpy(ecs->instance, sizeof ecs->instance, config->instance);
    snprintf(ecs->started_by, sizeof ecs->started_by, "paddock/%s", ecs->instance);
    ecs->factor = config->rate_factor > 0 ? config->rate_factor : 1;
    ecs->cluster = pd_strdup(config->cluster);
    ecs->agent_image = pd_strdup(config->agent_image);
    ecs->execution_role_arn = pd_strdup(config->execution_role_arn);
    ecs->public_address = config->public_address;
    pd_ecs_meet_cluster(ecs, config->cluster);
    rc = pd_ecs_keys_open(config->state_dir, &ecs->keys, err);
    return rc < 0 ? rc : pd_ecs_intents_open(config->db, ecs->instance, &ecs->intents, err);
}

/* arn:aws:ecs:eu-west-1:123456789012:cluster/name */
bool pd_ecs_config_region(const struct pd_ecs_config *config, char out[static PD_AWS_REGION_MAX])
{
    const char *cluster = config->cluster;
    const char *at = strncmp(cluster, "arn:", 4) == 0 ? strstr(cluster, ":ecs:") : NULL;
    size_t len = at ? strcspn(at + 5, ":") : 0;

    if (pd_aws_region(out))
        return true;
    if (len == 0 || len >= PD_AWS_REGION_MAX)
        return false;
    memcpy(out, at + 5, len);
    out[len] = '\0';
    return true;
}
