#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/mem.h"
#include "common/time.h"
#include "common/utf8.h"

#define LINE_MAX_BYTES 4096
#define VALUE_MAX_BYTES 1024

static const char *const level_names[] = {"debug", "info", "warn", "error"};
/* Process-wide by nature: every line of this process goes to one stderr. */
static enum pd_log_level threshold = PD_LOG_INFO;
static enum pd_log_format format = PD_LOG_LOGFMT;

void pd_log_level_set(enum pd_log_level level)
{
    threshold = level;
}

int pd_log_level_parse(const char *text, enum pd_log_level *ret_level)
{
    for (unsigned i = 0; i < PD_COUNT(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum pd_log_level)i;
            return 0;
        }
    }
    return PD_INVALID;
}

void pd_log_format_set(enum pd_log_format wanted)
{
    format = wanted;
}

int pd_log_format_parse(const char *text, enum pd_log_format *ret_format)
{
    if (strcmp(text, "logfmt") != 0 && strcmp(text, "json") != 0)
        return PD_INVALID;
    *ret_format = text[0] == 'j' ? PD_LOG_JSON : PD_LOG_LOGFMT;
    return 0;
}

const char *pd_log_num(char *out, long long n)
{
    snprintf(out, 24, "%lld", n);
    return out;
}

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

static void put(struct line *line, char c)
{
    if (line->len < sizeof line->text - 1)
        line->text[line->len++] = c;
}

static void put_text(struct line *line, const char *text)
{
    while (*text)
        put(line, *text++);
}

static void put_value(struct line *line, const char *value)
{
    bool quote = *value == '\0' || strpbrk(value, " =\"\\") != NULL;

    for (const char *p = value; !quote && *p; p++)
        quote = (unsigned char)*p < 0x20 || *p == 0x7f;
    if (!quote && strlen(value) <= VALUE_MAX_BYTES) {
        put_text(line, value);
        return;
    }
    put(line, '"');
    for (size_t i = 0; value[i] && i < VALUE_MAX_BYTES; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c == '"' || c == '\\') {
            put(line, '\\');
            put(line, (char)c);
        } else if (c == '\n') {
            put_text(line, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            char hex[8];
            snprintf(hex, sizeof hex, "\\x%02x", c);
            put_text(line, hex);
        } else {
            put(line, (char)c);
        }
    }
    put(line, '"');
}

/* ---- JSON (RFC 8259) ---- */

static void put_escape(struct line *line, unsigned char c)
{
    char text[8];

    snprintf(text, sizeof text, "\\u%04x", c);
    put_text(line, text);
}

static void put_pair(struct line *line, char first, char second)
{
    put(line, first);
    put(line, second);
}

static void put_string(struct line *line, const char *value)
{
    size_t left = strnlen(value, VALUE_MAX_BYTES);
    size_t step;
    bool ok;

    put(line, '"');
    for (; left > 0; value += step, left -= step) {
        step = pd_utf8_next(value, left, &ok);
        if (!ok)
            put_text(line, PD_UTF8_REPLACEMENT);
        else if (*value == '"' || *value == '\\')
            put_pair(line, '\\', *value);
        else if ((unsigned char)*value < 0x20 || *value == 0x7f)
            put_escape(line, (unsigned char)*value);
        else
            for (size_t i = 0; i < step; i++)
                put(line, value[i]);
    }
    put(line, '"');
}

/* Whole or not at all: a line that is cut is no JSON. */
static void put_member(struct line *line, const char *key, const char *value)
{
    size_t before = line->len;

    if (before > 1)
        put(line, ',');
    put_string(line, key);
    put(line, ':');
    put_string(line, value);
    if (line->len >= sizeof line->text - sizeof "}\n")
        line->len = before;
}

/* ---- lines ---- */

static void put_field(struct line *line, const char *key, const char *value)
{
    if (format == PD_LOG_JSON) {
        put_member(line, key, value);
        return;
    }
    if (line->len > 0)
        put(line, ' ');
    put_text(line, key);
    put(line, '=');
    put_value(line, value);
}

void pd_log(enum pd_log_level level, const char *comp, const char *msg, ...)
{
    struct line line = {.len = 0};
    char stamp[PD_RFC3339_BYTES];
    va_list ap;

    if (level < threshold)
        return;
    if (format == PD_LOG_JSON)
        put(&line, '{');
    put_field(&line, "ts", pd_wall_format(pd_wall_ms(), stamp));
    put_field(&line, "level", level_names[level]);
    put_field(&line, "comp", comp);
    put_field(&line, "msg", msg);
    va_start(ap, msg);
    for (const char *key = va_arg(ap, const char *); key; key = va_arg(ap, const char *)) {
        const char *value = va_arg(ap, const char *);
        if (value)
            put_field(&line, key, value);
    }
    va_end(ap);
    if (format == PD_LOG_JSON)
        put(&line, '}');
    line.text[line.len++] = '\n';
    while (write(STDERR_FILENO, line.text, line.len) < 0 && errno == EINTR)
        continue;
}
