/* Where the Docker engine listens: DOCKER_HOST, DOCKER_TLS_VERIFY and
 * DOCKER_CERT_PATH as the docker command understands them. */
#ifndef PD_CONTROLLER_DOCKER_ADDRESS_H
#define PD_CONTROLLER_DOCKER_ADDRESS_H

#include <stdbool.h>

#include "common/err.h"
#include "common/loop_curl.h"

#define PD_DOCKER_HOST_DEFAULT "unix:///var/run/docker.sock"

struct pd_docker_address {
    char *text;        /* as given, for messages */
    char *socket_path; /* unix, else NULL */
    char *host;        /* tcp, else NULL; IPv6 without brackets */
    int port;
    bool tls;
    char *base_url;               /* "http://docker", "https://host:2376": no slash at the end */
    struct pd_http_tls tls_files; /* owned strings; all NULL without TLS */
};

/* host: "unix:///path", "tcp://name[:port]", "http://..." or "https://..." like
 * tcp; NULL or "": PD_DOCKER_HOST_DEFAULT. tls: speak TLS to a tcp host, with
 * ca.pem, cert.pem and key.pem of cert_path (NULL: $HOME/.docker is the
 * caller's to resolve; then the system's authorities, no certificate).
 * PD_INVALID says what cannot be used (ssh://, npipe://, a bad port). */
int pd_docker_address_parse(const char *host, bool tls, const char *cert_path,
                            struct pd_docker_address *ret_address, struct pd_err *err)
    __attribute__((warn_unused_result));
void pd_docker_address_fini(struct pd_docker_address *address);

#endif
