/* What the environment says of records: PADDOCK_RECORDS_AGE (30d; 0: for ever),
 * PADDOCK_RECORDS_SIZE (1Gi; 0: no bound), PADDOCK_RECORDS_CODE (1: the code too),
 * DATABASE_URL, and PADDOCK_DATABASE_AGE (0: for ever) for rows in PostgreSQL. */
#ifndef PD_CLI_RECORDS_ENV_H
#define PD_CLI_RECORDS_ENV_H

#include "api/records.h"

/* Fills age_ms, size_bytes and keep_code. PD_INVALID names the variable. */
int pd_records_env_age(const char *name, int64_t fallback_ms, int64_t *ret_ms, struct pd_err *err);
int pd_records_env(struct pd_records_config *config, struct pd_err *err);

#endif
