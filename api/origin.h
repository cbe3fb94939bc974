/* Who a browser is talking for.
 *
 * A page from anywhere can make a browser send requests here, with our cookie
 * where it counts as the same site (another port of this host does). Its Origin
 * header tells it apart: an origin is ours when it is the very host and port
 * that the request was sent to (RFC 6454). And a page whose name was made to
 * resolve to this machine (DNS rebinding) is told apart by that host: it must be
 * one by which this service is known. A numeric address always is, for such an
 * attack needs a name. Pure. */
#ifndef PD_API_ORIGIN_H
#define PD_API_ORIGIN_H

#include <stdbool.h>

/* By what names the service is known, besides numeric addresses and localhost. */
struct pd_hosts {
    const char *machine; /* this machine's name, or NULL */
    const char *names;   /* more, separated by commas or spaces, or NULL; without ports */
};

/* `host`: a Host header. Its port does not matter. */
bool pd_host_is_ours(const struct pd_hosts *hosts, const char *host);

/* Whether an Origin header names what a Host header names: the same host in any
 * case, the same port. The scheme may be either: a proxy may have ended TLS. */
bool pd_origin_is_host(const char *origin, const char *host);

#endif
