#include "cli/login.h"

#include <curl/curl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "api/keys.h"
#include "cli/options.h"
#include "cli/state.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"

#define ANSWER_BYTES_MAX (64u * 1024)
#define WAIT_S 20L

static const char usage[] =
    "usage: paddock login [--url URL] [--state-dir DIR]\n\n"
    "Prints a link that logs a browser in to the running service, once and within a\n"
    "minute. The service is at URL, else where PADDOCK_LISTEN says, else at\n"
    "http://127.0.0.1:8000. The key is $EXECUTION_API_KEY, or the one in the state\n"
    "folder.\n";

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    return pd_buf_add(arg, data, size * count, NULL) < 0 ? 0 : size * count;
}

static int key_header(const char *state_flag, char **ret_header, struct pd_err *err)
{
    const char *env_key = getenv("EXECUTION_API_KEY");
    pd_autofree char *dir = pd_state_dir(state_flag);
    char text[PD_KEY_TEXT_MAX + 1] = "";
    int rc = 0;

    if (env_key && *env_key)
        pd_strcpy(text, sizeof text, env_key);
    else if ((rc = pd_state_prepare(dir, err)) == 0)
        rc = pd_keys_load(dir, text, err);
    if (rc == 0)
        *ret_header = pd_asprintf("X-API-Key: %s", text);
    pd_wipe(text, sizeof text);
    return rc;
}

static CURLcode post(const char *url, const char *header, struct pd_buf *answer, long *ret_status)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, header);
    pd_autofree char *target = pd_asprintf("%s/session/links", url);
    CURLcode code;

    curl_easy_setopt(curl, CURLOPT_URL, target);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, WAIT_S);
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return code;
}

static const char *text_of(const struct pd_node *node, const char *member)
{
    const struct pd_node *text = pd_node_get(node, member);

    return text && text->kind == PD_NODE_STRING ? text->string.text : NULL;
}

static int print_link(const char *url, const char *header)
{
    pd_autobuf struct pd_buf answer;
    pd_autonode struct pd_node *node = NULL;
    const char *link;
    long status = 0;
    CURLcode code;

    pd_buf_init(&answer, ANSWER_BYTES_MAX);
    code = post(url, header, &answer, &status);
    if (code != CURLE_OK) {
        fprintf(stderr, "paddock login: %s: %s; is the service running?\n", url,
                curl_easy_strerror(code));
        return 1;
    }
    (void)!pd_json_parse(answer.data ? answer.data : "", answer.len, &node, NULL);
    link = text_of(node, "link");
    if (status != 201 || !link) {
        const char *detail = text_of(node, "detail");
        fprintf(stderr, "paddock login: %s answered %ld: %s\n", url, status,
                detail ? detail : "and no link");
        return 1;
    }
    printf("%s%s\n", url, link);
    return 0;
}

int pd_login_main(int argc, char **argv)
{
    static const struct option table[] = {
        {"url", required_argument, NULL, 'u'},
        {"state-dir", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    pd_autofree char *url = NULL;
    pd_autofree char *header = NULL;
    const char *state_dir = NULL;
    struct pd_err err = {0};
    int status;

    for (int c; (c = getopt_long(argc, argv, "h", table, NULL)) != -1;) {
        if (c == 'u') {
            free(url);
            url = pd_strdup(optarg);
        } else if (c == 's') {
            state_dir = optarg;
        } else {
            fputs(usage, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (key_header(state_dir, &header, &err) < 0) {
        fprintf(stderr, "paddock login: %s\n", err.msg);
        return 1;
    }
    if (!url)
        url = pd_listen_url();
    url[strcspn(url, "#")] = '\0';
    while (*url && url[strlen(url) - 1] == '/')
        url[strlen(url) - 1] = '\0';
    status = print_link(url, header);
    pd_wipe(header, strlen(header));
    return status;
}
