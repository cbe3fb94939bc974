/* GET /livez, /readyz and /health: for probes and monitors. */
#ifndef PD_API_HEALTH_H
#define PD_API_HEALTH_H

#include <stdbool.h>

struct pd_api_context;
struct pd_exchange;

/* Whether work is accepted here; else the sentence says why not (borrowed until
 * the next turn of the loop). */
bool pd_api_is_ready(const struct pd_api_context *api, const char **ret_sentence);

/* pd_route_cbs; arg is a struct pd_api_context. */

/* The loop turns: always 200. */
void pd_livez_handle(void *arg, struct pd_exchange *exchange);
/* Work is accepted here: 503 while stopping, and while what makes sandboxes
 * does not answer. */
void pd_readyz_handle(void *arg, struct pd_exchange *exchange);
/* Runs come to something: 503 with a sentence where the engine is down, real runs
 * were lost lately, or the database cannot be written (plain runs go on then). For monitors; nobody should be restarted for it. */
void pd_health_handle(void *arg, struct pd_exchange *exchange);

#endif
