#include "cli/ecs.h"

#include <stdlib.h>
#include <sys/prctl.h>

#include "common/log.h"
#include "controller/aws_source.h"
#include "controller/provider_ecs.h"

/* AWS credentials will be in this process: no core file, whatever the limits say.
 * The leak checker needs to look into it. */
static void keep_out_of_core_files(void)
{
#ifndef __SANITIZE_ADDRESS__
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

int pd_ecs_open(const struct pd_ecs_service *service, bool required,
                struct pd_provider **ret_provider, struct pd_err *err)
{
    struct pd_ecs_config config = pd_ecs_config_from_env();
    const char *name = getenv("PADDOCK_INSTANCE");
    char region[PD_AWS_REGION_MAX];
    int rc;

    *ret_provider = NULL;
    if (!required && !*config.cluster && !pd_aws_region(region))
        return 0;
    config.instance = name && *name ? name : service->instance;
    config.state_dir = service->state_dir;
    config.db = service->db;
    config.metrics = service->metrics;
    rc = pd_provider_ecs_new(service->loop, &config, ret_provider, err);
    if (rc == 0 && (required || *config.cluster))
        keep_out_of_core_files();
    if (rc == 0 || required)
        return rc;
    pd_log(PD_LOG_WARN, "serve", "pools on ECS cannot be served", "err", err->msg, NULL);
    return 0;
}
