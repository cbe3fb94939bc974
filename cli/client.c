#include "cli/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "api/keys.h"
#include "api/tls_identity.h"
#include "cli/state.h"
#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/time.h"

#define DEFAULT_URL "http://127.0.0.1:8000"
#define URL_BYTES_MAX 1024
#define TIMEOUT_S 60L
#define API "/apis/paddock.dev/v1/namespaces/default/"

struct pd_client {
    CURL *curl;
    char *url;
    char *ca; /* PEM of the state folder's authority; NULL: the system's */
    char key[PD_KEY_TEXT_MAX + 1];
    long status;
};

static const char *env(const char *name)
{
    const char *text = getenv(name);

    return text && *text ? text : NULL;
}

static int find_key(struct pd_client *client, const char *dir, struct pd_err *err)
{
    const char *key = env("PADDOCK_API_KEY") ? env("PADDOCK_API_KEY") : env("EXECUTION_API_KEY");
    int rc;

    if (key) {
        pd_strcpy(client->key, sizeof client->key, key);
        return 0;
    }
    rc = pd_state_prepare(dir, err);
    return rc < 0 ? rc : pd_keys_load(dir, client->key, err);
}

static void find_ca(struct pd_client *client, const char *dir)
{
    pd_autofree char *tls_dir = pd_asprintf("%s/tls", dir);
    const struct pd_identity_config identity = {
        .dir = tls_dir, .ca_file = env("PADDOCK_TLS_CA"), .now_s = pd_wall_ms() / 1000};

    if (pd_identity_ca(&identity, &client->ca, NULL) < 0)
        client->ca = NULL;
}

static void find_url(struct pd_client *client, const char *flag, const char *dir)
{
    pd_autofree char *path = pd_asprintf("%s/kube-url", dir);
    size_t len;

    if (!flag)
        flag = env("PADDOCK_URL");
    if (flag)
        client->url = pd_strdup(flag);
    else if (pd_file_read(path, URL_BYTES_MAX, &client->url, &len, NULL) < 0)
        client->url = pd_strdup(DEFAULT_URL);
    client->url[strcspn(client->url, "\r\n#")] = '\0';
    while (*client->url && client->url[strlen(client->url) - 1] == '/')
        client->url[strlen(client->url) - 1] = '\0';
    if (strncmp(client->url, "https://", 8) == 0)
        find_ca(client, dir);
}

int pd_client_open(const char *url, const char *state_dir, struct pd_client **ret_client,
                   struct pd_err *err)
{
    pd_autofree char *dir = pd_state_dir(state_dir);
    struct pd_client *client = PD_NEW(struct pd_client);
    int rc = find_key(client, dir, err);

    if (rc < 0) {
        free(client);
        return rc;
    }
    find_url(client, url, dir);
    client->curl = curl_easy_init();
    if (!client->curl)
        abort();
    *ret_client = client;
    return 0;
}

void pd_client_close(struct pd_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    pd_wipe(client->key, sizeof client->key);
    free(client->ca);
    free(client->url);
    free(client);
}

long pd_client_status(const struct pd_client *client)
{
    return client->status;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    return pd_buf_add(arg, data, size * count, NULL) < 0 ? 0 : size * count;
}

static void add_header(struct curl_slist **list, const char *name, const char *value)
{
    char *line = pd_asprintf("%s: %s", name, value);

    *list = curl_slist_append(*list, line);
    pd_wipe(line, strlen(line));
    free(line);
}

static CURLcode perform(struct pd_client *client, const struct pd_client_call *call,
                        struct pd_buf *answer)
{
    pd_autofree char *url = pd_asprintf("%s%s", client->url, call->path);
    struct curl_blob ca = {.data = client->ca, .len = client->ca ? strlen(client->ca) : 0};
    struct curl_slist *headers = NULL;
    CURL *curl = client->curl;
    CURLcode code;

    add_header(&headers, "X-API-Key", client->key);
    add_header(&headers, "Accept", call->accept ? call->accept : "application/json");
    add_header(&headers, "Content-Type",
               call->content_type ? call->content_type : "application/json");
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* the key is the service's alone */
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    if (call->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, call->timeout_s ? call->timeout_s : TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "paddock/" PD_VERSION);
    if (client->ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &ca);
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &client->status);
    curl_slist_free_all(headers);
    return code;
}

static int kind_of(long status)
{
    switch (status) {
    case 401:
    case 403:
        return PD_DENIED;
    case 404:
        return PD_NOT_FOUND;
    case 409:
        return PD_CONFLICT;
    case 429:
        return PD_THROTTLED;
    default:
        return status >= 500 ? PD_UNAVAILABLE : PD_INVALID;
    }
}

/* A Status has a message, problem details have a detail. */
static int refused(const struct pd_client *client, const struct pd_node *answer, struct pd_err *err)
{
    static const char *const members[] = {"message", "detail"};

    for (size_t i = 0; i < PD_COUNT(members); i++) {
        const struct pd_node *text = pd_node_get(answer, members[i]);
        if (text && text->kind == PD_NODE_STRING)
            return pd_err_set(err, kind_of(client->status), "%s", text->string.text);
    }
    return pd_err_set(err, kind_of(client->status), "%s answered %ld", client->url, client->status);
}

int pd_client_ask(struct pd_client *client, const struct pd_client_call *call,
                  struct pd_node **ret_answer, struct pd_err *err)
{
    pd_autonode struct pd_node *answer = NULL;
    pd_autobuf struct pd_buf text;
    CURLcode code;

    pd_buf_init(&text, PD_CLIENT_ANSWER_MAX);
    client->status = 0;
    code = perform(client, call, &text);
    if (code != CURLE_OK)
        return pd_err_set(err, PD_UNAVAILABLE, "%s: %s; is the service running?", client->url,
                          curl_easy_strerror(code));
    if (text.len > 0 && pd_json_parse(text.data, text.len, &answer, err) < 0)
        return pd_err_set(err, PD_UNAVAILABLE, "%s answered %ld, and no JSON", client->url,
                          client->status);
    if (client->status >= 400)
        return refused(client, answer, err);
    *ret_answer = PD_STEAL(answer);
    return 0;
}

const char *pd_client_collection(const char *word)
{
    static const struct {
        const char *word, *path;
    } words[] = {
        {"pools", API "sandboxpools"},
        {"pool", API "sandboxpools"},
        {"sandboxpools", API "sandboxpools"},
        {"sandboxpool", API "sandboxpools"},
        {"sbp", API "sandboxpools"},
        {"sandboxes", API "sandboxes"},
        {"sandbox", API "sandboxes"},
        {"sb", API "sandboxes"},
        {"events", "/api/v1/namespaces/default/events"},
        {"event", "/api/v1/namespaces/default/events"},
        {"ev", "/api/v1/namespaces/default/events"},
    };

    for (size_t i = 0; i < PD_COUNT(words); i++) {
        if (strcmp(words[i].word, word) == 0)
            return words[i].path;
    }
    return NULL;
}
