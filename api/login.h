/* How browsers log in and out (session.h).
 *
 *   POST   /login          a form with `key` or `link`: 303 to / with the cookie, or 401
 *   GET    /session        whose session this is, and when it ends
 *   DELETE /session        log out
 *   POST   /session/links  a one-time login link; wants a key, not a session
 *
 * The link is /login#TOKEN: what follows # stays in the browser, so the token is
 * in no log and no Referer on its way; the page posts it as the form's `link`. */
#ifndef PD_API_LOGIN_H
#define PD_API_LOGIN_H

#include "api/server.h"

/* Handlers; `arg` is the struct pd_api_context. */
void pd_login_handle(void *arg, struct pd_exchange *exchange);
void pd_session_get_handle(void *arg, struct pd_exchange *exchange);
void pd_session_delete_handle(void *arg, struct pd_exchange *exchange);
void pd_session_link_handle(void *arg, struct pd_exchange *exchange);

#endif
