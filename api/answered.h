/* What is counted and logged of every answer: its route, status and time. At
 * debug, but a 500, which is our own fault, at warn. Never a path's parameters, a
 * body or a key; a key's id tells nothing about it. */
#ifndef PD_API_ANSWERED_H
#define PD_API_ANSWERED_H

#include "api/server.h"
#include "common/metrics.h"

void pd_answered(struct pd_metrics *metrics, const struct pd_exchange *exchange, int status);

/* Which run a request began or was given: the line that leads from a trace to the lines
 * of a run. At debug. */
void pd_answered_run(const struct pd_exchange *exchange, const char *run);

#endif
