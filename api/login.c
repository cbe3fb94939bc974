#include "api/login.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/auth.h"
#include "api/context.h"
#include "api/form.h"
#include "api/shared_sessions.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#define FORM_TYPE "application/x-www-form-urlencoded"
#define FORM_BYTES_MAX 2048
#define ANSWER_BYTES_MAX 4096
#define HEADERS_BYTES 256
#define PROTO_BYTES 16
#define FORWARDED_BYTES 512

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

/* One login. What the head said is kept until the form has come, and what is asked of
 * Redis until it has answered, which may be after the browser hung up. */
struct login {
    struct pd_api_context *api;
    struct pd_exchange *exchange; /* NULL: it is gone, and so may be `api` */
    struct pd_address address;
    bool secure;
    bool asking; /* Redis */
    char key_id[PD_KEY_ID_BYTES];
    char token[PD_TOKEN_BYTES];
};

/* Where the browser is; a proxy on this machine is believed. */
static struct pd_address address_of(const struct pd_exchange *exchange)
{
    char forwarded[FORWARDED_BYTES];
    struct pd_address address;

    pd_exchange_peer(exchange, address.bytes);
    if (pd_exchange_way(exchange) == PD_WAY_LOOPBACK &&
        pd_exchange_header(exchange, "x-forwarded-for", forwarded, sizeof forwarded))
        (void)!pd_address_forwarded(forwarded, &address);
    return address;
}

static void free_login(struct login *login)
{
    pd_wipe(login->token, sizeof login->token);
    free(login);
}

static void on_exchange_ended(void *arg)
{
    struct login *login = arg;

    login->exchange = NULL;
    if (!login->asking)
        free_login(login);
}

static void on_gone(void *arg)
{
    (void)arg; /* on_exchange_ended follows */
}

/* Whether there is still somebody to answer. */
static bool has_come_back(struct login *login)
{
    bool there = login->exchange != NULL;

    login->asking = false;
    if (!there)
        free_login(login);
    return there;
}

static void give_cookie(struct login *login)
{
    char headers[HEADERS_BYTES];

    snprintf(headers, sizeof headers,
             "Location: /\r\n"
             "Set-Cookie: %s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s\r\n",
             login->api->cookie, login->token, (long long)(PD_SESSION_LIFE_MS / 1000),
             login->secure ? "; Secure" : "");
    pd_log(PD_LOG_INFO, "login", "a browser has logged in", "key", login->key_id, NULL);
    pd_exchange_reply(login->exchange, 303, NULL, headers, NULL);
    pd_wipe(headers, sizeof headers);
}

static void refuse(struct pd_exchange *exchange, const struct pd_err *err)
{
    struct pd_problem_details details;
    struct pd_err wrapped = *err;

    pd_err_wrap(&wrapped, "sessions are shared through Redis");
    wrapped.kind = PD_UNAVAILABLE; /* nothing is wrong with what was asked */
    pd_failure_details(&wrapped, 0, &details);
    pd_exchange_problem(exchange, &details);
}

static void on_session_shared(void *arg, const struct pd_err *err, const char *key_id)
{
    struct login *login = arg;

    (void)key_id;
    if (!has_come_back(login))
        return;
    if (!err) {
        give_cookie(login);
        return;
    }
    pd_sessions_end(login->api->sessions, login->token);
    refuse(login->exchange, err);
}

static void begin(struct login *login, const struct pd_key *key)
{
    struct pd_api_context *api = login->api;
    struct pd_err err;

    if (!key) {
        problem(login->exchange, 401,
                "that is no key of this service, or no link that is still good");
        return;
    }
    pd_strcpy(login->key_id, sizeof login->key_id, key->record.id);
    pd_sessions_begin(api->sessions, login->key_id, pd_time_now(), login->token);
    if (!api->shared_sessions) {
        give_cookie(login);
    } else if (pd_shared_sessions_begin(api->shared_sessions, login->token, login->key_id,
                                        on_session_shared, login, &err) < 0) {
        pd_sessions_end(api->sessions, login->token);
        refuse(login->exchange, &err);
    } else {
        login->asking = true;
        pd_exchange_on_gone(login->exchange, on_gone, NULL);
    }
}

static void on_link_redeemed(void *arg, const struct pd_err *err, const char *key_id)
{
    struct login *login = arg;

    if (!has_come_back(login))
        return;
    if (err)
        refuse(login->exchange, err);
    else
        begin(login, key_id ? pd_keys_find(login->api->keys, key_id) : NULL);
}

/* A link cannot be guessed: who has one is not made to wait for those who guess keys. */
static void by_link(struct login *login, const char *link)
{
    struct pd_api_context *api = login->api;
    char key_id[PD_KEY_ID_BYTES];
    struct pd_err err;

    if (pd_sessions_redeem(api->sessions, link, pd_time_now(), key_id)) {
        begin(login, pd_keys_find(api->keys, key_id));
    } else if (!api->shared_sessions) {
        begin(login, NULL);
    } else if (pd_shared_sessions_redeem(api->shared_sessions, link, on_link_redeemed, login,
                                         &err) < 0) {
        refuse(login->exchange, &err);
    } else {
        login->asking = true;
        pd_exchange_on_gone(login->exchange, on_gone, NULL);
    }
}

static void by_key(struct login *login, const char *text)
{
    struct pd_guesses *guesses = login->api->guesses;
    int64_t wait_ms = pd_guesses_wait_ms(guesses, &login->address, pd_time_now());
    const struct pd_key *key;

    if (wait_ms > 0) {
        pd_exchange_problem(login->exchange, &(struct pd_problem_details){
                                                 .status = 429,
                                                 .detail = "too many logins failed from here",
                                                 .retry_after_s = pd_retry_after_s(wait_ms)});
        return;
    }
    key = pd_keys_check(login->api->keys, text, strlen(text));
    if (!key)
        pd_guesses_failed(guesses, &login->address, pd_time_now());
    begin(login, key);
}

static void on_form(void *arg, struct pd_exchange *exchange, const char *form, size_t len)
{
    struct login *login = pd_exchange_note(exchange);
    char text[PD_KEY_TEXT_MAX + 1];

    (void)arg;
    if (pd_form_find(form, len, "link", text, sizeof text))
        by_link(login, text);
    else if (pd_form_find(form, len, "key", text, sizeof text))
        by_key(login, text);
    else
        begin(login, NULL);
    pd_wipe(text, sizeof text);
}

void pd_login_handle(void *arg, struct pd_exchange *exchange)
{
    struct login *login;
    char type[64];

    if (!pd_exchange_header(exchange, "content-type", type, sizeof type) ||
        strncasecmp(type, FORM_TYPE, strlen(FORM_TYPE)) != 0) {
        problem(exchange, 415, "a login is a form: " FORM_TYPE);
        return;
    }
    login = PD_NEW(struct login);
    *login = (struct login){.api = arg, .exchange = exchange, .secure = is_secure(exchange)};
    login->address = address_of(exchange);
    pd_exchange_set_note(exchange, login, on_exchange_ended);
    pd_exchange_want_body(exchange, FORM_BYTES_MAX, on_form, NULL);
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

static void end_session(const struct pd_api_context *api, const char *token)
{
    pd_sessions_end(api->sessions, token);
    if (api->shared_sessions)
        pd_shared_sessions_end(api->shared_sessions, token);
}

void pd_session_delete_handle(void *arg, struct pd_exchange *exchange)
{
    const struct pd_api_context *api = arg;
    char headers[HEADERS_BYTES];
    char token[PD_TOKEN_BYTES];

    if (pd_auth_token(api, exchange, token))
        end_session(api, token);
    pd_wipe(token, sizeof token);
    snprintf(headers, sizeof headers,
             "Set-Cookie: %s=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict\r\n", api->cookie);
    pd_exchange_reply(exchange, 204, NULL, headers, NULL);
}

/* ---- links ---- */

static void give_link(struct pd_exchange *exchange, const char *link)
{
    pd_autofree char *path = pd_asprintf("/login#%s", link);
    struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "link", path);
    pd_node_set_int(node, "expires_in", PD_LINK_LIFE_MS / 1000);
    pd_wipe(path, strlen(path));
    reply_json(exchange, 201, node);
}

static void on_link_shared(void *arg, const struct pd_err *err, const char *key_id)
{
    struct login *login = arg;

    (void)key_id;
    if (!has_come_back(login))
        return;
    if (err)
        refuse(login->exchange, err);
    else
        give_link(login->exchange, login->token);
}

static void share_link(struct pd_api_context *api, struct pd_exchange *exchange)
{
    struct login *login = PD_NEW(struct login);
    struct pd_err err;

    *login = (struct login){.api = api, .exchange = exchange};
    pd_exchange_set_note(exchange, login, on_exchange_ended);
    if (pd_shared_sessions_offer(api->shared_sessions, pd_exchange_key_id(exchange), login->token,
                                 on_link_shared, login, &err) < 0) {
        refuse(exchange, &err);
        return;
    }
    login->asking = true;
    pd_exchange_on_gone(exchange, on_gone, NULL);
}

void pd_session_link_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;
    char link[PD_TOKEN_BYTES];

    if (!pd_auth_has_key(exchange)) {
        problem(exchange, 403, "a login link is made with an API key, not by a session");
        return;
    }
    if (api->shared_sessions) {
        share_link(api, exchange);
        return;
    }
    pd_sessions_offer(api->sessions, pd_exchange_key_id(exchange), pd_time_now(), link);
    give_link(exchange, link);
    pd_wipe(link, sizeof link);
}
