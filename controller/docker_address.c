#include "controller/docker_address.h"

#include <string.h>

#include "common/mem.h"

#define PORT_PLAIN 2375
#define PORT_TLS 2376

static int parse_port(const char *text, int *ret_port, struct pd_err *err)
{
    int port = 0;

    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9' || port > 65535)
            return pd_err_set(err, PD_INVALID, "'%s' is no port", text);
        port = port * 10 + (*p - '0');
    }
    if (port < 1 || port > 65535)
        return pd_err_set(err, PD_INVALID, "'%s' is no port (1 to 65535)", text);
    *ret_port = port;
    return 0;
}

static bool is_host_name(const char *host)
{
    return *host && host[strspn(host,
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789.-_:")] == '\0';
}

/* "name", "name:port", "[v6]:port", each perhaps with one slash at the end. */
static int parse_authority(const char *text, struct pd_docker_address *address, struct pd_err *err)
{
    pd_autofree char *copy = pd_strdup(text);
    size_t len = strlen(copy);
    char *host = copy, *port;

    if (len > 0 && copy[len - 1] == '/')
        copy[len - 1] = '\0';
    if (*copy == '[') {
        char *bracket = strchr(copy, ']');
        if (!bracket || (bracket[1] && bracket[1] != ':'))
            return pd_err_set(err, PD_INVALID, "'%s' is no host and port", text);
        host = copy + 1;
        port = bracket[1] ? bracket + 2 : NULL;
        *bracket = '\0';
    } else if ((port = strchr(copy, ':'))) {
        *port++ = '\0';
    }
    if (!is_host_name(host) || (port && !*port))
        return pd_err_set(err, PD_INVALID, "'%s' is no host and port", text);
    address->port = address->tls ? PORT_TLS : PORT_PLAIN;
    if (port && parse_port(port, &address->port, err) < 0)
        return PD_INVALID;
    address->host = pd_strdup(host);
    return 0;
}

static void set_base_url(struct pd_docker_address *address)
{
    bool v6 = strchr(address->host, ':') != NULL;

    address->base_url = pd_asprintf("%s://%s%s%s:%d", address->tls ? "https" : "http",
                                    v6 ? "[" : "", address->host, v6 ? "]" : "", address->port);
}

static void set_tls_files(struct pd_docker_address *address, const char *cert_path)
{
    if (!address->tls || !cert_path || !*cert_path)
        return;
    address->tls_files.ca_file = pd_asprintf("%s/ca.pem", cert_path);
    address->tls_files.cert_file = pd_asprintf("%s/cert.pem", cert_path);
    address->tls_files.key_file = pd_asprintf("%s/key.pem", cert_path);
}

static int parse_unix(const char *path, struct pd_docker_address *address, struct pd_err *err)
{
    if (*path != '/' || strlen(path) > 107) /* sizeof sun_path - 1 */
        return pd_err_set(err, PD_INVALID,
                          "'%s' is no path of a unix socket (absolute, at most 107 bytes)", path);
    address->socket_path = pd_strdup(path);
    address->base_url = pd_strdup("http://docker");
    return 0;
}

static int parse(const char *host, bool tls, const char *cert_path,
                 struct pd_docker_address *address, struct pd_err *err)
{
    static const char *const tcp[] = {"tcp://", "http://", "https://"};

    if (strncmp(host, "unix://", 7) == 0)
        return parse_unix(host + 7, address, err);
    for (unsigned i = 0; i < PD_COUNT(tcp); i++) {
        size_t len = strlen(tcp[i]);
        if (strncmp(host, tcp[i], len) != 0)
            continue;
        address->tls = tls || strcmp(tcp[i], "https://") == 0;
        if (parse_authority(host + len, address, err) < 0)
            return PD_INVALID;
        set_base_url(address);
        set_tls_files(address, cert_path);
        return 0;
    }
    return pd_err_set(err, PD_INVALID, "only unix:// and tcp:// can be used");
}

int pd_docker_address_parse(const char *host, bool tls, const char *cert_path,
                            struct pd_docker_address *ret_address, struct pd_err *err)
{
    struct pd_docker_address address = {0};
    const char *text = host && *host ? host : PD_DOCKER_HOST_DEFAULT;

    address.text = pd_strdup(text);
    if (parse(text, tls, cert_path, &address, err) < 0) {
        pd_docker_address_fini(&address);
        pd_err_wrap(err, "DOCKER_HOST '%s'", text);
        return PD_INVALID;
    }
    *ret_address = address;
    return 0;
}

void pd_docker_address_fini(struct pd_docker_address *address)
{
    free(address->text);
    free(address->socket_path);
    free(address->host);
    free(address->base_url);
    free((void *)address->tls_files.ca_file);
    free((void *)address->tls_files.cert_file);
    free((void *)address->tls_files.key_file);
    *address = (struct pd_docker_address){0};
}
