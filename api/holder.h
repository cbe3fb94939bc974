/* Who holds a TCP port: for the message that says that ours is taken. */
#ifndef PD_API_HOLDER_H
#define PD_API_HOLDER_H

#include <stdbool.h>
#include <stddef.h>

/* "python3 (process 4242)", found by way of /proc/net/tcp, tcp6 and /proc/N/fd;
 * false when it cannot be found out (another user's process, another network
 * namespace). */
bool pd_port_holder(int port, char *out, size_t out_bytes);

#endif
