/* GET /livez, /readyz and /health: for probes and monitors. */
#ifndef PD_API_HEALTH_H
#define PD_API_HEALTH_H

struct pd_exchange;

/* pd_route_cbs; arg is a struct pd_api_context. */

/* The loop turns: always 200. */
void pd_livez_handle(void *arg, struct pd_exchange *exchange);
/* Work is accepted here: 503 while stopping, and while what makes sandboxes
 * does not answer. */
void pd_readyz_handle(void *arg, struct pd_exchange *exchange);
/* Runs come to something: 503 with a sentence where the engine is down or real
 * runs were lost lately. For monitors; nobody should be restarted for it. */
void pd_health_handle(void *arg, struct pd_exchange *exchange);

#endif
