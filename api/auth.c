#include "api/auth.h"

#include <string.h>
#include <strings.h>

#include "api/cookie.h"
#include "common/mem.h"
#include "common/time.h"

#define HEADER_BYTES 512   /* longest header value that is looked at */
#define COOKIES_BYTES 4096 /* likewise of Cookie: other services of this host set some, too */

/* ---- who ---- */

static const char *key_in_bearer(const char *authorization)
{
    if (strncasecmp(authorization, "Bearer ", 7) != 0)
        return NULL;
    return authorization + 7 + strspn(authorization + 7, " ");
}

bool pd_auth_has_key(const struct pd_exchange *exchange)
{
    char text[HEADER_BYTES];
    bool has = pd_exchange_header(exchange, "x-api-key", text, sizeof text) ||
               pd_exchange_header(exchange, "authorization", text, sizeof text);

    pd_wipe(text, sizeof text);
    return has;
}

/* X-API-Key comes first where both are sent. */
static const struct pd_key *by_key(const struct pd_api_context *api, const struct pd_exchange *exchange)
{
    char text[HEADER_BYTES];
    const char *sent = NULL;
    const struct pd_key *key;

    if (pd_exchange_header(exchange, "x-api-key", text, sizeof text))
        sent = text;
    else if (pd_exchange_header(exchange, "authorization", text, sizeof text))
        sent = key_in_bearer(text);
    key = sent ? pd_keys_check(api->keys, sent, strlen(sent)) : NULL;
    pd_wipe(text, sizeof text);
    return key;
}

bool pd_auth_token(const struct pd_api_context *api, const struct pd_exchange *exchange,
                   char ret_token[static PD_TOKEN_BYTES])
{
    char cookies[COOKIES_BYTES];
    bool found = pd_exchange_header(exchange, "cookie", cookies, sizeof cookies) &&
                 pd_cookie_find(cookies, api->cookie, ret_token, PD_TOKEN_BYTES);

    pd_wipe(cookies, sizeof cookies);
    return found;
}

/* The key is looked up again each time: with a key that is revoked go its sessions. */
static const struct pd_key *by_cookie(const struct pd_api_context *api,
                                      const struct pd_exchange *exchange)
{
    char token[PD_TOKEN_BYTES];
    const char *id = NULL;

    if (pd_auth_token(api, exchange, token))
        id = pd_sessions_find(api->sessions, token, pd_time_now());
    pd_wipe(token, sizeof token);
    return id ? pd_keys_find(api->keys, id) : NULL;
}

/* ---- for whom ---- */

static bool changes_something(const struct pd_exchange *exchange)
{
    enum pd_method method = pd_exchange_method(exchange);
    char upgrade[HEADER_BYTES];

    return (method != PD_METHOD_GET && method != PD_METHOD_HEAD) ||
           pd_exchange_header(exchange, "upgrade", upgrade, sizeof upgrade);
}

/* What the browser itself says of the page (Fetch Metadata); "" where it does not. */
static void fetch_site(const struct pd_exchange *exchange, char site[static HEADER_BYTES])
{
    if (!pd_exchange_header(exchange, "sec-fetch-site", site, HEADER_BYTES))
        site[0] = '\0';
}

static bool is_foreign_origin(const struct pd_exchange *exchange, const char *origin,
                              const char *host)
{
    char site[HEADER_BYTES];

    if (strcmp(origin, "null") != 0)
        return !pd_origin_is_host(origin, host);
    fetch_site(exchange, site); /* a page of ours that sends no referrer posts a form so */
    return strcmp(site, "same-origin") != 0;
}

static bool is_foreign_silence(const struct pd_exchange *exchange, bool changes)
{
    char site[HEADER_BYTES];

    fetch_site(exchange, site);
    if (!site[0] || strcmp(site, "none") == 0)
        return changes;
    return strcmp(site, "same-origin") != 0;
}

static bool is_refused(const struct pd_api_context *api, const struct pd_exchange *exchange,
                       bool has_cookie, const char **ret_detail)
{
    char origin[HEADER_BYTES];
    char host[HEADER_BYTES] = "";
    bool has_origin = pd_exchange_header(exchange, "origin", origin, sizeof origin);
    bool changes = changes_something(exchange);

    if (!has_cookie && !(has_origin && changes))
        return false;
    pd_exchange_header(exchange, "host", host, sizeof host);
    *ret_detail =
        "this service is not known by the name that the page was opened under; "
        "--host-names adds one";
    if (!pd_host_is_ours(&api->hosts, host))
        return true;
    *ret_detail = "requests of web pages from elsewhere are not served";
    return has_origin ? is_foreign_origin(exchange, origin, host)
                      : is_foreign_silence(exchange, changes);
}

int pd_auth_check(const struct pd_api_context *api, const struct pd_exchange *exchange,
                  unsigned needs, const struct pd_key **ret_key, const char **ret_detail)
{
    bool has_key = pd_auth_has_key(exchange);
    const struct pd_key *key = NULL;

    if (needs)
        key = has_key ? by_key(api, exchange) : by_cookie(api, exchange);
    if (needs && !key) {
        *ret_detail = "an API key is needed: send it as X-API-Key or as Authorization: Bearer";
        return 401;
    }
    if (is_refused(api, exchange, key && !has_key, ret_detail))
        return 403;
    if (needs && !(key->record.scopes & needs)) {
        *ret_detail = "this API key does not have the scope that this needs";
        return 403;
    }
    *ret_key = key;
    return 0;
}
