/* UTF-8 by The Unicode Standard 15, section 3.9, table 3-7. */
#ifndef PD_COMMON_UTF8_H
#define PD_COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"

#define PD_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* How many bytes the character at the start of `text` takes: 1..4, `len` at
 * most. Where there is no well-formed one, *ret_ok is false and the answer is
 * the length of the maximal subpart, which one U+FFFD stands for. len >= 1. */
size_t pd_utf8_next(const char *text, size_t len, bool *ret_ok);

bool pd_utf8_is_valid(const char *text, size_t len);

/* Characters; each ill-formed maximal subpart counts as one. */
size_t pd_utf8_count(const char *text, size_t len);

/* How many bytes at the end of `text` are the beginning of a character that is
 * not complete yet: 0..3. What a stream keeps back until more arrives. */
size_t pd_utf8_incomplete(const char *text, size_t len);

/* Append, with U+FFFD for each ill-formed maximal subpart. 0 or PD_LIMIT. */
int pd_utf8_clean(const char *text, size_t len, struct pd_buf *out, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
