#include "cli/check_live.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "cli/check_host.h"
#include "cli/live_postgres.h"
#include "cli/live_redis.h"
#include "common/log.h"
#include "common/mem.h"
#include "controller/aws_source.h"
#include "controller/ecs_client.h"
#include "controller/ecs_preflight.h"
#include "controller/provider_ecs.h"

#define STARTED_BY "paddock/check"

struct live {
    FILE *out, *problems;
    size_t n_problems;
    struct pd_ecs_config config;
    char region[PD_AWS_REGION_MAX];
    struct pd_ecs_client *client;
};

static void problem(struct live *live, const char *text)
{
    live->n_problems++;
    fprintf(live->problems, "ecs: %s\n", text);
}

static void on_checked(void *arg, const struct pd_err *err)
{
    struct live *live = arg;

    if (err)
        problem(live, err->msg);
    else
        fprintf(live->out, "ecs: credentials from %s, region %s, cluster %s: in order\n",
                pd_ecs_client_origin(live->client), live->region, live->config.cluster);
    pd_ecs_client_close(live->client, NULL, NULL);
}

static void ask_ecs(struct live *live)
{
    pd_autofree char *endpoint = pd_aws_endpoint("ecs", live->region);
    const struct pd_ecs_client_config client = {.region = live->region, .endpoint = endpoint};
    struct pd_err err;
    uv_loop_t loop;

    if (uv_loop_init(&loop) < 0)
        abort();
    live->client = pd_ecs_client_new(&loop, &client);
    if (pd_ecs_preflight(live->client, live->config.cluster, STARTED_BY, true, on_checked, live,
                         &err) < 0)
        on_checked(live, &err);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

static void check_ecs(struct live *live)
{
    live->config = pd_ecs_config_from_env();
    if (!*live->config.subnets)
        problem(live, "ECS_SUBNET_IDS is not set: every pool must say spec.ecs.subnets");
    if (!*live->config.security_groups)
        problem(live,
                "ECS_SECURITY_GROUP_IDS is not set: every pool must say "
                "spec.ecs.securityGroups");
    if (!*live->config.agent_image)
        problem(live, "ECS_AGENT_IMAGE is not set: every pool must say spec.ecs.agentImage");
    if (!*live->config.cluster)
        problem(live, "ECS_CLUSTER is not set");
    if (!pd_aws_region(live->region))
        problem(live, "no AWS region: set AWS_REGION");
    else if (*live->config.cluster)
        ask_ecs(live);
}

static bool is_ecs_meant(void)
{
    const char *provider = getenv("SANDBOX_PROVIDER"), *cluster = getenv("ECS_CLUSTER");

    return (provider && strcmp(provider, "ecs") == 0) || (cluster && *cluster);
}

/* An engine elsewhere has a host of its own, whose gates are not to be seen from here. */
static void check_docker(struct live *live)
{
    const char *host = getenv("DOCKER_HOST");

    fprintf(live->out, "ecs: not configured (SANDBOX_PROVIDER, ECS_CLUSTER)\n");
    if (host && *host && strncmp(host, "unix://", 7) != 0)
        fprintf(live->out, "host: the engine is elsewhere (%s): run this there\n", host);
    else
        live->n_problems += pd_check_host("", live->out, live->problems);
}

size_t pd_check_live(FILE *out, FILE *problems)
{
    struct live live = {.out = out, .problems = problems};

    pd_log_level_set(PD_LOG_ERROR);
    if (is_ecs_meant())
        check_ecs(&live);
    else
        check_docker(&live);
    return live.n_problems + pd_live_redis(out, problems) + pd_live_postgres(out, problems);
}
