#include "controller/docker_http.h"

#include <string.h>
#include <strings.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.x NNN[ reason]" (RFC 9112, 4). */
static int parse_status_line(const char *line, size_t len, int *ret_status, struct pd_err *err)
{
    if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || !is_digit(line[7]) || line[8] != ' ' ||
        line[9] < '1' || line[9] > '5' || !is_digit(line[10]) || !is_digit(line[11]) ||
        (len > 12 && line[12] != ' '))
        return pd_err_set(err, PD_INVALID, "the answer is no HTTP/1 response");
    *ret_status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    return 0;
}

static bool starts_with(const char *text, size_t len, const char *prefix)
{
    size_t prefix_len = strlen(prefix);
    return len >= prefix_len && strncasecmp(text, prefix, prefix_len) == 0;
}

/* "Name: value" (RFC 9112, 5). The only two fields that matter are looked at. */
static int parse_field(const char *line, size_t len, struct pd_docker_head *head,
                       struct pd_err *err)
{
    const char *colon = memchr(line, ':', len);
    const char *value = colon ? colon + 1 : NULL;
    size_t name_len = colon ? (size_t)(colon - line) : 0;
    size_t value_len;

    if (name_len == 0 || memchr(line, '\0', len) || memchr(line, '\r', len) ||
        memchr(line, ' ', name_len) || memchr(line, '\t', name_len))
        return pd_err_set(err, PD_INVALID, "a malformed header in the answer");
    value_len = len - name_len - 1;
    while (value_len > 0 && (*value == ' ' || *value == '\t')) {
        value++;
        value_len--;
    }
    if (name_len == 17 && strncasecmp(line, "Transfer-Encoding", 17) == 0)
        head->chunked = true;
    if (name_len == 12 && strncasecmp(line, "Content-Type", 12) == 0)
        head->raw_stream =
            starts_with(value, value_len, "application/vnd.docker.raw-stream") ||
            starts_with(value, value_len, "application/vnd.docker.multiplexed-stream");
    return 0;
}

static int parse_lines(const char *data, size_t len, struct pd_docker_head *head,
                       struct pd_err *err)
{
    for (size_t at = 0; at < len;) {
        const char *end = memmem(data + at, len - at, "\r\n", 2);
        size_t line_len = (size_t)(end - (data + at));
        int rc = at == 0 ? parse_status_line(data, line_len, &head->status, err)
                         : parse_field(data + at, line_len, head, err);
        if (rc < 0)
            return rc;
        at += line_len + 2;
    }
    return 0;
}

/* Refuse what cannot become a response before all of it is there. */
static int check_beginning(const char *data, size_t len, struct pd_err *err)
{
    size_t known = len < 7 ? len : 7;

    if (memcmp(data, "HTTP/1.", known) != 0)
        return pd_err_set(err, PD_INVALID, "the answer is no HTTP/1 response");
    return 0;
}

int pd_docker_head_parse(const char *data, size_t len, struct pd_docker_head *ret_head,
                         struct pd_err *err)
{
    size_t looked_at = len < PD_DOCKER_HEAD_BYTES_MAX ? len : PD_DOCKER_HEAD_BYTES_MAX;
    struct pd_docker_head head = {0};
    const char *end;
    int rc;

    if (len > 0 && (rc = check_beginning(data, looked_at, err)) < 0)
        return rc;
    end = len > 0 ? memmem(data, looked_at, "\r\n\r\n", 4) : NULL;
    if (!end && len >= PD_DOCKER_HEAD_BYTES_MAX)
        return pd_err_set(err, PD_LIMIT, "the answer's head is longer than %d bytes",
                          PD_DOCKER_HEAD_BYTES_MAX);
    if (end) {
        size_t lines_len = (size_t)(end - data) + 2; /* each with its line break */
        rc = parse_lines(data, lines_len, &head, err);
        if (rc < 0)
            return rc;
        head.len = lines_len + 2;
    }
    *ret_head = head;
    return 0;
}

bool pd_docker_head_is_stream(const struct pd_docker_head *head)
{
    return head->status == 101 || (head->status == 200 && head->raw_stream && !head->chunked);
}
