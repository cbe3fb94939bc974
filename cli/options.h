/* What `paddock serve`, `controller` and `api` are told: by flags, else the environment, else defaults. */
#ifndef PD_CLI_OPTIONS_H
#define PD_CLI_OPTIONS_H

#include <stdio.h>

#include "common/err.h"
#include "common/log.h"
#include "common/pool.h"
#include "controller/replica.h"

struct pd_options {
    enum pd_replica_part part;      /* by the command */
    enum pd_provider_kind provider; /* argument, SANDBOX_PROVIDER, docker */
    char *address;                  /* --listen, PADDOCK_LISTEN, 127.0.0.1; without brackets */
    int port;                       /* likewise, 8000, of a controller 8001; 0: any free one */
    char *kube_address;             /* --kube-listen, PADDOCK_KUBE_LISTEN, 127.0.0.1; NULL: off */
    int kube_port;                  /* likewise, 8443; 0: any free one */
    bool kube_is_default;           /* nobody asked for it: it may be missing */
    const char *tls_ca_file;        /* PADDOCK_TLS_CA; NULL: an own authority; borrowed */
    const char *host_names;         /* --host-names, PADDOCK_HOST_NAMES, NULL; borrowed */
    char *config;                   /* --config, PADDOCK_CONFIG, /etc/paddock/default.yaml where
                                       it exists, else NULL: the built-in one */
    char *pools_dir;                /* --pools-dir, PADDOCK_POOLS_DIR, pools.d beside the config
                                       file; NULL: none */
    char *languages;                /* languages.yaml beside the config file; NULL: none. Where
                                       it does not exist the built-in one is meant */
    char *state_dir;                /* --state-dir, or as pd_state_dir says */
    struct {
        const char *host;      /* DOCKER_HOST; NULL where it is not set; borrowed */
        bool tls_verify;       /* DOCKER_TLS_VERIFY is set */
        const char *cert_path; /* DOCKER_CERT_PATH; NULL where it is not set; borrowed */
    } docker;
    enum pd_log_level log_level;    /* --log-level, PADDOCK_LOG_LEVEL, info */
    enum pd_log_format log_format;  /* --log-format, PADDOCK_LOG_FORMAT, logfmt */
    bool help;                      /* --help was among the flags */
};

void pd_options_help(FILE *out, enum pd_replica_part part);

/* argv[0] is "serve", "controller" or "api". PD_INVALID says what is wrong. Free the result either way. */
int pd_options_parse(int argc, char **argv, struct pd_options *ret_options, struct pd_err *err);
void pd_options_fini(struct pd_options *options);

/* "8000", ":8000", "0.0.0.0:8000", "[::1]:8000", "localhost:0". The caller frees
 * *ret_address. */
int pd_listen_parse(const char *text, char **ret_address, int *ret_port, struct pd_err *err);
/* Where a client on this machine reaches a service that listens where PADDOCK_LISTEN
 * says; an address that means all of the machine's is asked at its loopback. The
 * caller frees. Never NULL. */
char *pd_listen_url(void);

#endif
