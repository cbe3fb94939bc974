#include "common/json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"

/* ---- parsing ---- */

/* What a text may cost, told from its punctuation before a parser allocates
 * anything: an array of a million empty objects is 3 MB of text and would be
 * 400 MB of tables. */
struct scan {
    const char *at, *end;
    size_t depth, nodes;
};

/* Past the closing quote, or to the end. */
static void skip_string(struct scan *scan)
{
    const char *at = scan->at + 1;

    for (; at < scan->end && *at != '"'; at++)
        at += *at == '\\' && at + 1 < scan->end;
    scan->at = at < scan->end ? at + 1 : scan->end;
}

static int scan_step(struct scan *scan, struct pd_err *err)
{
    switch (*scan->at) {
    case '"':
        skip_string(scan);
        return 0;
    case '{':
    case '[':
        if (++scan->depth > PD_JSON_DEPTH_MAX)
            return pd_err_set(err, PD_INVALID, "nested deeper than %d levels", PD_JSON_DEPTH_MAX);
        scan->nodes++;
        break;
    case '}':
    case ']':
        scan->depth -= scan->depth > 0;
        break;
    case ',':
    case ':':
        scan->nodes++;
        break;
    default:
        break;
    }
    scan->at++;
    if (scan->nodes > PD_JSON_NODES_MAX)
        return pd_err_set(err, PD_INVALID, "more than %d values", PD_JSON_NODES_MAX);
    return 0;
}

static int scan_text(const char *text, size_t len, struct pd_err *err)
{
    struct scan scan = {.at = text, .end = text + len};
    size_t line = 1, column = 1;
    int rc = 0;

    while (scan.at < scan.end && (rc = scan_step(&scan, err)) == 0)
        continue;
    if (rc == 0)
        return 0;
    for (const char *p = text; p < scan.at; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    return pd_err_wrap(err, "line %zu, column %zu", line, column);
}

static struct pd_node *node_from(const json_t *json)
{
    struct pd_node *node;
    const char *key;
    json_t *value;
    size_t i;

    switch (json_typeof(json)) {
    case JSON_OBJECT:
        node = pd_node_map_new();
        json_object_foreach((json_t *)(uintptr_t)json, key, value)
            pd_node_append(node, key, node_from(value));
        return node;
    case JSON_ARRAY:
        node = pd_node_list_new();
        json_array_foreach(json, i, value) pd_node_add(node, node_from(value));
        return node;
    case JSON_STRING:
        return pd_node_string_new_len(json_string_value(json), json_string_length(json));
    case JSON_INTEGER:
        return pd_node_int_new(json_integer_value(json));
    case JSON_REAL:
        return pd_node_number_new(json_real_value(json));
    case JSON_TRUE:
    case JSON_FALSE:
        return pd_node_bool_new(json_is_true(json));
    case JSON_NULL:
        break;
    }
    return pd_node_null_new();
}

int pd_json_parse(const char *text, size_t len, struct pd_node **ret_node, struct pd_err *err)
{
    json_error_t at;
    json_t *json;
    int rc = scan_text(text, len, err);

    if (rc < 0)
        return rc;
    json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &at);
    if (!json)
        return pd_err_set(err, PD_INVALID, "line %d, column %d: %s", at.line, at.column, at.text);
    *ret_node = node_from(json);
    json_decref(json);
    return 0;
}

/* ---- formatting ---- */

static int format_escape(unsigned char c, struct pd_buf *out, struct pd_err *err)
{
    static const char *const short_form[0x80] = {
        ['"'] = "\\\"", ['\\'] = "\\\\", ['\b'] = "\\b", ['\f'] = "\\f",
        ['\n'] = "\\n", ['\r'] = "\\r",  ['\t'] = "\\t", [0x7f] = "\\u007f",
    };
    char hex[8];

    if (short_form[c])
        return pd_buf_add(out, short_form[c], strlen(short_form[c]), err);
    snprintf(hex, sizeof hex, "\\u%04x", c);
    return pd_buf_add(out, hex, 6, err);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* The bytes at `text` that go out as they are. */
static size_t plain_run(const char *text, size_t len)
{
    size_t run = 0;
    bool ok = true;

    while (run < len) {
        size_t step = 1;
        unsigned char c = (unsigned char)text[run];
        if (c >= 0x80)
            step = pd_utf8_next(text + run, len - run, &ok);
        else
            ok = is_plain(c);
        if (!ok)
            return run;
        run += step;
    }
    return run;
}

int pd_json_format_string(const char *text, size_t len, struct pd_buf *out, struct pd_err *err)
{
    int rc = pd_buf_add(out, "\"", 1, err);

    for (size_t i = 0; i < len && rc == 0;) {
        size_t run = plain_run(text + i, len - i);
        bool ok;
        rc = pd_buf_add(out, text + i, run, err);
        i += run;
        if (i == len || rc < 0)
            break;
        if ((unsigned char)text[i] < 0x80) {
            rc = format_escape((unsigned char)text[i++], out, err);
        } else {
            i += pd_utf8_next(text + i, len - i, &ok);
            rc = pd_buf_add(out, PD_UTF8_REPLACEMENT, 3, err);
        }
    }
    return rc < 0 ? rc : pd_buf_add(out, "\"", 1, err);
}

const char *pd_json_number(double number, char out[static PD_JSON_NUMBER_BYTES])
{
    if (!isfinite(number))
        return "null";
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, PD_JSON_NUMBER_BYTES - 2, "%.*g", digits, number);
        if (strtod(out, NULL) == number)
            break;
    }
    if (!strpbrk(out, ".e"))
        strcat(out, ".0");
    return out;
}

static int format_list(const struct pd_node *list, struct pd_buf *out, struct pd_err *err)
{
    int rc = pd_buf_add(out, "[", 1, err);

    for (size_t i = 0; i < list->list.count && rc == 0; i++) {
        if (i)
            rc = pd_buf_add(out, ",", 1, err);
        if (rc == 0)
            rc = pd_json_format(list->list.items[i], out, err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "]", 1, err);
}

static int format_map(const struct pd_node *map, struct pd_buf *out, struct pd_err *err)
{
    int rc = pd_buf_add(out, "{", 1, err);

    for (size_t i = 0; i < map->map.count && rc == 0; i++) {
        const struct pd_member *member = &map->map.members[i];
        if (i)
            rc = pd_buf_add(out, ",", 1, err);
        if (rc == 0)
            rc = pd_json_format_string(member->key, strlen(member->key), out, err);
        if (rc == 0)
            rc = pd_buf_add(out, ":", 1, err);
        if (rc == 0)
            rc = pd_json_format(member->value, out, err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "}", 1, err);
}

int pd_json_format(const struct pd_node *node, struct pd_buf *out, struct pd_err *err)
{
    char number[PD_JSON_NUMBER_BYTES];
    const char *word = "null";

    switch (node->kind) {
    case PD_NODE_LIST:
        return format_list(node, out, err);
    case PD_NODE_MAP:
        return format_map(node, out, err);
    case PD_NODE_STRING:
        return pd_json_format_string(node->string.text, node->string.len, out, err);
    case PD_NODE_INT:
        return pd_buf_addf(out, err, "%lld", (long long)node->integer);
    case PD_NODE_NUMBER:
        word = pd_json_number(node->number, number);
        break;
    case PD_NODE_BOOL:
        word = node->boolean ? "true" : "false";
        break;
    case PD_NODE_NULL:
        break;
    }
    return pd_buf_add(out, word, strlen(word), err);
}
