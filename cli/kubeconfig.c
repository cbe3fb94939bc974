#include "cli/kubeconfig.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/base64.h"
#include "api/keys.h"
#include "api/tls_identity.h"
#include "cli/state.h"
#include "common/buf.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/node.h"
#include "common/time.h"
#include "common/yaml.h"

#define URL_BYTES_MAX 1024
#define CONFIG_BYTES_MAX (64u * 1024)
#define DEFAULT_URL "https://127.0.0.1:8443"

static const char usage[] =
    "usage: paddock kubeconfig [--url URL] [--state-dir DIR]\n\n"
    "Prints a kubeconfig for the service of this state folder: its authority, its\n"
    "address (as it was at its last start) and a key, $PADDOCK_API_KEY or\n"
    "$EXECUTION_API_KEY, else the one in the state folder. Keep it as you keep the key.\n\n"
    "  paddock kubeconfig > ~/.kube/paddock\n"
    "  KUBECONFIG=~/.kube/paddock kubectl get sandboxpools\n";

struct facts {
    char *url;
    char *ca; /* PEM */
    char key[PD_KEY_TEXT_MAX + 1];
};

static void facts_fini(struct facts *facts)
{
    free(facts->url);
    free(facts->ca);
    pd_wipe(facts->key, sizeof facts->key);
}

static char *service_url(const char *dir)
{
    pd_autofree char *path = pd_asprintf("%s/kube-url", dir);
    char *text = NULL;
    size_t len;

    if (pd_file_read(path, URL_BYTES_MAX, &text, &len, NULL) < 0)
        return pd_strdup(DEFAULT_URL);
    text[strcspn(text, "\r\n")] = '\0';
    return text;
}

static int gather(const char *dir, const char *url, struct facts *facts, struct pd_err *err)
{
    pd_autofree char *tls_dir = pd_asprintf("%s/tls", dir);
    const char *given_ca = getenv("PADDOCK_TLS_CA");
    const struct pd_identity_config identity = {
        .dir = tls_dir,
        .ca_file = given_ca && *given_ca ? given_ca : NULL,
        .now_s = pd_wall_ms() / 1000,
    };
    const char *key = getenv("PADDOCK_API_KEY");
    int rc = pd_identity_ca(&identity, &facts->ca, err);

    if (rc == PD_NOT_FOUND)
        return pd_err_set(err, rc, "there is no authority in '%s' yet: start the service first",
                          tls_dir);
    if (rc < 0)
        return rc;
    facts->url = url ? pd_strdup(url) : service_url(dir);
    if (!key || !*key)
        key = getenv("EXECUTION_API_KEY");
    if (key && *key)
        pd_strcpy(facts->key, sizeof facts->key, key);
    else
        rc = pd_keys_load(dir, facts->key, err);
    return rc;
}

static struct pd_node *named(const char *name, const char *what, struct pd_node *value)
{
    struct pd_node *entry = pd_node_map_new(), *list = pd_node_list_new();

    pd_node_set_string(entry, "name", name);
    pd_node_set(entry, what, value);
    pd_node_add(list, entry);
    return list;
}

static struct pd_node *kubeconfig(const struct facts *facts)
{
    struct pd_node *config = pd_node_map_new(), *cluster = pd_node_map_new(),
                   *user = pd_node_map_new(), *context = pd_node_map_new();
    pd_autobuf struct pd_buf ca;

    pd_buf_init(&ca, CONFIG_BYTES_MAX);
    if (pd_base64_encode(facts->ca, strlen(facts->ca), &ca, NULL) < 0)
        abort(); /* one certificate */
    pd_node_set_string(config, "apiVersion", "v1");
    pd_node_set_string(config, "kind", "Config");
    pd_node_set_string(cluster, "server", facts->url);
    pd_node_set_string(cluster, "certificate-authority-data", ca.data);
    pd_node_set(config, "clusters", named("paddock", "cluster", cluster));
    pd_node_set_string(user, "token", facts->key);
    pd_node_set(config, "users", named("paddock", "user", user));
    pd_node_set_string(context, "cluster", "paddock");
    pd_node_set_string(context, "user", "paddock");
    pd_node_set_string(context, "namespace", "default");
    pd_node_set(config, "contexts", named("paddock", "context", context));
    pd_node_set_string(config, "current-context", "paddock");
    return config;
}

static int print_config(const struct facts *facts, struct pd_err *err)
{
    pd_autonode struct pd_node *config = kubeconfig(facts);
    struct pd_buf text;
    int rc;

    pd_buf_init(&text, CONFIG_BYTES_MAX);
    rc = pd_yaml_format(config, &text, err);
    if (rc == 0 && fwrite(text.data, 1, text.len, stdout) != text.len)
        rc = pd_err_set(err, PD_INTERNAL, "cannot write");
    if (text.data)
        pd_wipe(text.data, text.cap);
    pd_buf_fini(&text);
    return rc;
}

int pd_kubeconfig_main(int argc, char **argv)
{
    static const struct option table[] = {
        {"url", required_argument, NULL, 'u'},
        {"state-dir", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *url = NULL, *state_dir = NULL;
    pd_autofree char *dir = NULL;
    struct facts facts = {.url = NULL};
    struct pd_err err = {.kind = 0};
    int rc;

    for (int c; (c = getopt_long(argc, argv, "h", table, NULL)) != -1;) {
        switch (c) {
        case 'u': url = optarg; break;
        case 's': state_dir = optarg; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs(usage, stderr); return 2;
        }
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    dir = pd_state_dir(state_dir);
    rc = gather(dir, url, &facts, &err);
    if (rc == 0)
        rc = print_config(&facts, &err);
    if (rc < 0)
        fprintf(stderr, "paddock kubeconfig: %s\n", err.msg);
    facts_fini(&facts);
    return rc < 0 ? 1 : 0;
}
