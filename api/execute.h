/* POST /execute: run a program and wait for it. */
#ifndef PD_API_EXECUTE_H
#define PD_API_EXECUTE_H

struct pd_exchange;

/* A pd_route_cb; arg is a struct pd_api_context. */
void pd_execute_handle(void *arg, struct pd_exchange *exchange);

#endif
