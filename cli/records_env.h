/* What the environment says of records: PADDOCK_RECORDS_AGE (30d; 0: for ever),
 * PADDOCK_RECORDS_SIZE (1Gi; 0: no bound), PADDOCK_RECORDS_CODE (1: the code too). */
#ifndef PD_CLI_RECORDS_ENV_H
#define PD_CLI_RECORDS_ENV_H

#include "api/records.h"

/* Fills age_ms, size_bytes and keep_code. PD_INVALID names the variable. */
int pd_records_env(struct pd_records_config *config, struct pd_err *err);

#endif
