/* The Redis that the environment names: REDIS_URL, and for rediss:// the PEM
 * files REDIS_CA_FILE (else the system's authorities), REDIS_CERT_FILE and
 * REDIS_KEY_FILE. */
#ifndef PD_CLI_REDIS_ENV_H
#define PD_CLI_REDIS_ENV_H

#include <stdbool.h>
#include <uv.h>

#include "common/err.h"
#include "common/loop_redis.h"

/* Whether there is one. */
bool pd_redis_env_is_set(void);
/* Begins to connect. PD_INVALID: REDIS_URL is none, or a file cannot be read. */
int pd_redis_env_open(uv_loop_t *loop, struct pd_redis **ret_redis, struct pd_err *err);
/* Say in the log when it comes and goes, until pd_redis_close. */
void pd_redis_env_log(struct pd_redis *redis);

#endif
