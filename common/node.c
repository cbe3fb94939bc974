#include "common/node.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "common/mem.h"

static struct pd_node *node_new(enum pd_node_kind kind)
{
    struct pd_node *node = PD_NEW(struct pd_node);
    node->kind = kind;
    return node;
}

struct pd_node *pd_node_null_new(void)
{
    return node_new(PD_NODE_NULL);
}

struct pd_node *pd_node_bool_new(bool value)
{
    struct pd_node *node = node_new(PD_NODE_BOOL);
    node->boolean = value;
    return node;
}

struct pd_node *pd_node_int_new(int64_t value)
{
    struct pd_node *node = node_new(PD_NODE_INT);
    node->integer = value;
    return node;
}

struct pd_node *pd_node_number_new(double value)
{
    struct pd_node *node = node_new(PD_NODE_NUMBER);
    node->number = value;
    return node;
}

struct pd_node *pd_node_string_new(const char *text)
{
    return pd_node_string_new_len(text, strlen(text));
}

struct pd_node *pd_node_string_new_len(const char *text, size_t len)
{
    struct pd_node *node = node_new(PD_NODE_STRING);
    node->string.text = pd_strndup(text, len);
    node->string.len = len;
    return node;
}

struct pd_node *pd_node_list_new(void)
{
    return node_new(PD_NODE_LIST);
}

struct pd_node *pd_node_map_new(void)
{
    return node_new(PD_NODE_MAP);
}

void pd_node_free(struct pd_node *node)
{
    if (!node)
        return;
    if (node->kind == PD_NODE_STRING) {
        free(node->string.text);
    } else if (node->kind == PD_NODE_LIST) {
        for (size_t i = 0; i < node->list.count; i++)
            pd_node_free(node->list.items[i]);
        free(node->list.items);
    } else if (node->kind == PD_NODE_MAP) {
        for (size_t i = 0; i < node->map.count; i++) {
            free(node->map.members[i].key);
            pd_node_free(node->map.members[i].value);
        }
        free(node->map.members);
    }
    free(node);
}

/* Storage doubles each time the count reaches a power of two, so that no
 * capacity need be kept. */
static void *grow(void *array, size_t count, size_t size)
{
    if (count & (count - 1))
        return array;
    return pd_realloc(array, count ? count * 2 : 1, size);
}

void pd_node_add(struct pd_node *list, struct pd_node *item)
{
    assert(list->kind == PD_NODE_LIST);
    list->list.items = grow(list->list.items, list->list.count, sizeof *list->list.items);
    list->list.items[list->list.count++] = item;
}

struct pd_node *pd_node_append(struct pd_node *map, const char *key, struct pd_node *value)
{
    assert(map->kind == PD_NODE_MAP);
    map->map.members = grow(map->map.members, map->map.count, sizeof *map->map.members);
    map->map.members[map->map.count++] = (struct pd_member){pd_strdup(key), value};
    return value;
}

static struct pd_member *find(const struct pd_node *map, const char *key)
{
    for (size_t i = 0; i < map->map.count; i++) {
        if (strcmp(map->map.members[i].key, key) == 0)
            return &map->map.members[i];
    }
    return NULL;
}

struct pd_node *pd_node_set(struct pd_node *map, const char *key, struct pd_node *value)
{
    struct pd_member *member;

    assert(map->kind == PD_NODE_MAP);
    member = find(map, key);
    if (!member)
        return pd_node_append(map, key, value);
    pd_node_free(member->value);
    return member->value = value;
}

void pd_node_set_string(struct pd_node *map, const char *key, const char *text)
{
    pd_node_set(map, key, pd_node_string_new(text));
}

void pd_node_set_int(struct pd_node *map, const char *key, int64_t value)
{
    pd_node_set(map, key, pd_node_int_new(value));
}

void pd_node_set_number(struct pd_node *map, const char *key, double value)
{
    pd_node_set(map, key, pd_node_number_new(value));
}

void pd_node_set_bool(struct pd_node *map, const char *key, bool value)
{
    pd_node_set(map, key, pd_node_bool_new(value));
}

void pd_node_remove(struct pd_node *map, const char *key)
{
    struct pd_member *member, *end;

    assert(map->kind == PD_NODE_MAP);
    member = find(map, key);
    if (!member)
        return;
    free(member->key);
    pd_node_free(member->value);
    end = map->map.members + map->map.count--;
    memmove(member, member + 1, (size_t)(end - (member + 1)) * sizeof *member);
}

static struct pd_node *copy_value(const struct pd_node *node)
{
    struct pd_node *copy = node_new(node->kind);

    if (node->kind == PD_NODE_STRING) {
        copy->string.text = pd_strndup(node->string.text, node->string.len);
        copy->string.len = node->string.len;
    } else if (node->kind == PD_NODE_LIST) {
        for (size_t i = 0; i < node->list.count; i++)
            pd_node_add(copy, pd_node_copy(node->list.items[i]));
    } else if (node->kind == PD_NODE_MAP) {
        for (size_t i = 0; i < node->map.count; i++)
            pd_node_append(copy, node->map.members[i].key,
                           pd_node_copy(node->map.members[i].value));
    } else {
        *copy = *node;
    }
    return copy;
}

struct pd_node *pd_node_copy(const struct pd_node *node)
{
    struct pd_node *copy = copy_value(node);
    copy->line = node->line;
    copy->column = node->column;
    return copy;
}

static bool int_equals_number(int64_t integer, double number)
{
    return number >= -0x1p63 && number < 0x1p63 && trunc(number) == number &&
           (int64_t)number == integer;
}

static bool map_equal(const struct pd_node *a, const struct pd_node *b)
{
    if (a->map.count != b->map.count)
        return false;
    for (size_t i = 0; i < a->map.count; i++) {
        const struct pd_member *member = &a->map.members[i];
        const struct pd_member *other = &b->map.members[i];
        if (strcmp(member->key, other->key) != 0) /* most often they stand in the same order */
            other = find(b, member->key);
        if (!other || !pd_node_equal(member->value, other->value))
            return false;
    }
    return true;
}

static bool list_equal(const struct pd_node *a, const struct pd_node *b)
{
    if (a->list.count != b->list.count)
        return false;
    for (size_t i = 0; i < a->list.count; i++) {
        if (!pd_node_equal(a->list.items[i], b->list.items[i]))
            return false;
    }
    return true;
}

bool pd_node_equal(const struct pd_node *a, const struct pd_node *b)
{
    if (a->kind == PD_NODE_INT && b->kind == PD_NODE_NUMBER)
        return int_equals_number(a->integer, b->number);
    if (a->kind == PD_NODE_NUMBER && b->kind == PD_NODE_INT)
        return int_equals_number(b->integer, a->number);
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case PD_NODE_NULL:
        return true;
    case PD_NODE_BOOL:
        return a->boolean == b->boolean;
    case PD_NODE_INT:
        return a->integer == b->integer;
    case PD_NODE_NUMBER:
        return a->number == b->number;
    case PD_NODE_STRING:
        return a->string.len == b->string.len &&
               memcmp(a->string.text, b->string.text, a->string.len) == 0;
    case PD_NODE_LIST:
        return list_equal(a, b);
    case PD_NODE_MAP:
        return map_equal(a, b);
    }
    return false;
}

struct pd_node *pd_node_get(const struct pd_node *map, const char *key)
{
    struct pd_member *member;

    if (!map || map->kind != PD_NODE_MAP)
        return NULL;
    member = find(map, key);
    return member ? member->value : NULL;
}

struct pd_node *pd_node_at(const struct pd_node *map, ...)
{
    struct pd_node *node = NULL;
    const char *key;
    va_list ap;

    va_start(ap, map);
    while ((key = va_arg(ap, const char *)))
        map = node = pd_node_get(map, key);
    va_end(ap);
    return node;
}

static bool is_absent(const struct pd_node *node)
{
    return !node || node->kind == PD_NODE_NULL;
}

const char *pd_node_text(const struct pd_node *node, const char *fallback)
{
    if (is_absent(node))
        return fallback;
    assert(node->kind == PD_NODE_STRING);
    return node->string.text;
}

int64_t pd_node_int(const struct pd_node *node, int64_t fallback)
{
    if (is_absent(node))
        return fallback;
    assert(node->kind == PD_NODE_INT);
    return node->integer;
}

double pd_node_number(const struct pd_node *node, double fallback)
{
    if (is_absent(node))
        return fallback;
    if (node->kind == PD_NODE_INT)
        return (double)node->integer;
    assert(node->kind == PD_NODE_NUMBER);
    return node->number;
}

bool pd_node_bool(const struct pd_node *node, bool fallback)
{
    if (is_absent(node))
        return fallback;
    assert(node->kind == PD_NODE_BOOL);
    return node->boolean;
}

size_t pd_node_count(const struct pd_node *node)
{
    if (node && node->kind == PD_NODE_LIST)
        return node->list.count;
    if (node && node->kind == PD_NODE_MAP)
        return node->map.count;
    return 0;
}
