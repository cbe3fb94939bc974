#include "cli/redis_env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

bool pd_redis_env_is_set(void)
{
    return variable("REDIS_URL") != NULL;
}

static int check_file(const char *name, struct pd_err *err)
{
    const char *path = variable(name);

    if (path && access(path, R_OK) < 0)
        return pd_err_os(err, PD_INVALID, errno, "%s '%.200s'", name, path);
    return 0;
}

static int check_files(struct pd_err *err)
{
    if (check_file("REDIS_CA_FILE", err) < 0 || check_file("REDIS_CERT_FILE", err) < 0 ||
        check_file("REDIS_KEY_FILE", err) < 0)
        return PD_INVALID;
    if (!variable("REDIS_CERT_FILE") != !variable("REDIS_KEY_FILE"))
        return pd_err_set(err, PD_INVALID, "REDIS_CERT_FILE and REDIS_KEY_FILE go together");
    return 0;
}

int pd_redis_env_open(uv_loop_t *loop, struct pd_redis **ret_redis, struct pd_err *err)
{
    struct pd_redis_url url;
    const struct pd_redis_config config = {
        .loop = loop,
        .url = &url,
        .ca_file = variable("REDIS_CA_FILE"),
        .cert_file = variable("REDIS_CERT_FILE"),
        .key_file = variable("REDIS_KEY_FILE"),
    };

    if (check_files(err) < 0)
        return PD_INVALID;
    if (pd_redis_url_parse(variable("REDIS_URL"), &url, err) < 0)
        return pd_err_wrap(err, "REDIS_URL");
    *ret_redis = pd_redis_open(&config);
    pd_redis_url_fini(&url);
    return 0;
}

static void on_up(void *arg)
{
    struct pd_redis *redis = arg;

    pd_log(PD_LOG_INFO, "redis", "connected", "url", pd_redis_shown_url(redis), NULL);
}

/* Once for a stretch of failed attempts. */
static void on_down(void *arg, const struct pd_err *err)
{
    struct pd_redis *redis = arg;
    bool first = pd_redis_failures(redis) <= 1;

    pd_log(first ? PD_LOG_WARN : PD_LOG_DEBUG, "redis",
           "Redis is not in reach; what it said last stays in force", "url",
           pd_redis_shown_url(redis), "err", err->msg, NULL);
}

void pd_redis_env_log(struct pd_redis *redis)
{
    pd_redis_observe(redis, &(struct pd_redis_observer){on_up, on_down, redis});
}
