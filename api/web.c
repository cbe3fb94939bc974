#include "api/web.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "api/head.h"
#include "common/asset.h"
#include "common/mem.h"

#define DIGEST_DIGITS 16
#define FILE_BYTES_MAX (8u << 20)
#define HEADERS_BYTES 768
#define ACCEPT_BYTES 256
#define MATCH_BYTES 512

#define POLICY                                                                                     \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "           \
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "        \
    "frame-ancestors 'none'\r\n"                                                                   \
    "Referrer-Policy: no-referrer\r\n"                                                             \
    "Cross-Origin-Opener-Policy: same-origin\r\n"                                                  \
    "Cross-Origin-Resource-Policy: same-origin\r\n"

struct file {
    const char *name; /* of the asset, below "web/" */
    const char *path; /* NULL: /assets/DIGEST/name */
    const char *type;
    struct pd_asset plain;
    struct pd_asset gzip; /* no name: there is none */
    char digest[DIGEST_DIGITS + 1];
};

static const struct file known[] = {
    {.name = "index.html", .path = "/", .type = "text/html; charset=utf-8"},
    {.name = "login.html", .path = "/login", .type = "text/html; charset=utf-8"},
    {.name = "licenses.txt", .path = "/licenses.txt", .type = "text/plain; charset=utf-8"},
    {.name = "console.js", .type = "text/javascript; charset=utf-8"},
    {.name = "console.css", .type = "text/css; charset=utf-8"},
    {.name = "login.js", .type = "text/javascript; charset=utf-8"},
    {.name = "icon.svg", .type = "image/svg+xml"},
};

static const char absent[] =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>paddock</title>\n"
    "<h1>paddock is running</h1>\n"
    "<p>Its browser console was left out of this build, because npm was not there or could not\n"
    "fetch the packages. The API is complete without it.</p>\n"
    "<p>To add it: install Node.js 18 or newer with npm (Debian: <code>apt-get install nodejs\n"
    "npm</code>), then build and start again (<code>./scripts/run_code_execution_server.sh</code>\n"
    "does both).</p></html>\n";

struct pd_web {
    struct file files[PD_COUNT(known)];
    bool built;
};

static void set_digest(struct file *file)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    if (!EVP_Digest(file->plain.data, file->plain.len, digest, NULL, EVP_sha256(), NULL))
        abort(); /* SHA-256 of memory does not fail */
    for (size_t i = 0; i < DIGEST_DIGITS / 2; i++)
        snprintf(file->digest + 2 * i, 3, "%02x", digest[i]);
}

struct pd_web *pd_web_new(void)
{
    struct pd_web *web = PD_NEW(struct pd_web);

    for (size_t i = 0; i < PD_COUNT(known); i++) {
        struct file *file = &web->files[i];
        char name[64];
        *file = known[i];
        snprintf(name, sizeof name, "web/%s", file->name);
        file->plain = pd_asset_find(name);
        snprintf(name, sizeof name, "web/%s.gz", file->name);
        file->gzip = pd_asset_find(name);
        if (file->plain.len > 0)
            set_digest(file);
    }
    web->built = web->files[0].plain.len > 0;
    return web;
}

void pd_web_free(struct pd_web *web)
{
    free(web);
}

/* ---- serving ---- */

static const struct file *find(const struct pd_web *web, const char *path)
{
    char own[128];

    for (size_t i = 0; i < PD_COUNT(known); i++) {
        const struct file *file = &web->files[i];
        if (file->path)
            pd_strcpy(own, sizeof own, file->path);
        else
            snprintf(own, sizeof own, "/assets/%s/%s", file->digest, file->name);
        if (file->plain.len > 0 && strcmp(own, path) == 0)
            return file;
    }
    return NULL;
}

static bool takes_gzip(const struct pd_exchange *exchange)
{
    char accept[ACCEPT_BYTES];

    if (!pd_exchange_header(exchange, "accept-encoding", accept, sizeof accept))
        return false;
    return pd_header_has_token(&(struct pd_header){.value = accept, .value_len = strlen(accept)},
                               "gzip") &&
           !strstr(accept, "gzip;q=0");
}

static bool has_it_already(const struct pd_exchange *exchange, const struct file *file)
{
    char match[MATCH_BYTES];

    return pd_exchange_header(exchange, "if-none-match", match, sizeof match) &&
           strstr(match, file->digest);
}

static void reply_with(struct pd_exchange *exchange, int status, const char *type,
                       const char *headers, const void *data, size_t len)
{
    struct pd_buf body;

    pd_buf_init(&body, FILE_BYTES_MAX);
    (void)!pd_buf_add(&body, data, len, NULL);
    pd_exchange_reply(exchange, status, type, headers, &body);
}

static void reply(struct pd_exchange *exchange, const struct file *file)
{
    bool gzip = file->gzip.len > 0 && takes_gzip(exchange);
    const struct pd_asset *asset = gzip ? &file->gzip : &file->plain;
    char headers[HEADERS_BYTES];

    snprintf(headers, sizeof headers,
             POLICY
             "Cache-Control: %s\r\n"
             "Vary: Accept-Encoding\r\n"
             "ETag: \"%s%s\"\r\n"
             "%s",
             file->path ? "no-cache" : "public, max-age=31536000, immutable", file->digest,
             gzip ? "-gz" : "", gzip ? "Content-Encoding: gzip\r\n" : "");
    if (has_it_already(exchange, file))
        pd_exchange_reply(exchange, 304, NULL, headers, NULL);
    else
        reply_with(exchange, 200, file->type, headers, asset->data, asset->len);
}

bool pd_web_serve(const struct pd_web *web, struct pd_exchange *exchange)
{
    const char *path = pd_exchange_path(exchange);
    enum pd_method method = pd_exchange_method(exchange);
    const struct file *file;

    if (method != PD_METHOD_GET && method != PD_METHOD_HEAD)
        return false;
    file = find(web, path);
    if (file) {
        reply(exchange, file);
        return true;
    }
    if (!web->built && (strcmp(path, "/") == 0 || strcmp(path, "/login") == 0)) {
        reply_with(exchange, 200, "text/html; charset=utf-8", POLICY, absent, sizeof absent - 1);
        return true;
    }
    return false;
}
