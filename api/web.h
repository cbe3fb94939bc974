/* The browser console: static files built into the program (api/web, by
 * cmake/console.cmake), and a plain page in its place where they are not.
 *
 * /assets/DIGEST/name is the file whose SHA-256 begins with DIGEST, so it never
 * changes and may be kept for ever; pages are asked for again by their ETag.
 * Each file is there twice, gzipped too (RFC 9110, 12.5.3). */
#ifndef PD_API_WEB_H
#define PD_API_WEB_H

#include <stdbool.h>

#include "api/server.h"

struct pd_web;

struct pd_web *pd_web_new(void);
void pd_web_free(struct pd_web *web); /* NULL is fine */

/* Answer a GET or HEAD of "/", "/login" or below "/assets/". False, and nothing
 * is answered, when the request is for something else. */
bool pd_web_serve(const struct pd_web *web, struct pd_exchange *exchange);

#endif
