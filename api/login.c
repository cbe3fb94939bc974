#include "api/login.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/auth.h"
#include "api/context.h"
#include "api/form.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#define FORM_TYPE "application/x-www-form-urlencoded"
#define FORM_BYTES_MAX 2048
#define ANSWER_BYTES_MAX 4096
#define HEADERS_BYTES 256
#define PROTO_BYTES 16

static void problem(struct pd_exchange *exchange, int status, const char *detail)
{
    pd_exchange_problem(exchange, &(struct pd_problem_details){.status = status, .detail = detail});
}

static void reply_json(struct pd_exchange *exchange, int status, struct pd_node *node)
{
    struct pd_buf body;

    pd_buf_init(&body, ANSWER_BYTES_MAX);
    (void)!pd_json_format(node, &body, NULL);
    pd_node_free(node);
    pd_exchange_reply(exchange, status, "application/json", NULL, &body);
}

/* ---- logging in ---- */

/* Whether the browser's side of the way here is encrypted; a proxy on this machine
 * is believed. */
static bool is_secure(const struct pd_exchange *exchange)
{
    enum pd_way way = pd_exchange_way(exchange);
    char proto[PROTO_BYTES];

    if (way != PD_WAY_LOOPBACK)
        return way == PD_WAY_TLS;
    return pd_exchange_header(exchange, "x-forwarded-proto", proto, sizeof proto) &&
           strcasecmp(proto, "https") == 0;
}

static bool key_of_form(struct pd_api_context *api, const char *form, size_t len,
                        char key_id[static PD_KEY_ID_BYTES])
{
    char text[PD_KEY_TEXT_MAX + 1];
    const struct pd_key *key = NULL;

    if (pd_form_find(form, len, "link", text, sizeof text)) {
        if (pd_sessions_redeem(api->sessions, text, pd_time_now(), key_id))
            key = pd_keys_find(api->keys, key_id);
    } else if (pd_form_find(form, len, "key", text, sizeof text)) {
        key = pd_keys_check(api->keys, text, strlen(text));
    }
    pd_wipe(text, sizeof text);
    if (key)
        pd_strcpy(key_id, PD_KEY_ID_BYTES, key->record.id);
    return key != NULL;
}

static void log_in(struct pd_api_context *api, struct pd_exchange *exchange, const char *form,
                   size_t len, const char *secure)
{
    char headers[HEADERS_BYTES];
    char key_id[PD_KEY_ID_BYTES];
    char token[PD_TOKEN_BYTES];

    if (!key_of_form(api, form, len, key_id)) {
        problem(exchange, 401, "that is no key of this service, or no link that is still good");
        return;
    }
    pd_sessions_begin(api->sessions, key_id, pd_time_now(), token);
    snprintf(headers, sizeof headers,
             "Location: /\r\n"
             "Set-Cookie: %s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s\r\n",
             api->cookie, token, (long long)(PD_SESSION_LIFE_MS / 1000), secure);
    pd_log(PD_LOG_INFO, "login", "a browser has logged in", "key", key_id, NULL);
    pd_exchange_reply(exchange, 303, NULL, headers, NULL);
    pd_wipe(headers, sizeof headers);
    pd_wipe(token, sizeof token);
}

/* The head is gone when the body is there: what it said is in the choice of these. */
static void on_form(void *arg, struct pd_exchange *exchange, const char *form, size_t len)
{
    log_in(arg, exchange, form, len, "");
}

static void on_secure_form(void *arg, struct pd_exchange *exchange, const char *form, size_t len)
{
    log_in(arg, exchange, form, len, "; Secure");
}

void pd_login_handle(void *arg, struct pd_exchange *exchange)
{
    char type[64];

    if (!pd_exchange_header(exchange, "content-type", type, sizeof type) ||
        strncasecmp(type, FORM_TYPE, strlen(FORM_TYPE)) != 0) {
        problem(exchange, 415, "a login is a form: " FORM_TYPE);
        return;
    }
    pd_exchange_want_body(exchange, FORM_BYTES_MAX, is_secure(exchange) ? on_secure_form : on_form,
                          arg);
}

/* ---- sessions ---- */

void pd_session_get_handle(void *arg, struct pd_exchange *exchange)
{
    const struct pd_api_context *api = arg;
    struct pd_node *node = pd_node_map_new();
    char token[PD_TOKEN_BYTES];
    const struct pd_key *key = pd_keys_find(api->keys, pd_exchange_key_id(exchange));
    struct pd_node *scopes = pd_node_set(node, "scopes", pd_node_list_new());

    pd_node_set_string(node, "key_id", key->record.id);
    pd_node_set_string(node, "key_name", key->record.name);
    for (unsigned bit = PD_SCOPE_EXECUTE; bit <= PD_SCOPE_ADMIN; bit <<= 1) {
        char name[16];
        if (key->record.scopes & bit)
            pd_node_add(scopes, pd_node_string_new(pd_scopes_format(bit, name, sizeof name)));
    }
    if (pd_auth_token(api, exchange, token))
        pd_node_set_int(node, "expires_in",
                        pd_sessions_left_ms(api->sessions, token, pd_time_now()) / 1000);
    pd_wipe(token, sizeof token);
    reply_json(exchange, 200, node);
}

void pd_session_delete_handle(void *arg, struct pd_exchange *exchange)
{
    const struct pd_api_context *api = arg;
    char headers[HEADERS_BYTES];
    char token[PD_TOKEN_BYTES];

    if (pd_auth_token(api, exchange, token))
        pd_sessions_end(api->sessions, token);
    pd_wipe(token, sizeof token);
    snprintf(headers, sizeof headers,
             "Set-Cookie: %s=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict\r\n", api->cookie);
    pd_exchange_reply(exchange, 204, NULL, headers, NULL);
}

void pd_session_link_handle(void *arg, struct pd_exchange *exchange)
{
    const struct pd_api_context *api = arg;
    pd_autofree char *path = NULL;
    char link[PD_TOKEN_BYTES];
    struct pd_node *node;

    if (!pd_auth_has_key(exchange)) {
        problem(exchange, 403, "a login link is made with an API key, not by a session");
        return;
    }
    pd_sessions_offer(api->sessions, pd_exchange_key_id(exchange), pd_time_now(), link);
    path = pd_asprintf("/login#%s", link);
    node = pd_node_map_new();
    pd_node_set_string(node, "link", path);
    pd_node_set_int(node, "expires_in", PD_LINK_LIFE_MS / 1000);
    pd_wipe(link, sizeof link);
    pd_wipe(path, strlen(path));
    reply_json(exchange, 201, node);
}
