/* Forms as browsers post them: application/x-www-form-urlencoded (WHATWG URL,
 * section 5). Pure. */
#ifndef PD_API_FORM_H
#define PD_API_FORM_H

#include <stdbool.h>
#include <stddef.h>

/* Copy the decoded value of the field `name` out of a form. False when it is
 * absent or there more than once, has a NUL or a broken escape in it, or is
 * longer than fits (`out` may have been written to then). */
bool pd_form_find(const char *form, size_t len, const char *name, char *out, size_t out_bytes);

#endif
