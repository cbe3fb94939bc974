#include "api/mirror_message.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define DIGITS_MAX 18 /* of a number: below 2^63 */

/* A word, and what follows FROM and ASK: r(un) k(ey) n(umber) b(orn) d(one) p(ayload). */
static const struct shape {
    const char *name;
    const char *fields;
} shapes[PD_MIRROR_WORDS] = {
    [PD_MIRROR_WHERE] = {"where", "r"},    [PD_MIRROR_CANCEL] = {"cancel", "rk"},
    [PD_MIRROR_LOOK] = {"look", "rk"},     [PD_MIRROR_NONE] = {"none", ""},
    [PD_MIRROR_HERE] = {"here", "bdnk"},   [PD_MIRROR_CANCELING] = {"canceling", ""},
    [PD_MIRROR_ENDED] = {"ended", ""},     [PD_MIRROR_SHOWN] = {"shown", "p"},
    [PD_MIRROR_FOLLOW] = {"follow", "rn"}, [PD_MIRROR_MORE] = {"more", "n"},
    [PD_MIRROR_STOP] = {"stop", ""},       [PD_MIRROR_EVENTS] = {"events", "p"},
    [PD_MIRROR_STILL] = {"still", "n"},    [PD_MIRROR_GONE] = {"gone", ""},
};

/* ---- reading ---- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static bool is_name(const char *text, size_t len, size_t bytes_max)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_name_char(text[i]))
            return false;
    }
    return len > 0 && len < bytes_max;
}

bool pd_mirror_is_run(const char *text)
{
    return is_name(text, strlen(text), PD_MIRROR_RUN_BYTES);
}

struct words {
    const char *at;
    const char *end;
};

/* The next word, without the space behind it; empty words are none. */
static bool next_word(struct words *words, const char **ret_word, size_t *ret_len)
{
    const char *space;

    if (words->at >= words->end)
        return false;
    space = memchr(words->at, ' ', (size_t)(words->end - words->at));
    *ret_word = words->at;
    *ret_len = (size_t)((space ? space : words->end) - words->at);
    words->at = space ? space + 1 : words->end;
    if (space && words->at == words->end)
        return false; /* nothing behind the space */
    return *ret_len > 0;
}

static bool take_name(struct words *words, char *out, size_t out_bytes)
{
    const char *word;
    size_t len;

    if (!next_word(words, &word, &len) || !is_name(word, len, out_bytes))
        return false;
    memcpy(out, word, len);
    out[len] = '\0';
    return true;
}

static bool take_key(struct words *words, char out[static PD_KEY_ID_MAX])
{
    struct words ahead = *words;
    const char *word;
    size_t len;

    if (!next_word(&ahead, &word, &len) || len != 1 || *word != *PD_MIRROR_ANYBODY)
        return take_name(words, out, PD_KEY_ID_MAX);
    *words = ahead;
    memcpy(out, PD_MIRROR_ANYBODY, sizeof PD_MIRROR_ANYBODY);
    return true;
}

static bool read_number(const char *text, size_t len, uint64_t *ret)
{
    uint64_t number = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
        if (i >= DIGITS_MAX)
            return false;
    }
    *ret = number;
    return len > 0;
}

static bool take_number(struct words *words, uint64_t *ret)
{
    const char *word;
    size_t len;

    return next_word(words, &word, &len) && read_number(word, len, ret);
}

static bool take_field(struct words *words, char field, struct pd_mirror_message *message)
{
    uint64_t done;

    switch (field) {
    case 'r':
        return take_name(words, message->run, sizeof message->run);
    case 'k':
        return take_key(words, message->key);
    case 'n':
        return take_number(words, &message->number);
    case 'b':
        return take_number(words, &message->born);
    case 'd':
        if (!take_number(words, &done) || done > 1)
            return false;
        message->done = done == 1;
        return true;
    default:
        return message->payload != NULL;
    }
}

static bool take_word(struct words *words, enum pd_mirror_word *ret_word)
{
    const char *word;
    size_t len;

    if (!next_word(words, &word, &len))
        return false;
    for (size_t i = 0; i < PD_MIRROR_WORDS; i++) {
        if (strlen(shapes[i].name) == len && memcmp(shapes[i].name, word, len) == 0) {
            *ret_word = (enum pd_mirror_word)i;
            return true;
        }
    }
    return false;
}

int pd_mirror_message_parse(const char *text, size_t len, struct pd_mirror_message *ret_message,
                            struct pd_err *err)
{
    const char *line_end = len > 0 ? memchr(text, '\n', len) : NULL;
    struct words words = {.at = text, .end = line_end ? line_end : text + len};
    struct pd_mirror_message message = {.ask = 0};
    bool ok =
        (size_t)(words.end - text) < PD_MIRROR_HEAD_BYTES_MAX && take_word(&words, &message.word) &&
        take_name(&words, message.from, sizeof message.from) && take_number(&words, &message.ask);

    if (line_end) {
        message.payload = line_end + 1;
        message.payload_len = len - (size_t)(line_end + 1 - text);
    }
    for (const char *field = ok ? shapes[message.word].fields : ""; ok && *field; field++)
        ok = take_field(&words, *field, &message);
    if (!ok || words.at < words.end ||
        (message.payload && !strchr(shapes[message.word].fields, 'p')))
        return pd_err_set(err, PD_INVALID, "no message of a replica");
    *ret_message = message;
    return 0;
}

int pd_mirror_next_event(const char **at, size_t *len, const char **ret_json, size_t *ret_json_len,
                         size_t *ret_output_bytes, struct pd_err *err)
{
    const char *end = *len > 0 ? memchr(*at, '\n', *len) : NULL;
    const char *space;
    uint64_t bytes;

    if (*len == 0)
        return 0;
    space = end ? memchr(*at, ' ', (size_t)(end - *at)) : NULL;
    if (!space || !read_number(*at, (size_t)(space - *at), &bytes))
        return pd_err_set(err, PD_INVALID, "a line that is no event");
    *ret_json = space + 1;
    *ret_json_len = (size_t)(end - space - 1);
    *ret_output_bytes = (size_t)bytes;
    *len -= (size_t)(end + 1 - *at);
    *at = end + 1;
    return 1;
}

/* ---- writing ---- */

static int put_field(char *out, size_t bytes, char field, const struct pd_mirror_message *message)
{
    switch (field) {
    case 'r':
        assert(pd_mirror_is_run(message->run));
        return snprintf(out, bytes, " %s", message->run);
    case 'k':
        return snprintf(out, bytes, " %s", message->key);
    case 'n':
        return snprintf(out, bytes, " %llu", (unsigned long long)message->number);
    case 'b':
        return snprintf(out, bytes, " %llu", (unsigned long long)message->born);
    case 'd':
        return snprintf(out, bytes, " %d", message->done);
    default:
        return snprintf(out, bytes, "\n");
    }
}

void pd_mirror_message_format(const struct pd_mirror_message *message,
                              char out[static PD_MIRROR_HEAD_BYTES_MAX])
{
    const struct shape *shape = &shapes[message->word];
    int len = snprintf(out, PD_MIRROR_HEAD_BYTES_MAX, "%s %s %llu", shape->name, message->from,
                       (unsigned long long)message->ask);

    for (const char *field = shape->fields; *field; field++)
        len += put_field(out + len, PD_MIRROR_HEAD_BYTES_MAX - (size_t)len, *field, message);
    assert(len < PD_MIRROR_HEAD_BYTES_MAX);
}
