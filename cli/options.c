#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/state.h"
#include "common/mem.h"

#define DEFAULT_LISTEN "127.0.0.1:8000"
#define CONTROLLER_LISTEN "127.0.0.1:8001" /* beside an API on the same machine */
#define DEFAULT_KUBE_LISTEN "127.0.0.1:8443"
#define SYSTEM_CONFIG "/etc/paddock/default.yaml"

static const char common_help[] =
    "  --listen ADDR:PORT   where the API answers (PADDOCK_LISTEN; 127.0.0.1:8000,\n"
    "                       controller: 127.0.0.1:8001)\n"
    "  --kube-listen ADDR:PORT  where kubectl connects, by TLS; off: nowhere\n"
    "                       (PADDOCK_KUBE_LISTEN; 127.0.0.1:8443)\n"
    "  --host-names NAMES   names besides localhost by which browsers may reach the API, separated\n"
    "                       by commas (PADDOCK_HOST_NAMES; this machine's name always is one)\n"
    "  --config FILE        the default pool (PADDOCK_CONFIG; /etc/paddock/default.yaml, else built in)\n"
    "  --pools-dir DIR      manifests of more pools (PADDOCK_POOLS_DIR; pools.d beside the config)\n"
    "  --state-dir DIR      keys and what must last (PADDOCK_STATE_DIR; /var/lib/paddock for root,\n"
    "                       else ~/.local/state/paddock)\n"
    "  --log-level LEVEL    debug, info, warn or error (PADDOCK_LOG_LEVEL; info)\n"
    "  --log-format FORM    logfmt or json (PADDOCK_LOG_FORMAT; logfmt)\n"
    "\n"
    "A flag wins over the environment, the environment over files. The provider is\n"
    "the argument, else SANDBOX_PROVIDER, else docker. EXECUTION_API_KEY gives the API\n"
    "key; without one a key is made at first start: paddock key show. DOCKER_HOST says\n"
    "where the engine is. PADDOCK_TLS_CA names a PEM file with an authority's certificate\n"
    "and key, for replicas to share; without it there is one of our own.\n"
    "REDIS_URL (redis://, rediss:// with REDIS_CA_FILE, unix://) brings pools from there.\n"
    "SIGTERM and SIGINT drain and stop, SIGHUP reads the files again.\n";

static const char *const intros[] = {
    [PD_REPLICA_ALL] =
        "usage: paddock serve [docker|ecs] [flags]\n\n"
        "Keeps the pools and runs code. With REDIS_URL as one of several replicas, of which\n"
        "one leads.\n\n",
    [PD_REPLICA_LEADS] =
        "usage: paddock controller [docker|ecs] [flags]\n\n"
        "Stands for election among those on one Redis and engine; the one that leads reads\n"
        "its files for all, makes the sandboxes that the others wish for, and collects what\n"
        "the dead left. Runs nothing: answers /health, /livez, /readyz, /metrics and kubectl.\n"
        "Needs REDIS_URL.\n\n",
    [PD_REPLICA_OWNS] =
        "usage: paddock api [docker|ecs] [flags]\n\n"
        "Answers the API and runs code in sandboxes of its own, which whoever leads (paddock\n"
        "controller, or serve) makes for it. Never leads, and reads no manifests: it has the\n"
        "pools of the one that leads. Needs REDIS_URL.\n\n",
};

void pd_options_help(FILE *out, enum pd_replica_part part)
{
    fprintf(out, "%s%s", intros[part], common_help);
}

int pd_listen_parse(const char *text, char **ret_address, int *ret_port, struct pd_err *err)
{
    const char *colon = strrchr(text, ':');
    const char *digits = colon ? colon + 1 : text;
    const char *start = text;
    size_t len = colon ? (size_t)(colon - text) : 0;
    char *end;
    long port;

    errno = 0;
    port = strtol(digits, &end, 10);
    if (*digits < '0' || *digits > '9' || *end || errno || port > 65535)
        return pd_err_set(err, PD_INVALID, "listen address '%s': must end in a port, 0 to 65535",
                          text);
    if (len >= 2 && start[0] == '[' && start[len - 1] == ']') {
        start++;
        len -= 2;
    } else if (memchr(start, ':', len)) {
        return pd_err_set(err, PD_INVALID,
                          "listen address '%s': write an IPv6 address in brackets, [::1]:8000",
                          text);
    }
    *ret_address = len ? pd_strndup(start, len) : pd_strdup("127.0.0.1");
    *ret_port = (int)port;
    return 0;
}

char *pd_listen_url(void)
{
    const char *text = getenv("PADDOCK_LISTEN");
    pd_autofree char *address = NULL;
    const char *name;
    int port;

    if (pd_listen_parse(text && *text ? text : DEFAULT_LISTEN, &address, &port, NULL) < 0)
        return pd_strdup("http://" DEFAULT_LISTEN);
    name = strcmp(address, "0.0.0.0") == 0 ? "127.0.0.1"
           : strcmp(address, "::") == 0    ? "::1"
                                           : address;
    return strchr(name, ':') ? pd_asprintf("http://[%s]:%d", name, port)
                             : pd_asprintf("http://%s:%d", name, port);
}

/* The flag, else the environment, else the fallback (all may be NULL or ""). */
static const char *choose(const char *flag, const char *variable, const char *fallback)
{
    const char *env = getenv(variable);

    if (flag)
        return flag;
    return env && *env ? env : fallback;
}

static int parse_provider(const char *text, enum pd_provider_kind *ret_kind, struct pd_err *err)
{
    if (strcmp(text, "docker") == 0)
        *ret_kind = PD_PROVIDER_DOCKER;
    else if (strcmp(text, "ecs") == 0)
        *ret_kind = PD_PROVIDER_ECS;
    else
        return pd_err_set(err, PD_INVALID, "unknown provider '%s': docker or ecs", text);
    return 0;
}

/* What has this name beside the config file. */
static char *sibling(const char *config, const char *name)
{
    const char *slash = config ? strrchr(config, '/') : NULL;

    if (!config)
        return NULL;
    return slash ? pd_asprintf("%.*s/%s", (int)(slash - config), config, name)
                 : pd_strdup(name);
}

struct flags {
    const char *listen, *host_names, *config, *pools_dir, *state_dir, *log_level, *log_format, *provider;
    const char *kube_listen;
    bool help;
};

static int parse_flags(int argc, char **argv, struct flags *flags, struct pd_err *err)
{
    static const struct option table[] = {
        {"listen", required_argument, NULL, 'l'},    {"config", required_argument, NULL, 'c'},
        {"pools-dir", required_argument, NULL, 'p'}, {"state-dir", required_argument, NULL, 's'},
        {"log-level", required_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'},
        {"kube-listen", required_argument, NULL, 'k'},
        {"host-names", required_argument, NULL, 'b'},
        {"log-format", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };

    opterr = 0;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, ":h", table, NULL)) != -1;) {
        switch (c) {
        case 'l': flags->listen = optarg; break;
        case 'c': flags->config = optarg; break;
        case 'p': flags->pools_dir = optarg; break;
        case 's': flags->state_dir = optarg; break;
        case 'v': flags->log_level = optarg; break;
        case 'k': flags->kube_listen = optarg; break;
        case 'b': flags->host_names = optarg; break;
        case 'f': flags->log_format = optarg; break;
        case 'h': flags->help = true; break;
        case ':': return pd_err_set(err, PD_INVALID, "%s needs a value", argv[optind - 1]);
        default: return pd_err_set(err, PD_INVALID, "unknown flag %s", argv[optind - 1]);
        }
    }
    if (argc - optind > 1)
        return pd_err_set(err, PD_INVALID, "unexpected argument '%s'", argv[optind + 1]);
    flags->provider = argv[optind];
    return 0;
}

static int parse_kube_listen(const char *flag, struct pd_options *o, struct pd_err *err)
{
    const char *text = choose(flag, "PADDOCK_KUBE_LISTEN", NULL);

    o->kube_is_default = !text;
    if (text && strcmp(text, "off") == 0)
        return 0;
    return pd_listen_parse(text ? text : DEFAULT_KUBE_LISTEN, &o->kube_address, &o->kube_port, err);
}

static enum pd_replica_part part_of(const char *command)
{
    return strcmp(command, "controller") == 0 ? PD_REPLICA_LEADS
           : strcmp(command, "api") == 0      ? PD_REPLICA_OWNS
                                              : PD_REPLICA_ALL;
}

static const char *default_listen(enum pd_replica_part part)
{
    return part == PD_REPLICA_LEADS ? CONTROLLER_LISTEN : DEFAULT_LISTEN;
}

int pd_options_parse(int argc, char **argv, struct pd_options *ret_options, struct pd_err *err)
{
    struct pd_options *o = ret_options;
    struct flags flags = {.help = false};
    const char *level, *pools_dir;

    *o = (struct pd_options){.log_level = PD_LOG_INFO, .part = part_of(argv[0])};
    if (parse_flags(argc, argv, &flags, err) < 0 ||
        parse_provider(choose(flags.provider, "SANDBOX_PROVIDER", "docker"), &o->provider, err) < 0 ||
        pd_listen_parse(choose(flags.listen, "PADDOCK_LISTEN", default_listen(o->part)), &o->address,
                        &o->port, err) < 0 ||
        parse_kube_listen(flags.kube_listen, o, err) < 0)
        return PD_INVALID;
    level = choose(flags.log_level, "PADDOCK_LOG_LEVEL", "info");
    if (pd_log_level_parse(level, &o->log_level) < 0)
        return pd_err_set(err, PD_INVALID, "unknown log level '%s': debug, info, warn or error",
                          level);
    level = choose(flags.log_format, "PADDOCK_LOG_FORMAT", "logfmt");
    if (pd_log_format_parse(level, &o->log_format) < 0)
        return pd_err_set(err, PD_INVALID, "unknown log format '%s': logfmt or json", level);
    if (choose(flags.config, "PADDOCK_CONFIG", NULL))
        o->config = pd_strdup(choose(flags.config, "PADDOCK_CONFIG", NULL));
    else if (access(SYSTEM_CONFIG, F_OK) == 0)
        o->config = pd_strdup(SYSTEM_CONFIG);
    pools_dir = choose(flags.pools_dir, "PADDOCK_POOLS_DIR", NULL);
    o->pools_dir = pools_dir ? pd_strdup(pools_dir) : sibling(o->config, "pools.d");
    o->languages = sibling(o->config, "languages.yaml");
    o->state_dir = pd_state_dir(flags.state_dir);
    o->host_names = choose(flags.host_names, "PADDOCK_HOST_NAMES", NULL);
    o->docker.host = choose(NULL, "DOCKER_HOST", NULL);
    o->docker.tls_verify = choose(NULL, "DOCKER_TLS_VERIFY", NULL) != NULL;
    o->docker.cert_path = choose(NULL, "DOCKER_CERT_PATH", NULL);
    o->tls_ca_file = choose(NULL, "PADDOCK_TLS_CA", NULL);
    o->help = flags.help;
    return 0;
}

void pd_options_fini(struct pd_options *options)
{
    free(options->address);
    free(options->kube_address);
    free(options->config);
    free(options->pools_dir);
    free(options->languages);
    free(options->state_dir);
    *options = (struct pd_options){.port = 0};
}
