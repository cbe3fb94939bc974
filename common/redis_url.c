#include "common/redis_url.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "common/hex.h"
#include "common/mem.h"

#define HOST_BYTES_MAX 255
#define SOCKET_PATH_BYTES_MAX (sizeof((struct sockaddr_un *)0)->sun_path - 1)

/* A part of the text. */
struct span {
    const char *at;
    size_t len;
};

static int bad(struct pd_err *err, const char *what)
{
    return pd_err_set(err, PD_INVALID,
                      "Redis URL: %s; it is redis[s]://[user:password@]host[:port][/db] or "
                      "unix://[user:password@]/path[?db=N]",
                      what);
}

static bool take_prefix(struct span *rest, const char *prefix)
{
    size_t len = strlen(prefix);

    if (rest->len < len || strncmp(rest->at, prefix, len) != 0)
        return false;
    rest->at += len;
    rest->len -= len;
    return true;
}

/* What stands before the last `c` of `rest` goes to *ret_before. */
static bool take_until_last(struct span *rest, char c, struct span *ret_before)
{
    const char *found = memrchr(rest->at, c, rest->len);

    if (!found)
        return false;
    *ret_before = (struct span){rest->at, (size_t)(found - rest->at)};
    rest->len -= ret_before->len + 1;
    rest->at = found + 1;
    return true;
}

/* %XX decoded into `out`, which has room for as many bytes as came; their
 * number, or -1. A NUL is no part of a name. */
static ssize_t decode(struct span from, char *out)
{
    size_t len = 0;

    for (size_t i = 0; i < from.len; i++) {
        int c = (unsigned char)from.at[i];
        if (c == '%') {
            int high = i + 2 < from.len ? pd_hex_digit(from.at[i + 1]) : -1;
            int low = i + 2 < from.len ? pd_hex_digit(from.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return -1;
            c = high * 16 + low;
            i += 2;
        }
        if (c == 0)
            return -1;
        out[len++] = (char)c;
    }
    return (ssize_t)len;
}

static int parse_user(struct pd_redis_url *url, struct span user, struct pd_err *err)
{
    pd_autofree char *text = pd_calloc(user.len + 1, 1);

    if (decode(user, text) < 0)
        return bad(err, "the user is not well encoded");
    if (*text)
        url->user = PD_STEAL(text);
    return 0;
}

static int parse_password(struct pd_redis_url *url, struct span password, struct pd_err *err)
{
    char *text = pd_calloc(password.len + 1, 1);
    ssize_t len = decode(password, text);

    if (len > 0)
        url->password = pd_secret_new(text, (size_t)len);
    pd_wipe(text, password.len + 1);
    free(text);
    return len < 0 ? bad(err, "the password is not well encoded") : 0;
}

static int parse_userinfo(struct pd_redis_url *url, struct span info, struct pd_err *err)
{
    const char *colon = memchr(info.at, ':', info.len);
    struct span user = {info.at, colon ? (size_t)(colon - info.at) : info.len};

    if (parse_user(url, user, err) < 0)
        return PD_INVALID;
    if (colon && parse_password(url, (struct span){colon + 1, info.len - user.len - 1}, err) < 0)
        return PD_INVALID;
    if (url->user && url->password.len == 0)
        return bad(err, "a user without a password");
    return 0;
}

/* Digits alone, to `max` at most; -1 for anything else. */
static int parse_number(struct span text, int max)
{
    int value = 0;

    if (text.len == 0 || text.len > 6)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return -1;
        value = value * 10 + text.at[i] - '0';
    }
    return value <= max ? value : -1;
}

static int parse_db(struct pd_redis_url *url, struct span text, struct pd_err *err)
{
    url->db = parse_number(text, PD_REDIS_DB_MAX);
    return url->db < 0 ? bad(err, "the database is no number from 0 to 65535") : 0;
}

static bool is_host(struct span host)
{
    if (host.len == 0 || host.len > HOST_BYTES_MAX)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.at[i];
        if (c <= ' ' || c >= 0x7f || strchr("/?#@[]%\\\"<>", c))
            return false;
    }
    return true;
}

static int parse_port(struct pd_redis_url *url, struct span text, struct pd_err *err)
{
    url->port = text.len ? parse_number(text, 65535) : PD_REDIS_PORT;
    return url->port < 1 ? bad(err, "the port is no number from 1 to 65535") : 0;
}

static int parse_host(struct pd_redis_url *url, struct span where, struct pd_err *err)
{
    struct span host = where, port = {"", 0};

    if (where.len && *where.at == '[') {
        const char *end = memchr(where.at, ']', where.len);
        size_t after = end ? (size_t)(end - where.at) + 1 : 0;
        if (!end || (after < where.len && where.at[after] != ':'))
            return bad(err, "an IPv6 address lacks its brackets");
        host = (struct span){where.at + 1, after - 2};
        if (after < where.len)
            port = (struct span){where.at + after + 1, where.len - after - 1};
    } else {
        const char *colon = memchr(where.at, ':', where.len);
        if (colon) {
            host.len = (size_t)(colon - where.at);
            port = (struct span){colon + 1, where.len - host.len - 1};
        }
    }
    if (!is_host(host))
        return bad(err, "no host");
    url->host = pd_strndup(host.at, host.len);
    return parse_port(url, port, err);
}

static int parse_tcp(struct pd_redis_url *url, struct span rest, struct pd_err *err)
{
    const char *slash = memchr(rest.at, '/', rest.len);
    struct span where = {rest.at, slash ? (size_t)(slash - rest.at) : rest.len};
    struct span db = {where.at + where.len + 1, slash ? rest.len - where.len - 1 : 0};

    if (parse_host(url, where, err) < 0 || (db.len && parse_db(url, db, err) < 0))
        return PD_INVALID;
    url->shown = pd_asprintf(strchr(url->host, ':') ? "%s://[%s]:%d/%d" : "%s://%s:%d/%d",
                             url->tls ? "rediss" : "redis", url->host, url->port, url->db);
    return 0;
}

static int parse_unix(struct pd_redis_url *url, struct span rest, struct pd_err *err)
{
    struct span path = rest, query = {NULL, 0};
    const char *mark = memchr(rest.at, '?', rest.len);

    if (mark) {
        path.len = (size_t)(mark - rest.at);
        query = (struct span){mark + 1, rest.len - path.len - 1};
    }
    if (path.len < 2 || *path.at != '/' || path.len > SOCKET_PATH_BYTES_MAX)
        return bad(err, "the socket's path is not absolute, or too long");
    if (mark && (!take_prefix(&query, "db=") || parse_db(url, query, err) < 0))
        return bad(err, "after the socket's path only ?db=N may stand");
    url->socket_path = pd_strndup(path.at, path.len);
    url->shown = pd_asprintf("unix://%s?db=%d", url->socket_path, url->db);
    return 0;
}

static int parse(struct pd_redis_url *url, struct span rest, struct pd_err *err)
{
    bool is_unix = take_prefix(&rest, "unix://") || take_prefix(&rest, "redis+unix://");
    struct span info;

    if (!is_unix && take_prefix(&rest, "rediss://"))
        url->tls = true;
    else if (!is_unix && !take_prefix(&rest, "redis://"))
        return bad(err, "it does not begin with redis://, rediss:// or unix://");
    if (take_until_last(&rest, '@', &info) && parse_userinfo(url, info, err) < 0)
        return PD_INVALID;
    return is_unix ? parse_unix(url, rest, err) : parse_tcp(url, rest, err);
}

int pd_redis_url_parse(const char *text, struct pd_redis_url *ret_url, struct pd_err *err)
{
    struct pd_redis_url url = {.port = PD_REDIS_PORT};
    size_t len = strnlen(text, PD_REDIS_URL_BYTES_MAX + 1);

    if (len > PD_REDIS_URL_BYTES_MAX)
        return bad(err, "too long");
    if (parse(&url, (struct span){text, len}, err) < 0) {
        pd_redis_url_fini(&url);
        return PD_INVALID;
    }
    *ret_url = url;
    return 0;
}

static char *copy_text(const char *text)
{
    return text ? pd_strdup(text) : NULL;
}

struct pd_redis_url pd_redis_url_copy(const struct pd_redis_url *url)
{
    struct pd_redis_url copy = *url;

    copy.socket_path = copy_text(url->socket_path);
    copy.host = copy_text(url->host);
    copy.user = copy_text(url->user);
    copy.password = pd_secret_copy(&url->password);
    copy.shown = copy_text(url->shown);
    return copy;
}

void pd_redis_url_fini(struct pd_redis_url *url)
{
    free(url->socket_path);
    free(url->host);
    free(url->user);
    pd_secret_free(&url->password);
    free(url->shown);
    *url = (struct pd_redis_url){.port = 0};
}
