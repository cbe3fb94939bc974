/* What clients write to find executions: the filters of GET /executions, its
 * cursors (pd_records_cursor_parse, records.h), and the header Idempotency-Key. */
#ifndef PD_API_RECORD_QUERY_H
#define PD_API_RECORD_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/records.h"
#include "common/err.h"

#define PD_RECORDS_PAGE_DEFAULT 50

/* A parameter of the query, decoded, as pd_exchange_query gives it: false where it is
 * not there, or longer than fits. */
typedef bool (*pd_parameter_cb)(const void *source, const char *name, char *out, size_t out_bytes);
/* PD_INVALID says which parameter must be what. What is left out is not asked for. */
int pd_records_query_parse(pd_parameter_cb get, const void *source,
                           struct pd_records_query *ret_query, struct pd_err *err);

/* Seconds since 1970, or RFC 3339 in UTC, as milliseconds; 0 where it is neither. */
int64_t pd_records_time_parse(const char *text);

/* A structured string (RFC 8941, section 3.3.3), or the bare text that most send: 1 to
 * 255 printable characters, else false. */
bool pd_idempotency_key_parse(const char *sent, char out[static PD_IDEMPOTENCY_KEY_BYTES]);

#endif
