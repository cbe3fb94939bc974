/* Links of the simulated provider (provider_sim.h), and the agents at their other ends: each
 * says HELLO to whoever attaches with a newer epoch, and FAULT to others. Nothing is said or
 * heard but in provider_sim_streams_run. */
#ifndef PD_TESTS_LIB_PROVIDER_SIM_STREAM_H
#define PD_TESTS_LIB_PROVIDER_SIM_STREAM_H

#include <stdbool.h>

#include "tests/lib/provider_sim.h"

/* One to the instance's agent, instead of an earlier one; whoever gets it closes it. */
struct pd_stream *provider_sim_stream_new(struct provider_sim *sim,
                                          struct provider_sim_instance *instance);
/* It breaks, where there is one: its reader is told. */
void provider_sim_stream_end(struct provider_sim_instance *instance);
/* Let agents hear and say what they have to; true when anything was said. */
bool provider_sim_streams_run(struct provider_sim *sim);

#endif
