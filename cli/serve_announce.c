/* What the service says once it serves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/serve_state.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/secret.h"

/* Where kubectl finds this service, for `paddock kubeconfig`. */
static void announce_kube(const struct service *service)
{
    const char *address = service->options.kube_address;
    int port = pd_api_kube_port(service->api);
    pd_autofree char *path = pd_asprintf("%s/kube-url", service->state.dir);
    pd_autofree char *url = NULL;
    struct pd_err err;

    if (port == 0) {
        unlink(path);
        return;
    }
    url =
        pd_asprintf(strchr(address, ':') ? "https://[%s]:%d\n" : "https://%s:%d\n", address, port);
    if (pd_file_write_atomic(path, url, strlen(url), 0600, &err) < 0)
        pd_log(PD_LOG_WARN, "serve", "paddock kubeconfig will not know the port", "err", err.msg,
               NULL);
    url[strlen(url) - 1] = '\0';
    pd_log(PD_LOG_INFO, "serve", "kubectl connects here: paddock kubeconfig", "kube", url, NULL);
}

/* A browser's way in, good once and for a minute: for the person at the terminal. */
static void print_link(const struct service *service, const char *url, const char *key)
{
    const struct pd_key *record = key ? pd_keys_check(service->keys, key, strlen(key)) : NULL;
    char link[PD_TOKEN_BYTES];

    if (!record)
        return;
    pd_api_login_link(service->api, record->record.id, link);
    fprintf(stderr,
            "\n    console: %s/login#%s\n    (once, within %d s; another one: paddock login)\n\n",
            url, link, (int)(PD_LINK_LIFE_MS / 1000));
    pd_wipe(link, sizeof link);
}

/* Secrets are shown only to a person, on a terminal: the key at its making. */
static void announce_key(const struct service *service, const char *url)
{
    pd_autofree char *path = pd_asprintf("%s/key", service->state.dir);
    const char *env_key = getenv("EXECUTION_API_KEY");
    char text[PD_KEY_TEXT_MAX + 1] = "";

    if (service->key_is_kept)
        pd_log(PD_LOG_INFO, "serve", "the API key is shown by: paddock key show", "path", path,
               NULL);
    if (!isatty(STDERR_FILENO))
        return;
    if (service->key_is_kept && pd_keys_load(service->state.dir, text, NULL) < 0)
        return;
    if (service->key_is_new)
        fprintf(stderr, "\n    API key: %s\n", text);
    print_link(service, url, service->key_is_kept ? text : env_key);
    pd_wipe(text, sizeof text);
}

/* What a person who has just started it wants to know. */
void pd_service_announce(const struct service *service)
{
    pd_autofree char *url =
        pd_asprintf(strchr(service->options.address, ':') ? "http://[%s]:%d" : "http://%s:%d",
                    service->options.address, pd_api_port(service->api));

    announce_kube(service);
    pd_log(PD_LOG_INFO, "serve", "serving", "url", url, "version", PD_VERSION, "state_dir",
           service->state.dir, "instance", service->state.instance, NULL);
    announce_key(service, url);
}
