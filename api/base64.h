/* Base64 (RFC 4648, section 4): the standard alphabet, padded, strict. */
#ifndef PD_API_BASE64_H
#define PD_API_BASE64_H

#include <stddef.h>

#include "common/buf.h"

/* Decode into `out`, which has room for len / 4 * 3 bytes (it may be `text`).
 * 0, or PD_INVALID for foreign characters, white space, wrong padding or bits
 * set beyond the end. */
int pd_base64_decode(const char *text, size_t len, void *out, size_t *ret_len);

/* Append. 0 or PD_LIMIT. */
int pd_base64_encode(const void *data, size_t len, struct pd_buf *out, struct pd_err *err);

#endif
