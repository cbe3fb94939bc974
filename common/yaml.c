/* libyaml gives events; the tree is built by recursive descent over them. What
 * an alias costs is what it expands to: nodes and bytes are counted against the
 * bounds before anything is copied. */
#include "common/yaml.h"

#include <string.h>
#include <yaml.h>

#include "common/asset.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "common/yaml_scalar.h"

#define ANCHORS_MAX 256
#define DIRECTIVES_MAX 64
#define TREE_BYTES_MAX (4 * PD_YAML_BYTES_MAX) /* of strings, expanded aliases included */

struct anchor {
    char *name;
    const struct pd_node *node; /* NULL while it is being read */
    size_t nodes, bytes, depth; /* what a copy costs */
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one looked at */
    bool has_event;
    struct anchor anchors[ANCHORS_MAX];
    size_t n_anchors;
    size_t depth, nodes, bytes;
    size_t deepest; /* since an anchor began */
    struct pd_err *err;
};

#define FAIL(reader, kind, line, fmt, ...)                                                         \
    pd_err_set((reader)->err, kind, fmt " (line %zu)", ##__VA_ARGS__, (size_t)(line))

static int next_event(struct reader *reader)
{
    yaml_parser_t *parser = &reader->parser;

    if (reader->has_event)
        yaml_event_delete(&reader->event);
    reader->has_event = yaml_parser_parse(parser, &reader->event);
    if (reader->has_event)
        return 0;
    if (parser->error == YAML_MEMORY_ERROR)
        return FAIL(reader, PD_LIMIT, parser->mark.line + 1, "too large to be read");
    if (parser->error == YAML_READER_ERROR)
        return FAIL(reader, PD_INVALID, parser->mark.line + 1, "%s", parser->problem);
    return FAIL(reader, PD_INVALID, parser->problem_mark.line + 1, "%s%s%s",
                parser->context ? parser->context : "", parser->context ? ": " : "",
                parser->problem ? parser->problem : "cannot be read");
}

static size_t line_of(const struct reader *reader)
{
    return reader->event.start_mark.line + 1;
}

/* Account for what is about to be added to the tree. */
static int charge(struct reader *reader, size_t nodes, size_t bytes, size_t depth)
{
    reader->nodes += nodes;
    reader->bytes += bytes;
    if (reader->depth + depth > reader->deepest)
        reader->deepest = reader->depth + depth;
    if (reader->nodes > PD_YAML_NODES_MAX)
        return FAIL(reader, PD_LIMIT, line_of(reader), "more than %d values", PD_YAML_NODES_MAX);
    if (reader->bytes > TREE_BYTES_MAX)
        return FAIL(reader, PD_LIMIT, line_of(reader), "more than %d bytes, aliases expanded",
                    TREE_BYTES_MAX);
    if (reader->depth + depth > PD_YAML_DEPTH_MAX)
        return FAIL(reader, PD_LIMIT, line_of(reader), "nested deeper than %d levels",
                    PD_YAML_DEPTH_MAX);
    return 0;
}

static struct anchor *anchor_find(struct reader *reader, const char *name)
{
    for (size_t i = 0; i < reader->n_anchors; i++) {
        if (strcmp(reader->anchors[i].name, name) == 0)
            return &reader->anchors[i];
    }
    return NULL;
}

/* ret_anchor: NULL where there is none to fill in. */
static int anchor_begin(struct reader *reader, const yaml_char_t *name, struct anchor **ret_anchor)
{
    struct anchor *anchor;

    *ret_anchor = NULL;
    if (!name)
        return 0;
    anchor = anchor_find(reader, (const char *)name);
    if (!anchor && reader->n_anchors == ANCHORS_MAX)
        return FAIL(reader, PD_LIMIT, line_of(reader), "more than %d anchors", ANCHORS_MAX);
    if (!anchor) {
        anchor = &reader->anchors[reader->n_anchors++];
        anchor->name = pd_strdup((const char *)name);
    }
    anchor->node = NULL;
    anchor->nodes = reader->nodes;
    anchor->bytes = reader->bytes;
    anchor->depth = reader->depth;
    *ret_anchor = anchor;
    return 0;
}

static void anchor_end(struct reader *reader, struct anchor *anchor, const struct pd_node *node)
{
    if (!anchor)
        return;
    anchor->node = node;
    anchor->nodes = reader->nodes - anchor->nodes;
    anchor->bytes = reader->bytes - anchor->bytes;
    anchor->depth = reader->deepest - anchor->depth;
}

static int read_alias(struct reader *reader, struct pd_node **ret_node)
{
    const char *name = (const char *)reader->event.data.alias.anchor;
    struct anchor *anchor = anchor_find(reader, name);
    int rc;

    if (!anchor)
        return FAIL(reader, PD_INVALID, line_of(reader), "alias of an unknown anchor");
    if (!anchor->node)
        return FAIL(reader, PD_INVALID, line_of(reader), "alias within its own anchor");
    rc = charge(reader, anchor->nodes, anchor->bytes, anchor->depth);
    if (rc == 0)
        *ret_node = pd_node_copy(anchor->node);
    return rc;
}

static const struct {
    const char *tag;
    enum pd_node_kind kind;
} tags[] = {
    {YAML_STR_TAG, PD_NODE_STRING},   {YAML_INT_TAG, PD_NODE_INT},   {YAML_BOOL_TAG, PD_NODE_BOOL},
    {YAML_FLOAT_TAG, PD_NODE_NUMBER}, {YAML_NULL_TAG, PD_NODE_NULL}, {YAML_SEQ_TAG, PD_NODE_LIST},
    {YAML_MAP_TAG, PD_NODE_MAP},
};

/* Whether a value of this kind may carry this tag. */
static int check_tag(struct reader *reader, const yaml_char_t *tag, enum pd_node_kind kind)
{
    for (size_t i = 0; i < PD_COUNT(tags); i++) {
        if (strcmp((const char *)tag, tags[i].tag) != 0)
            continue;
        if (tags[i].kind == kind || (tags[i].kind == PD_NODE_NUMBER && kind == PD_NODE_INT))
            return 0;
        return FAIL(reader, PD_INVALID, line_of(reader), "the value does not fit its tag %.80s",
                    (const char *)tag);
    }
    if (strcmp((const char *)tag, "!") == 0)
        return 0;
    return FAIL(reader, PD_INVALID, line_of(reader), "unknown tag %.80s", (const char *)tag);
}

static int read_scalar(struct reader *reader, struct pd_node **ret_node)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    const yaml_char_t *tag = reader->event.data.scalar.tag;
    size_t len = reader->event.data.scalar.length;
    bool plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    int rc = charge(reader, 1, len, 0);

    if (rc < 0)
        return rc;
    if (tag)
        plain = strcmp((const char *)tag, "!") != 0 && strcmp((const char *)tag, YAML_STR_TAG) != 0;
    if (!plain)
        *ret_node = pd_node_string_new_len(text, len);
    else if (pd_yaml_scalar(text, len, ret_node) < 0)
        return FAIL(reader, PD_INVALID, line_of(reader), "number out of range: %.40s", text);
    if (tag && (rc = check_tag(reader, tag, (*ret_node)->kind)) < 0) {
        pd_node_free(*ret_node);
        return rc;
    }
    return 0;
}

static int read_value(struct reader *reader, struct pd_node **ret_node);

/* At the start of a list or a map: one level down, past its tag. */
static int descend(struct reader *reader, const yaml_char_t *tag, enum pd_node_kind kind)
{
    int rc = tag ? check_tag(reader, tag, kind) : 0;

    reader->depth++;
    return rc < 0 ? rc : charge(reader, 1, 0, 0);
}

static int read_items(struct reader *reader, struct pd_node *list)
{
    int rc = descend(reader, reader->event.data.sequence_start.tag, PD_NODE_LIST);

    while (rc == 0 && (rc = next_event(reader)) == 0) {
        struct pd_node *item;
        if (reader->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        rc = read_value(reader, &item);
        if (rc == 0)
            pd_node_add(list, item);
    }
    reader->depth--;
    return rc;
}

/* Members are told apart by their text: 1 and "1" are the same. */
static int read_key(struct reader *reader, char **ret_key)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    size_t len = reader->event.data.scalar.length;
    int rc;

    if (reader->event.type != YAML_SCALAR_EVENT)
        return FAIL(reader, PD_INVALID, line_of(reader), "a key must be a plain or quoted text");
    if (strlen(text) != len)
        return FAIL(reader, PD_INVALID, line_of(reader), "a key must not contain U+0000");
    if (reader->event.data.scalar.anchor || reader->event.data.scalar.tag)
        return FAIL(reader, PD_INVALID, line_of(reader), "a key takes no anchor and no tag");
    rc = charge(reader, 1, len, 0);
    if (rc == 0)
        *ret_key = pd_strndup(text, len);
    return rc;
}

static int by_key(const void *a, const void *b)
{
    const struct pd_member *const *left = a, *const *right = b;
    int order = strcmp((*left)->key, (*right)->key);
    if (order == 0)
        order = (*left > *right) - (*left < *right);
    return order;
}

static int check_duplicates(struct reader *reader, const struct pd_node *map)
{
    pd_autofree const struct pd_member **sorted = pd_calloc(map->map.count, sizeof *sorted);

    for (size_t i = 0; i < map->map.count; i++)
        sorted[i] = &map->map.members[i];
    qsort(sorted, map->map.count, sizeof *sorted, by_key);
    for (size_t i = 1; i < map->map.count; i++) {
        if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
            return FAIL(reader, PD_INVALID, sorted[i]->value->line, "duplicate key %.80s",
                        sorted[i]->key);
    }
    return 0;
}

static int read_member(struct reader *reader, struct pd_node *map)
{
    pd_autofree char *key = NULL;
    struct pd_node *value;
    int rc = read_key(reader, &key);

    if (rc == 0)
        rc = next_event(reader);
    if (rc == 0)
        rc = read_value(reader, &value);
    if (rc == 0)
        pd_node_append(map, key, value);
    return rc;
}

static int read_members(struct reader *reader, struct pd_node *map)
{
    int rc = descend(reader, reader->event.data.mapping_start.tag, PD_NODE_MAP);

    while (rc == 0 && (rc = next_event(reader)) == 0) {
        if (reader->event.type == YAML_MAPPING_END_EVENT)
            break;
        rc = read_member(reader, map);
    }
    reader->depth--;
    return rc < 0 ? rc : check_duplicates(reader, map);
}

static const yaml_char_t *event_anchor(const yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        return event->data.scalar.anchor;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return event->data.sequence_start.anchor;
    return event->type == YAML_MAPPING_START_EVENT ? event->data.mapping_start.anchor : NULL;
}

/* By kind of event; on failure nothing is left behind. */
static int read_content(struct reader *reader, struct pd_node **ret_node)
{
    bool is_list = reader->event.type == YAML_SEQUENCE_START_EVENT;
    struct pd_node *node;
    int rc;

    if (reader->event.type == YAML_ALIAS_EVENT)
        return read_alias(reader, ret_node);
    if (reader->event.type == YAML_SCALAR_EVENT)
        return read_scalar(reader, ret_node);
    node = is_list ? pd_node_list_new() : pd_node_map_new();
    rc = is_list ? read_items(reader, node) : read_members(reader, node);
    if (rc < 0)
        pd_node_free(node);
    else
        *ret_node = node;
    return rc;
}

/* The value that begins with the current event. */
static int read_value(struct reader *reader, struct pd_node **ret_node)
{
    yaml_mark_t mark = reader->event.start_mark;
    size_t deepest = reader->deepest;
    struct anchor *anchor;
    int rc = anchor_begin(reader, event_anchor(&reader->event), &anchor);

    if (rc < 0)
        return rc;
    reader->deepest = reader->depth;
    rc = read_content(reader, ret_node);
    if (rc < 0)
        return rc;
    (*ret_node)->line = (int)mark.line + 1;
    (*ret_node)->column = (int)mark.column + 1;
    anchor_end(reader, anchor, *ret_node);
    if (deepest > reader->deepest)
        reader->deepest = deepest;
    return 0;
}

static void forget_anchors(struct reader *reader)
{
    for (size_t i = 0; i < reader->n_anchors; i++)
        free(reader->anchors[i].name);
    reader->n_anchors = 0;
}

/* From the document's start to its end; the stream's end leaves *ret_node NULL. */
static int read_document(struct reader *reader, struct pd_node **ret_node)
{
    struct pd_node *node = NULL;
    int rc = next_event(reader);

    *ret_node = NULL;
    if (rc < 0 || reader->event.type == YAML_STREAM_END_EVENT)
        return rc;
    rc = next_event(reader);
    if (rc == 0)
        rc = read_value(reader, &node);
    forget_anchors(reader);
    if (rc == 0 && (rc = next_event(reader)) < 0) /* its end */
        pd_node_free(node);
    if (rc == 0)
        *ret_node = node;
    return rc;
}

/* libyaml compares each %TAG directive with all those before it. */
static int check_directives(const char *text, size_t len, struct pd_err *err)
{
    const char *end = text + len, *at = text;

    for (int count = 0; (at = memmem(at, (size_t)(end - at), "%TAG", 4)); at += 4) {
        if (++count > DIRECTIVES_MAX)
            return pd_err_set(err, PD_LIMIT, "more than %d %%TAG directives (line 1)",
                              DIRECTIVES_MAX);
    }
    return 0;
}

static int reader_begin(struct reader *reader, const char *text, size_t len, struct pd_err *err)
{
    reader->err = err;
    if (len > PD_YAML_BYTES_MAX)
        return pd_err_set(err, PD_LIMIT, "more than %d bytes (line 1)", PD_YAML_BYTES_MAX);
    if (check_directives(text, len, err) < 0)
        return PD_LIMIT;
    if (!yaml_parser_initialize(&reader->parser))
        abort();
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, len);
    return next_event(reader); /* the stream's start */
}

static void reader_end(struct reader *reader)
{
    forget_anchors(reader);
    if (reader->has_event)
        yaml_event_delete(&reader->event);
    yaml_parser_delete(&reader->parser);
    free(reader);
}

int pd_yaml_parse_all(const char *text, size_t len, struct pd_node **ret_list, struct pd_err *err)
{
    struct reader *reader = PD_NEW(struct reader);
    pd_autonode struct pd_node *list = pd_node_list_new();
    struct pd_node *document = NULL;
    int rc = reader_begin(reader, text, len, err);

    while (rc == 0 && (rc = read_document(reader, &document)) == 0 && document)
        pd_node_add(list, document);
    reader_end(reader);
    if (rc == 0)
        *ret_list = PD_STEAL(list);
    return rc;
}

int pd_yaml_parse(const char *text, size_t len, struct pd_node **ret_node, struct pd_err *err)
{
    struct reader *reader = PD_NEW(struct reader);
    struct pd_node *more = NULL;
    pd_autonode struct pd_node *node = NULL;
    int rc = reader_begin(reader, text, len, err);

    if (rc == 0)
        rc = read_document(reader, &node);
    if (rc == 0 && node)
        rc = read_document(reader, &more);
    if (rc == 0 && more)
        rc = FAIL(reader, PD_INVALID, more->line, "a second document");
    pd_node_free(more);
    reader_end(reader);
    if (rc == 0)
        *ret_node = node ? PD_STEAL(node) : pd_node_null_new();
    return rc;
}

int pd_yaml_parse_asset(const char *name, struct pd_node **ret_node, struct pd_err *err)
{
    struct pd_asset asset = pd_asset_find(name);

    if (!asset.name)
        return pd_err_set(err, PD_INTERNAL, "%s is not built in", name);
    if (pd_yaml_parse((const char *)asset.data, asset.len, ret_node, err) < 0)
        return pd_err_wrap(err, "%s", name);
    return 0;
}
