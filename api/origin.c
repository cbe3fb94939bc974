#include "api/origin.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"

#define HOST_BYTES 256

static bool is_port_or_end(const char *text)
{
    return !*text || (*text == ':' && text[1 + strspn(text + 1, "0123456789")] == '\0');
}

/* The host of "host", "host:port", "[::1]" or "[::1]:port", without brackets and
 * a final dot. False when it is none. */
static bool host_name(const char *host, char out[static HOST_BYTES])
{
    bool bracket = *host == '[';
    const char *start = host + bracket;
    size_t len = strcspn(start, bracket ? "]" : ":");

    if ((bracket && start[len] != ']') || !is_port_or_end(start + len + bracket))
        return false;
    if (len > 0 && start[len - 1] == '.')
        len--;
    if (len == 0 || len >= HOST_BYTES)
        return false;
    memcpy(out, start, len);
    out[len] = '\0';
    return true;
}

static bool is_numeric(const char *name)
{
    struct in6_addr address;

    return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

static bool is_listed(const char *names, const char *name)
{
    size_t name_len = strlen(name);

    while (names && *names) {
        size_t len;
        names += strspn(names, ", ");
        len = strcspn(names, ", ");
        if (len == name_len && strncasecmp(names, name, len) == 0)
            return true;
        names += len;
    }
    return false;
}

bool pd_host_is_ours(const struct pd_hosts *hosts, const char *host)
{
    char name[HOST_BYTES];

    if (!host_name(host, name))
        return false;
    return is_numeric(name) || strcasecmp(name, "localhost") == 0 ||
           (hosts->machine && *hosts->machine && strcasecmp(name, hosts->machine) == 0) ||
           is_listed(hosts->names, name);
}

/* An authority without the port that its scheme would have anyway. */
static size_t without_port(const char *authority, const char *port)
{
    size_t len = strlen(authority);
    size_t port_len = strlen(port);

    return len > port_len && strcmp(authority + len - port_len, port) == 0 ? len - port_len : len;
}

bool pd_origin_is_host(const char *origin, const char *host)
{
    static const struct {
        const char *scheme, *port;
    } schemes[] = {{"http://", ":80"}, {"https://", ":443"}};

    for (size_t i = 0; i < PD_COUNT(schemes); i++) {
        size_t skip = strlen(schemes[i].scheme);
        size_t len;
        if (strncasecmp(origin, schemes[i].scheme, skip) != 0)
            continue;
        len = without_port(origin + skip, schemes[i].port);
        return len > 0 && len == without_port(host, schemes[i].port) &&
               strncasecmp(origin + skip, host, len) == 0;
    }
    return false;
}
