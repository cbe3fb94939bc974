/* Trees as YAML, by libyaml's emitter. The emitter quotes what would not read
 * back as the same text; quoting what would read back as another kind of value
 * is ours. */
#include <string.h>
#include <yaml.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "common/yaml.h"

#define DIGITS "0123456789"

struct writer {
    yaml_emitter_t emitter;
    struct pd_buf *out;
    struct pd_err *err;
    int rc;
};

static int on_write(void *arg, unsigned char *data, size_t len)
{
    struct writer *writer = arg;

    if (writer->rc == 0)
        writer->rc = pd_buf_add(writer->out, data, len, writer->err);
    return writer->rc == 0;
}

/* `made`: whether libyaml could make the event, which it takes over. */
static int emit(struct writer *writer, int made, yaml_event_t *event)
{
    if (made && yaml_emitter_emit(&writer->emitter, event))
        return 0;
    if (writer->rc == 0)
        writer->rc = pd_err_set(writer->err, PD_INTERNAL, "YAML: %s",
                                writer->emitter.problem ? writer->emitter.problem : "no event");
    return writer->rc;
}

static int write_text(struct writer *writer, const char *text, size_t len,
                      yaml_scalar_style_t style)
{
    yaml_event_t event;
    int made = yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)len,
                                            style == YAML_PLAIN_SCALAR_STYLE, 1, style);
    return emit(writer, made, &event);
}

/* Whether a text would be another kind of value when left unquoted, be it by
 * the rules of YAML 1.2 (ours) or 1.1 (many others'). */
static bool needs_quotes(const char *text, size_t len)
{
    static const char *const words[] = {"y",   "n",    "yes",  "no",   "on",
                                        "off", "null", "true", "false"};

    if (len == 0 || strlen(text) != len || strchr("+-.~<=!&*%@`'\"", *text))
        return true;
    if (strchr(DIGITS, *text) && text[strspn(text, DIGITS "abcdefxotzABCDEFXOTZ_.:+- ")] == '\0')
        return true; /* numbers of any base, times and dates, and a few that are none */
    for (size_t i = 0; i < PD_COUNT(words); i++) {
        if (strcasecmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

/* Line breaks and the like are written as escapes: the folding of other styles
 * is where emitters and parsers disagree. */
static bool needs_escapes(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c >= 0x7f)
            return true;
    }
    return len > 0 && (text[0] == ' ' || text[len - 1] == ' ');
}

static int write_string(struct writer *writer, const char *text, size_t len)
{
    struct pd_buf clean pd_autobuf;
    yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;

    pd_buf_init(&clean, len * 3);
    if (needs_quotes(text, len) || needs_escapes(text, len))
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    if (!pd_utf8_is_valid(text, len)) {
        if (pd_utf8_clean(text, len, &clean, writer->err) < 0)
            return writer->rc = PD_LIMIT;
        text = clean.data;
        len = clean.len;
    }
    return write_text(writer, text, len, style);
}

static int write_node(struct writer *writer, const struct pd_node *node);

static int write_list(struct writer *writer, const struct pd_node *node)
{
    yaml_event_t event;
    int made =
        yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);
    int rc = emit(writer, made, &event);

    for (size_t i = 0; i < node->list.count && rc == 0; i++)
        rc = write_node(writer, node->list.items[i]);
    if (rc < 0)
        return rc;
    return emit(writer, yaml_sequence_end_event_initialize(&event), &event);
}

static int write_map(struct writer *writer, const struct pd_node *node)
{
    yaml_event_t event;
    int made = yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE);
    int rc = emit(writer, made, &event);

    for (size_t i = 0; i < node->map.count && rc == 0; i++) {
        const struct pd_member *member = &node->map.members[i];
        rc = write_string(writer, member->key, strlen(member->key));
        if (rc == 0)
            rc = write_node(writer, member->value);
    }
    if (rc < 0)
        return rc;
    return emit(writer, yaml_mapping_end_event_initialize(&event), &event);
}

static int write_node(struct writer *writer, const struct pd_node *node)
{
    char number[PD_JSON_NUMBER_BYTES];
    const char *word = "null";

    switch (node->kind) {
    case PD_NODE_LIST:
        return write_list(writer, node);
    case PD_NODE_MAP:
        return write_map(writer, node);
    case PD_NODE_STRING:
        return write_string(writer, node->string.text, node->string.len);
    case PD_NODE_INT:
        snprintf(number, sizeof number, "%lld", (long long)node->integer);
        word = number;
        break;
    case PD_NODE_NUMBER:
        word = pd_json_number(node->number, number);
        break;
    case PD_NODE_BOOL:
        word = node->boolean ? "true" : "false";
        break;
    case PD_NODE_NULL:
        break;
    }
    return write_text(writer, word, strlen(word), YAML_PLAIN_SCALAR_STYLE);
}

static int write_stream(struct writer *writer, const struct pd_node *node)
{
    yaml_event_t event;
    int rc = emit(writer, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event);

    if (rc == 0)
        rc =
            emit(writer, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1), &event);
    if (rc == 0)
        rc = write_node(writer, node);
    if (rc == 0)
        rc = emit(writer, yaml_document_end_event_initialize(&event, 1), &event);
    if (rc == 0)
        rc = emit(writer, yaml_stream_end_event_initialize(&event), &event);
    return rc;
}

int pd_yaml_format(const struct pd_node *node, struct pd_buf *out, struct pd_err *err)
{
    struct writer writer = {.out = out, .err = err};
    int rc;

    if (!yaml_emitter_initialize(&writer.emitter))
        abort();
    yaml_emitter_set_output(&writer.emitter, on_write, &writer);
    yaml_emitter_set_encoding(&writer.emitter, YAML_UTF8_ENCODING);
    yaml_emitter_set_unicode(&writer.emitter, 1);
    yaml_emitter_set_width(&writer.emitter, -1);
    rc = write_stream(&writer, node);
    yaml_emitter_delete(&writer.emitter);
    return rc;
}
