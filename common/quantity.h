/* Quantities and durations in the notation of Kubernetes.
 * Quantity: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 * Duration: Go's time.ParseDuration, units ms s m h; a bare number is refused. */
#ifndef PD_COMMON_QUANTITY_H
#define PD_COMMON_QUANTITY_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* "500m", "1", "256Mi", "1.5G" as thousandths (1 is 1000). No negative values. */
int pd_quantity_parse(const char *text, int64_t *ret_milli, struct pd_err *err);
/* Whole bytes: rounds up; PD_INVALID when it exceeds 2^53. */
int pd_quantity_parse_bytes(const char *text, int64_t *ret_bytes, struct pd_err *err);
/* Milliseconds, 0..2^53. */
int pd_duration_parse(const char *text, int64_t *ret_ms, struct pd_err *err);
/* Shortest exact form: 90000 is "1m30s", 0 is "0s". Returns `out`. */
const char *pd_duration_format(int64_t ms, char *out, size_t out_bytes);

#endif
