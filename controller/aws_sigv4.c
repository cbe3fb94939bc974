/* Four stages, as the specification has them: the canonical request, the string
 * to sign, the signing key derived from the secret, the signature. */
#include "controller/aws_sigv4.h"

#include <assert.h>
#include <ctype.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/buf.h"
#include "common/hex.h"
#include "common/mem.h"

#define HASH_BYTES 32
#define PARAMS_MAX 256
#define SCOPE_MAX 256
#define OWN_HEADERS 3 /* date, hash of the body, token */

static void to_hex(const unsigned char *bytes, char out[static PD_SIGV4_HASH_TEXT])
{
    for (size_t i = 0; i < HASH_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void hash_hex(const void *data, size_t len, char out[static PD_SIGV4_HASH_TEXT])
{
    unsigned char hash[HASH_BYTES];

    SHA256(data ? data : "", len, hash);
    to_hex(hash, out);
}

static void hmac(const void *key, size_t key_len, const char *text,
                 unsigned char out[static HASH_BYTES])
{
    unsigned len = HASH_BYTES;

    if (!HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), out,
              &len))
        abort();
}

/* ---- percent-encoding (RFC 3986, unreserved characters stay) ---- */

static int encode(struct pd_buf *out, const char *text, size_t len, const char *keep,
                  struct pd_err *err)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        int rc = isalnum(c) || (c && strchr("-_.~", c)) || (c && strchr(keep, c))
                     ? pd_buf_add(out, &c, 1, err)
                     : pd_buf_addf(out, err, "%%%02X", c);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* In place; what is no escape stays as it is. Returns the length. */
static size_t decode(char *text)
{
    char *to = text;

    for (const char *from = text; *from; from++) {
        if (*from == '%' && pd_hex_digit(from[1]) >= 0 && pd_hex_digit(from[2]) >= 0) {
            *to++ = (char)(pd_hex_digit(from[1]) * 16 + pd_hex_digit(from[2]));
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return (size_t)(to - text);
}

/* ---- the path ---- */

/* RFC 3986, 5.2.4, and empty segments go too. In place: it only gets shorter. */
static void resolve_dots(char *path)
{
    bool folder = true;
    char *to = path;

    for (char *from = path; *from;) {
        size_t len = strcspn(from, "/");
        bool dot = len == 1 && from[0] == '.', dots = len == 2 && from[0] == '.' && from[1] == '.';
        folder = from[len] == '/' || dot || dots;
        if (dots) {
            while (to > path && *--to != '/') {
            }
        } else if (len > 0 && !dot) {
            *to++ = '/';
            memmove(to, from, len);
            to += len;
        }
        from += len + (from[len] == '/');
    }
    if (folder || to == path)
        *to++ = '/';
    *to = '\0';
}

static int add_path(struct pd_buf *out, const struct pd_sigv4_request *request, struct pd_err *err)
{
    size_t len = strcspn(request->target, "?");
    pd_autofree char *path = pd_calloc(len + 2, 1);

    memcpy(path, request->target, len);
    if (!request->keep_path)
        resolve_dots(path);
    return encode(out, len == 0 ? "/" : path, len == 0 ? 1 : strlen(path), "/", err);
}

/* ---- the query ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One "name=value", encoded anew, so that however it was written it is one way.
 * The two are parted by a byte that sorts before every other, so that names
 * which begin alike sort as names. */
static int param_encode(char *param, char **ret_text, struct pd_err *err)
{
    char *value = strchr(param, '=');
    pd_autobuf struct pd_buf text;
    int rc;

    pd_buf_init(&text, PD_SIGV4_TEXT_BYTES_MAX);
    if (value)
        *value++ = '\0';
    rc = encode(&text, param, decode(param), "", err);
    if (rc == 0)
        rc = pd_buf_add(&text, "\x01", 1, err);
    if (rc == 0 && value)
        rc = encode(&text, value, decode(value), "", err);
    if (rc == 0)
        *ret_text = pd_buf_steal(&text);
    return rc;
}

static int add_query(struct pd_buf *out, const char *target, struct pd_err *err)
{
    const char *mark = strchr(target, '?');
    pd_autofree char *copy = pd_strdup(mark ? mark + 1 : "");
    char *params[PARAMS_MAX], *rest = copy, *param;
    size_t n = 0;
    int rc = 0;

    while (rc == 0 && (param = strsep(&rest, "&"))) {
        if (*param == '\0')
            continue;
        if (n == PARAMS_MAX)
            rc = pd_err_set(err, PD_LIMIT, "more than %d parameters to sign", PARAMS_MAX);
        else if ((rc = param_encode(param, &params[n], err)) == 0)
            n++;
    }
    qsort(params, n, sizeof *params, by_text);
    for (size_t i = 0; i < n; i++) {
        if (rc == 0) {
            *strchr(params[i], '\x01') = '=';
            rc = pd_buf_addf(out, err, "%s%s", i > 0 ? "&" : "", params[i]);
        }
        free(params[i]);
    }
    return rc;
}

/* ---- the headers ---- */

struct headers {
    const struct pd_sigv4_header *items[PD_SIGV4_HEADERS_MAX + OWN_HEADERS];
    struct pd_sigv4_header own[OWN_HEADERS];
    size_t n, n_own;
};

/* By name; those of one name stay in their order, which the addresses tell. */
static int by_name(const void *a, const void *b)
{
    const struct pd_sigv4_header *first = *(const struct pd_sigv4_header *const *)a;
    const struct pd_sigv4_header *second = *(const struct pd_sigv4_header *const *)b;
    int order = strcasecmp(first->name, second->name);

    return order ? order : (first > second) - (first < second);
}

static void add_own(struct headers *headers, const char *name, const char *value)
{
    struct pd_sigv4_header *own = &headers->own[headers->n_own++];

    *own = (struct pd_sigv4_header){name, value};
    headers->items[headers->n++] = own;
}

static int collect(struct headers *headers, const struct pd_sigv4_request *request,
                   const struct pd_sigv4 *sigv4, struct pd_err *err)
{
    bool has_host = false;

    *headers = (struct headers){.n = 0};
    if (request->n_headers > PD_SIGV4_HEADERS_MAX)
        return pd_err_set(err, PD_INVALID, "more than %d headers to sign", PD_SIGV4_HEADERS_MAX);
    for (size_t i = 0; i < request->n_headers; i++) {
        const char *name = request->headers[i].name;
        if (!*name || name[strcspn(name, " \t\r\n:")])
            return pd_err_set(err, PD_INVALID, "'%.40s' is no name of a header", name);
        has_host |= strcasecmp(name, "host") == 0;
        headers->items[headers->n++] = &request->headers[i];
    }
    if (!has_host)
        return pd_err_set(err, PD_INVALID, "a request without Host cannot be signed");
    add_own(headers, "x-amz-date", sigv4->date);
    if (request->sign_body)
        add_own(headers, "x-amz-content-sha256", sigv4->body_hash);
    if (request->token && request->token->len > 0 && !request->omit_token)
        add_own(headers, "x-amz-security-token", request->token->bytes);
    qsort(headers->items, headers->n, sizeof headers->items[0], by_name);
    return 0;
}

/* Without blanks at its ends, each run of blanks in it as one. */
static int add_trimmed(struct pd_buf *out, const char *value, struct pd_err *err)
{
    int rc = 0;

    while (isspace((unsigned char)*value))
        value++;
    while (rc == 0 && *value) {
        size_t blanks = strspn(value, " \t\r\n");
        if (blanks == 0)
            rc = pd_buf_add(out, value++, 1, err);
        else if (value[blanks] != '\0')
            rc = pd_buf_add(out, " ", 1, err);
        value += blanks;
    }
    return rc;
}

static int add_lower(struct pd_buf *out, const char *text, struct pd_err *err)
{
    int rc = 0;

    for (; rc == 0 && *text; text++) {
        char c = (char)tolower((unsigned char)*text);
        rc = pd_buf_add(out, &c, 1, err);
    }
    return rc;
}

static bool is_repeated(const struct headers *headers, size_t i)
{
    return i > 0 && strcasecmp(headers->items[i]->name, headers->items[i - 1]->name) == 0;
}

/* "name:value\n" for each, values of one name joined. */
static int add_headers(struct pd_buf *out, const struct headers *headers, struct pd_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < headers->n; i++) {
        if (is_repeated(headers, i)) {
            rc = pd_buf_add(out, ",", 1, err);
        } else {
            rc = i > 0 ? pd_buf_add(out, "\n", 1, err) : 0;
            rc = rc < 0 ? rc : add_lower(out, headers->items[i]->name, err);
            rc = rc < 0 ? rc : pd_buf_add(out, ":", 1, err);
        }
        rc = rc < 0 ? rc : add_trimmed(out, headers->items[i]->value, err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "\n", 1, err);
}

static int add_names(struct pd_buf *out, const struct headers *headers, struct pd_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < headers->n; i++) {
        if (is_repeated(headers, i))
            continue;
        rc = i > 0 ? pd_buf_add(out, ";", 1, err) : 0;
        rc = rc < 0 ? rc : add_lower(out, headers->items[i]->name, err);
    }
    return rc;
}

/* ---- the whole ---- */

static int canonical_request(const struct pd_sigv4_request *request, const struct headers *headers,
                             const char *names, const struct pd_sigv4 *sigv4, char **ret_text,
                             struct pd_err *err)
{
    pd_autobuf struct pd_buf out;

    pd_buf_init(&out, PD_SIGV4_TEXT_BYTES_MAX);
    if (pd_buf_addf(&out, err, "%s\n", request->method) < 0 || add_path(&out, request, err) < 0 ||
        pd_buf_add(&out, "\n", 1, err) < 0 || add_query(&out, request->target, err) < 0 ||
        pd_buf_add(&out, "\n", 1, err) < 0 || add_headers(&out, headers, err) < 0 ||
        pd_buf_addf(&out, err, "\n%s\n%s", names, sigv4->body_hash) < 0)
        return PD_LIMIT;
    *ret_text = pd_buf_steal(&out);
    return 0;
}

static void sign(const struct pd_sigv4_request *request, const char *day, struct pd_sigv4 *sigv4)
{
    pd_autofree char *first = pd_calloc(request->secret->len + 5, 1);
    unsigned char key[HASH_BYTES];
    const char *const steps[] = {day, request->region, request->service, "aws4_request"};

    memcpy(first, "AWS4", 4);
    memcpy(first + 4, request->secret->bytes ? request->secret->bytes : "", request->secret->len);
    hmac(first, request->secret->len + 4, steps[0], key);
    pd_wipe(first, request->secret->len + 4);
    for (size_t i = 1; i < PD_COUNT(steps); i++)
        hmac(key, sizeof key, steps[i], key);
    hmac(key, sizeof key, sigv4->to_sign, key);
    to_hex(key, sigv4->signature);
    pd_wipe(key, sizeof key);
}

static void set_date(struct pd_sigv4 *sigv4, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) ||
        strftime(sigv4->date, sizeof sigv4->date, "%Y%m%dT%H%M%SZ", &tm) == 0)
        abort();
}

int pd_sigv4_sign(const struct pd_sigv4_request *request, struct pd_sigv4 *ret_signed,
                  struct pd_err *err)
{
    struct pd_sigv4 sigv4 = {.canonical = NULL};
    char scope[SCOPE_MAX], day[9], hash[PD_SIGV4_HASH_TEXT];
    pd_autobuf struct pd_buf names;
    struct headers headers;
    int rc;

    pd_buf_init(&names, PD_SIGV4_TEXT_BYTES_MAX);
    set_date(&sigv4, request->wall_ms);
    pd_strcpy(day, sizeof day, sigv4.date);
    hash_hex(request->body, request->body_len, sigv4.body_hash);
    if ((rc = collect(&headers, request, &sigv4, err)) < 0 ||
        (rc = add_names(&names, &headers, err)) < 0 ||
        (rc = canonical_request(request, &headers, names.data, &sigv4, &sigv4.canonical, err)) < 0)
        return rc;
    snprintf(scope, sizeof scope, "%s/%.64s/%.64s/aws4_request", day, request->region,
             request->service);
    hash_hex(sigv4.canonical, strlen(sigv4.canonical), hash);
    sigv4.to_sign = pd_asprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", sigv4.date, scope, hash);
    sign(request, day, &sigv4);
    sigv4.authorization =
        pd_asprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
                    request->key_id, scope, names.data, sigv4.signature);
    *ret_signed = sigv4;
    return 0;
}

void pd_sigv4_fini(struct pd_sigv4 *sigv4)
{
    free(sigv4->canonical);
    free(sigv4->to_sign);
    free(sigv4->authorization);
    *sigv4 = (struct pd_sigv4){.canonical = NULL};
}
