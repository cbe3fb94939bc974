/* Quantities and durations in the notation of Kubernetes.
 * Quantity: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 * Duration: Go's time.ParseDuration, units us ms s m h; a bare number other than
 * 0 is refused. Fractions round up to the unit of the result. Messages begin
 * with a verb, to stand behind a path: "must be a duration such as ...". */
#ifndef PD_COMMON_QUANTITY_H
#define PD_COMMON_QUANTITY_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* "500m", "1", "256Mi", "1.5G" as thousandths (1 is 1000). No negative values. */
int pd_quantity_parse(const char *text, int64_t *ret_milli, struct pd_err *err);
/* Shortest exact form: 1500 is "1500m", 2000 is "2". Returns `out`. */
const char *pd_quantity_format(int64_t milli, char *out, size_t out_bytes);
/* Whole bytes: rounds up; PD_INVALID when it exceeds 2^53. */
int pd_quantity_parse_bytes(const char *text, int64_t *ret_bytes, struct pd_err *err);
/* Shortest exact form: 268435456 is "256Mi". Returns `out`. */
const char *pd_quantity_format_bytes(int64_t bytes, char *out, size_t out_bytes);
/* Milliseconds, 0..2^53. */
int pd_duration_parse(const char *text, int64_t *ret_ms, struct pd_err *err);
/* Shortest exact form: 90000 is "1m30s", 0 is "0s". Returns `out`. */
const char *pd_duration_format(int64_t ms, char *out, size_t out_bytes);

#endif
