/* The conditions of a pool, in the manner of Kubernetes: Available (enough
 * sandboxes serve), Progressing (on the way to what is desired), Degraded
 * (something needs attention). Pure. */
#ifndef PD_CONTROLLER_CONDITION_H
#define PD_CONTROLLER_CONDITION_H

#include <stdbool.h>

#include "controller/decide.h"

/* What decide found out on its way. */
struct pd_findings {
    int wanted;
    int serving;   /* warm and claimed, those on their way out not counted */
    int tolerated; /* how many of minSize an update may take out of service */
    int outdated;  /* of an earlier template */
    bool changing; /* the plan has actions, or earlier ones are under way */
};

/* Fills status->available, progressing and degraded; the counts are there. */
void pd_conditions_set(const struct pd_pool_spec *spec, const struct pd_view *view,
                       const struct pd_findings *findings, struct pd_pool_status *status);

#endif
