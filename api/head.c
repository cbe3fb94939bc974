#include "api/head.h"

#include <string.h>
#include <strings.h>

#include "common/hex.h"

#define LENGTH_DIGITS_MAX 18 /* fits a uint64_t with room to add */

enum { OK = 0 };

struct cursor {
    const char *at, *end;
};

static int refuse(int status, const char *reason, const char **ret_reason)
{
    *ret_reason = reason;
    return status;
}

/* tchar of RFC 9110, section 5.6.2. */
static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

/* ---- where a head ends ---- */

size_t pd_head_end(const char *text, size_t len, size_t *from)
{
    size_t start = 0;
    const char *found;

    while (start + 1 < len && text[start] == '\r' && text[start + 1] == '\n')
        start += 2;
    if (*from < start)
        *from = start;
    found = *from < len ? memmem(text + *from, len - *from, "\r\n\r\n", 4) : NULL;
    if (found)
        return (size_t)(found - text) + 4;
    if (len > start + 3)
        *from = len - 3;
    return 0;
}

/* ---- the request line ---- */

static size_t take_token(struct cursor *in)
{
    const char *start = in->at;

    while (in->at < in->end && is_token_char(*in->at))
        in->at++;
    return (size_t)(in->at - start);
}

static bool take_char(struct cursor *in, char c)
{
    if (in->at == in->end || *in->at != c)
        return false;
    in->at++;
    return true;
}

static enum pd_method method_of(const char *text, size_t len)
{
    for (enum pd_method method = PD_METHOD_GET; method < PD_METHOD_OTHER; method++) {
        const char *name = pd_method_name(method);
        if (strlen(name) == len && memcmp(name, text, len) == 0)
            return method;
    }
    return PD_METHOD_OTHER;
}

/* The path of http://host/path, which servers must take too (section 3.2.2). */
static void skip_authority(struct cursor *target)
{
    static const char scheme[] = "http://";
    size_t len = sizeof scheme - 1;

    if ((size_t)(target->end - target->at) < len || strncasecmp(target->at, scheme, len) != 0)
        return;
    target->at += len;
    while (target->at < target->end && *target->at != '/' && *target->at != '?')
        target->at++;
}

/* One character of a path or a query; -1 where the encoding is broken or hides a NUL. */
static int take_decoded(struct cursor *in)
{
    int c = (unsigned char)*in->at++;
    int high;
    int low;

    if (c != '%')
        return c;
    high = in->at + 1 < in->end ? pd_hex_digit(in->at[0]) : -1;
    low = high >= 0 ? pd_hex_digit(in->at[1]) : -1;
    if (low < 0 || high * 16 + low == 0)
        return -1;
    in->at += 2;
    return high * 16 + low;
}

static int decode_path(struct cursor target, struct pd_head *head, const char **ret_reason)
{
    size_t len = 0;

    if (target.at == target.end || *target.at == '?')
        head->path[len++] = '/'; /* of "http://host?query" */
    while (target.at < target.end && *target.at != '?') {
        int c = take_decoded(&target);
        if (c < 0)
            return refuse(400, "the path is not well encoded", ret_reason);
        if (len + 1 == sizeof head->path) {
            head->path[0] = '\0';
            return refuse(414, "the path is too long", ret_reason);
        }
        head->path[len++] = (char)c;
    }
    head->path[len] = '\0';
    if (target.at < target.end) {
        head->query = target.at + 1;
        head->query_len = (size_t)(target.end - head->query);
    }
    return OK;
}

static int parse_target(struct cursor target, struct pd_head *head, const char **ret_reason)
{
    bool is_star = target.end - target.at == 1 && *target.at == '*';

    for (const char *at = target.at; at < target.end; at++) {
        if (*at <= ' ' || *at > '~')
            return refuse(400, "the request target has characters that may not be in it",
                          ret_reason);
    }
    if (is_star && head->method == PD_METHOD_OPTIONS) {
        memcpy(head->path, "*", 2);
        return OK;
    }
    skip_authority(&target);
    if (target.at < target.end && *target.at != '/' && *target.at != '?')
        return refuse(400, "the request target must be a path", ret_reason);
    return decode_path(target, head, ret_reason);
}

static int parse_version(const char *text, size_t len, struct pd_head *head,
                         const char **ret_reason)
{
    if (len != 8 || memcmp(text, "HTTP/", 5) != 0 || text[6] != '.')
        return refuse(400, "this is no HTTP/1.1 request", ret_reason);
    if (text[5] != '1' || (text[7] != '0' && text[7] != '1'))
        return refuse(505, "this service speaks HTTP/1.1", ret_reason);
    head->minor = text[7] - '0';
    return OK;
}

static int parse_request_line(struct cursor line, struct pd_head *head, const char **ret_reason)
{
    const char *method = line.at;
    size_t method_len = take_token(&line);
    struct cursor target;
    int status;

    if (method_len == 0 || !take_char(&line, ' '))
        return refuse(400, "this is no HTTP/1.1 request", ret_reason);
    head->method = method_of(method, method_len);
    target.at = line.at;
    target.end = memchr(line.at, ' ', (size_t)(line.end - line.at));
    if (!target.end || target.end == target.at)
        return refuse(400, "this is no HTTP/1.1 request", ret_reason);
    status = parse_version(target.end + 1, (size_t)(line.end - target.end) - 1, head, ret_reason);
    return status ? status : parse_target(target, head, ret_reason);
}

/* Whether in[..] begins with name, encoded or not, and "=" or its end. */
static bool take_name(struct cursor *in, const char *name)
{
    while (*name && in->at < in->end && *in->at != '=') {
        if (take_decoded(in) != (unsigned char)*name++)
            return false;
    }
    return !*name && (in->at == in->end || take_char(in, '='));
}

static bool take_value(struct cursor in, char *out, size_t out_bytes)
{
    size_t len = 0;

    while (in.at < in.end) {
        int c = *in.at == '+' ? (in.at++, ' ') : take_decoded(&in);
        if (c < 0 || len + 1 >= out_bytes)
            return false;
        out[len++] = (char)c;
    }
    out[len] = '\0';
    return true;
}

bool pd_head_query(const struct pd_head *head, const char *name, char *out, size_t out_bytes)
{
    const char *end = head->query ? head->query + head->query_len : NULL;

    for (const char *at = head->query; at && at < end;) {
        const char *amp = memchr(at, '&', (size_t)(end - at));
        struct cursor parameter = {at, amp ? amp : end};
        if (take_name(&parameter, name))
            return take_value(parameter, out, out_bytes);
        at = amp ? amp + 1 : end;
    }
    return false;
}

/* ---- headers ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int parse_header(struct cursor line, struct pd_head *head, const char **ret_reason)
{
    struct pd_header *header = &head->headers[head->n_headers];

    if (head->n_headers == PD_HEADERS_MAX)
        return refuse(431, "there are too many headers", ret_reason);
    header->name = line.at;
    header->name_len = take_token(&line);
    if (header->name_len == 0 || !take_char(&line, ':'))
        return refuse(400, "a header is not well-formed", ret_reason);
    while (line.at < line.end && is_blank(*line.at))
        line.at++;
    while (line.end > line.at && is_blank(line.end[-1]))
        line.end--;
    for (const char *at = line.at; at < line.end; at++) {
        if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f)
            return refuse(400, "a header has control characters in it", ret_reason);
    }
    header->value = line.at;
    header->value_len = (size_t)(line.end - line.at);
    head->n_headers++;
    return OK;
}

static bool is_named(const struct pd_header *header, const char *name)
{
    return strlen(name) == header->name_len &&
           strncasecmp(name, header->name, header->name_len) == 0;
}

bool pd_head_has(const struct pd_head *head, const char *name)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        if (is_named(&head->headers[i], name))
            return true;
    }
    return false;
}

static size_t count_named(const struct pd_head *head, const char *name,
                          const struct pd_header **ret_last)
{
    size_t count = 0;

    for (size_t i = 0; i < head->n_headers; i++) {
        if (is_named(&head->headers[i], name)) {
            *ret_last = &head->headers[i];
            count++;
        }
    }
    return count;
}

const struct pd_header *pd_head_find(const struct pd_head *head, const char *name)
{
    const struct pd_header *header = NULL;

    return count_named(head, name, &header) == 1 ? header : NULL;
}

bool pd_head_copy(const struct pd_head *head, const char *name, char *out, size_t out_bytes)
{
    const struct pd_header *header = pd_head_find(head, name);

    if (!header || header->value_len >= out_bytes)
        return false;
    memcpy(out, header->value, header->value_len);
    out[header->value_len] = '\0';
    return true;
}

bool pd_header_has_token(const struct pd_header *header, const char *token)
{
    struct cursor in = {header->value, header->value + header->value_len};

    while (in.at < in.end) {
        const char *start;
        size_t len;
        while (in.at < in.end && (is_blank(*in.at) || *in.at == ','))
            in.at++;
        start = in.at;
        len = take_token(&in);
        if (len == strlen(token) && strncasecmp(start, token, len) == 0)
            return true;
        while (in.at < in.end && *in.at != ',')
            in.at++;
    }
    return false;
}

/* ---- what the headers mean ---- */

static int read_length(const struct pd_header *header, struct pd_head *head,
                       const char **ret_reason)
{
    if (header->value_len == 0 || header->value_len > LENGTH_DIGITS_MAX)
        return refuse(400, "the Content-Length is not a length", ret_reason);
    for (size_t i = 0; i < header->value_len; i++) {
        char c = header->value[i];
        if (c < '0' || c > '9')
            return refuse(400, "the Content-Length is not a length", ret_reason);
        head->content_length = head->content_length * 10 + (uint64_t)(c - '0');
    }
    return OK;
}

/* RFC 9112, section 6.3. */
static int read_framing(struct pd_head *head, const char **ret_reason)
{
    const struct pd_header *length = NULL;
    const struct pd_header *coding = NULL;
    size_t lengths = count_named(head, "content-length", &length);
    size_t codings = count_named(head, "transfer-encoding", &coding);

    if (lengths > 1 || codings > 1 || (lengths > 0 && codings > 0) ||
        (codings > 0 && head->minor == 0))
        return refuse(400, "how long the body is can be understood in two ways", ret_reason);
    if (codings > 0 && (coding->value_len != 7 || strncasecmp(coding->value, "chunked", 7) != 0))
        return refuse(501, "of transfer codings only chunked is understood", ret_reason);
    head->chunked = codings > 0;
    return lengths > 0 ? read_length(length, head, ret_reason) : OK;
}

static int read_connection(struct pd_head *head, const char **ret_reason)
{
    const struct pd_header *host = NULL;
    const struct pd_header *expect = pd_head_find(head, "expect");
    size_t hosts = count_named(head, "host", &host);

    if (hosts > 1 || (hosts == 0 && head->minor == 1))
        return refuse(400, "there must be one Host header", ret_reason);
    head->keep_alive = head->minor == 1;
    for (size_t i = 0; i < head->n_headers; i++) {
        const struct pd_header *header = &head->headers[i];
        if (!is_named(header, "connection"))
            continue;
        if (head->minor == 0 && pd_header_has_token(header, "keep-alive"))
            head->keep_alive = true;
        if (pd_header_has_token(header, "close")) {
            head->keep_alive = false;
            break;
        }
    }
    if (!expect || head->minor == 0)
        return OK;
    if (!pd_header_has_token(expect, "100-continue"))
        return refuse(417, "of expectations only 100-continue is understood", ret_reason);
    head->expects_continue = true;
    return OK;
}

static int parse_lines(struct cursor in, struct pd_head *head, const char **ret_reason)
{
    bool first = true;

    while (in.at < in.end) {
        struct cursor line = {in.at, memmem(in.at, (size_t)(in.end - in.at), "\r\n", 2)};
        int status;
        if (!line.end)
            return refuse(400, "a line is not ended by CR LF", ret_reason);
        in.at = line.end + 2;
        if (line.at == line.end)
            break;
        status = first ? parse_request_line(line, head, ret_reason)
                       : parse_header(line, head, ret_reason);
        if (status)
            return status;
        first = false;
    }
    return first ? refuse(400, "this is no HTTP/1.1 request", ret_reason) : OK;
}

int pd_head_parse(const char *text, size_t len, struct pd_head *ret_head, const char **ret_reason)
{
    struct cursor in = {text, text + len};
    int status;

    ret_head->path[0] = '\0';
    ret_head->query = NULL;
    ret_head->query_len = 0;
    ret_head->method = PD_METHOD_OTHER;
    ret_head->minor = 1;
    ret_head->n_headers = 0;
    ret_head->content_length = 0;
    ret_head->keep_alive = ret_head->chunked = ret_head->expects_continue = false;
    while (in.end - in.at >= 2 && in.at[0] == '\r' && in.at[1] == '\n')
        in.at += 2;
    status = parse_lines(in, ret_head, ret_reason);
    if (status == OK)
        status = read_framing(ret_head, ret_reason);
    return status ? status : read_connection(ret_head, ret_reason);
}
