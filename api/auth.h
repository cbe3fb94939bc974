/* Who sent a request, and whether it may have been a page from elsewhere that
 * made a browser send it.
 *
 * Programs send a key (X-API-Key, or Authorization: Bearer). Browsers send the
 * cookie of a session (session.h); a cookie comes along whoever made the browser
 * send it, so with one the Host must be ours and the Origin must be that Host
 * (origin.h), or, in a request that changes nothing and has no Origin, Fetch
 * Metadata must not say otherwise. Requests that change something and WebSocket
 * upgrades are held to the Origin that they name, however they authenticate. */
#ifndef PD_API_AUTH_H
#define PD_API_AUTH_H

#include <stdbool.h>

#include "api/context.h"
#include "api/server.h"

/* What a route needs: PD_SCOPE_OPEN, or scopes of which the key must have one.
 * 0 and the key (NULL for none on an open route), or the status that refuses the
 * request, 401 or 403, and a static sentence. */
int pd_auth_check(const struct pd_api_context *api, const struct pd_exchange *exchange,
                  unsigned needs, const struct pd_key **ret_key, const char **ret_detail);

/* The token in a request's session cookie; false when there is none. Only until
 * on_request returns; the caller wipes it. */
bool pd_auth_token(const struct pd_api_context *api, const struct pd_exchange *exchange,
                   char ret_token[static PD_TOKEN_BYTES]);

/* Whether a key came with the request itself, not by a session. */
bool pd_auth_has_key(const struct pd_exchange *exchange);

#endif
