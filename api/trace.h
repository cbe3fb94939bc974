/* What identifies a request: X-Request-Id, and traceparent (W3C Trace Context).
 * A client's own are taken over when they are well-formed; otherwise new ones
 * are made. Both go back with the answer and into logs. */
#ifndef PD_API_TRACE_H
#define PD_API_TRACE_H

#include <stddef.h>

#define PD_REQUEST_ID_BYTES 65  /* with the NUL */
#define PD_TRACEPARENT_BYTES 56 /* 00-<32 hex>-<16 hex>-<2 hex> and the NUL */

struct pd_trace {
    char request_id[PD_REQUEST_ID_BYTES];
    char traceparent[PD_TRACEPARENT_BYTES];
};

/* Either text may be NULL or malformed. A request id is 1 to 64 of letters,
 * digits and ._:+/=@- ; a traceparent is version 00 with neither id all zero. */
void pd_trace_init(struct pd_trace *trace, const char *request_id, const char *traceparent);

/* `digits` lower-case hex digits (even, at most 64) from the kernel's random
 * source, and a NUL. */
void pd_random_hex(char *out, size_t digits);

#endif
