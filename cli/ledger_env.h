/* The ledger in Redis, as the environment wants it: PADDOCK_REDIS_DURABILITY (aof,
 * fsync, relaxed), PADDOCK_REDIS_AGE, PADDOCK_REDIS_SIZE. */
#ifndef PD_CLI_LEDGER_ENV_H
#define PD_CLI_LEDGER_ENV_H

#include "api/ledger_redis.h"
#include "common/err.h"

#define PD_LEDGER_AGE_DEFAULT_MS (INT64_C(24) * 3600 * 1000)
#define PD_LEDGER_SIZE_DEFAULT_BYTES (INT64_C(256) << 20)

/* Fills in durability, age_ms and size_bytes. PD_INVALID. */
int pd_ledger_env(struct pd_ledger_redis_config *config, struct pd_err *err);

#endif
