/* POST /execute: run a program and wait for it. */
#ifndef PD_API_EXECUTE_H
#define PD_API_EXECUTE_H

#include <stdbool.h>

struct pd_api_context;
struct pd_exchange;

/* A pd_route_cb; arg is a struct pd_api_context. */
void pd_execute_handle(void *arg, struct pd_exchange *exchange);

/* Whether a program may be sent now: as JSON, and to a service that does not stop.
 * False: the exchange has been answered. */
bool pd_execute_is_open(const struct pd_api_context *api, struct pd_exchange *exchange);

#endif
