/* Cookies of requests (RFC 6265, section 4.2). Pure. */
#ifndef PD_API_COOKIE_H
#define PD_API_COOKIE_H

#include <stdbool.h>
#include <stddef.h>

/* Copy the value of the cookie `name` out of a Cookie header's value. False when
 * it is absent, there more than once (somebody else may have set the second),
 * empty, or longer than fits. Names are told apart by case. */
bool pd_cookie_find(const char *header, const char *name, char *out, size_t out_bytes);

#endif
