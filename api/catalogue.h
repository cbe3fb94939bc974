/* GET /languages: what can be run here, and where. */
#ifndef PD_API_CATALOGUE_H
#define PD_API_CATALOGUE_H

struct pd_exchange;

/* A pd_route_cb; arg is a struct pd_api_context.
 *   {"languages":[{"name":"python","aliases":["py"],"version":"Python 3.11.2",
 *                  "pools":["default"]}],
 *    "pools":[{"name":"default","languages":[{"name":"python","version":"..."}]}]}
 * A version that nobody has asked the image for yet is "". */
void pd_catalogue_handle(void *arg, struct pd_exchange *exchange);

#endif
