#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/mem.h"
#include "common/time.h"

#define LINE_MAX_BYTES 4096
#define VALUE_MAX_BYTES 1024

static const char *const level_names[] = {"debug", "info", "warn", "error"};
/* Process-wide by nature: every line of this process goes to one stderr. */
static enum pd_log_level threshold = PD_LOG_INFO;

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

void pd_log(enum pd_log_level level, const char *comp, const char *msg, ...)
{
    struct line line = {.len = 0};
    char stamp[PD_RFC3339_BYTES];
    va_list ap;

    if (level < threshold)
        return;
    put_text(&line, "ts=");
    put_text(&line, pd_wall_format(pd_wall_ms(), stamp));
    put_text(&line, " level=");
    put_text(&line, level_names[level]);
    put_text(&line, " comp=");
    put_text(&line, comp);
    put_text(&line, " msg=");
    put_value(&line, msg);
    va_start(ap, msg);
    for (const char *key = va_arg(ap, const char *); key; key = va_arg(ap, const char *)) {
        const char *value = va_arg(ap, const char *);
        if (!value)
            continue;
        put(&line, ' ');
        put_text(&line, key);
        put(&line, '=');
        put_value(&line, value);
    }
    va_end(ap);
    line.text[line.len++] = '\n';
    while (write(STDERR_FILENO, line.text, line.len) < 0 && errno == EINTR)
        continue;
}
