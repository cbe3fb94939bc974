#include "api/kube_patch.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

#define TOKEN_BYTES 512

void pd_patch_merge(struct pd_node **node, const struct pd_node *patch)
{
    if (patch->kind != PD_NODE_MAP) {
        pd_node_free(*node);
        *node = pd_node_copy(patch);
        return;
    }
    if (!*node || (*node)->kind != PD_NODE_MAP) {
        pd_node_free(*node);
        *node = pd_node_map_new();
    }
    for (size_t i = 0; i < patch->map.count; i++) {
        const struct pd_member *member = &patch->map.members[i];
        struct pd_node *value;
        if (member->value->kind == PD_NODE_NULL) {
            pd_node_remove(*node, member->key);
            continue;
        }
        value = pd_node_get(*node, member->key);
        value = value ? pd_node_copy(value) : NULL;
        pd_patch_merge(&value, member->value);
        pd_node_set(*node, member->key, value);
    }
}

/* ---- pointers ---- */

/* The place that a pointer names: a member or an element of `parent`. */
struct place {
    struct pd_node *parent; /* NULL: the whole document */
    char token[TOKEN_BYTES];
    size_t index; /* in a list */
    size_t depth;
};

/* "~1" is "/", "~0" is "~". */
static bool take_token(const char **pointer, char out[static TOKEN_BYTES])
{
    size_t len = 0;
    const char *p = *pointer + 1;

    for (; *p && *p != '/'; p++) {
        if (len + 1 == TOKEN_BYTES)
            return false;
        if (*p == '~') {
            p++;
            if (*p != '0' && *p != '1')
                return false;
            out[len++] = *p == '0' ? '~' : '/';
        } else {
            out[len++] = *p;
        }
    }
    out[len] = '\0';
    *pointer = p;
    return true;
}

/* Digits without a leading zero; "-" is behind the last one. */
static bool index_of(const struct pd_node *list, const char *token, size_t *ret)
{
    size_t value = 0;

    if (strcmp(token, "-") == 0) {
        *ret = list->list.count;
        return true;
    }
    if (!*token || (token[0] == '0' && token[1]) || strlen(token) > 9)
        return false;
    for (const char *p = token; *p; p++) {
        if (*p < '0' || *p > '9')
            return false;
        value = value * 10 + (size_t)(*p - '0');
    }
    *ret = value;
    return value <= list->list.count;
}

static struct pd_node *child(struct pd_node *parent, const char *token)
{
    size_t index;

    if (parent->kind == PD_NODE_MAP)
        return pd_node_get(parent, token);
    if (parent->kind != PD_NODE_LIST || !index_of(parent, token, &index) ||
        index >= parent->list.count)
        return NULL;
    return parent->list.items[index];
}

static int no_place(const char *pointer, struct pd_err *err)
{
    return pd_err_set(err, PD_INVALID, "there is no place '%.200s'", pointer);
}

static int find_place(struct pd_node *root, const char *pointer, struct place *ret,
                      struct pd_err *err)
{
    const char *at = pointer;
    struct pd_node *node = root;

    *ret = (struct place){.parent = NULL};
    if (*at && *at != '/')
        return pd_err_set(err, PD_INVALID, "'%.200s' is no JSON pointer", pointer);
    while (*at) {
        if (ret->parent) {
            node = child(ret->parent, ret->token);
            if (!node)
                return no_place(pointer, err);
        }
        if (!take_token(&at, ret->token))
            return pd_err_set(err, PD_INVALID, "'%.200s' is no JSON pointer", pointer);
        ret->parent = node;
        ret->depth++;
    }
    if (!ret->parent)
        return 0;
    if (ret->parent->kind == PD_NODE_LIST && index_of(ret->parent, ret->token, &ret->index))
        return 0;
    return ret->parent->kind == PD_NODE_MAP ? 0 : no_place(pointer, err);
}

static struct pd_node *value_at(struct pd_node *root, const struct place *place)
{
    return place->parent ? child(place->parent, place->token) : root;
}

/* ---- what is done at a place ---- */

static size_t depth_of(const struct pd_node *node)
{
    size_t deepest = 0;

    if (node->kind != PD_NODE_LIST && node->kind != PD_NODE_MAP)
        return 1;
    for (size_t i = 0; i < pd_node_count(node); i++) {
        size_t depth =
            depth_of(node->kind == PD_NODE_LIST ? node->list.items[i] : node->map.members[i].value);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

static size_t size_of(const struct pd_node *node)
{
    size_t size = 1;

    if (node->kind != PD_NODE_LIST && node->kind != PD_NODE_MAP)
        return 1;
    for (size_t i = 0; i < pd_node_count(node); i++)
        size +=
            size_of(node->kind == PD_NODE_LIST ? node->list.items[i] : node->map.members[i].value);
    return size;
}

static void list_insert(struct pd_node *list, size_t index, struct pd_node *value)
{
    pd_node_add(list, value);
    memmove(&list->list.items[index + 1], &list->list.items[index],
            (list->list.count - 1 - index) * sizeof(void *));
    list->list.items[index] = value;
}

/* The value is taken over, refused or not. */
static int add(struct pd_node **root, const struct place *place, struct pd_node *value,
               struct pd_err *err)
{
    if (place->depth + depth_of(value) > PD_PATCH_DEPTH_MAX) {
        pd_node_free(value);
        return pd_err_set(err, PD_LIMIT, "deeper than %d", PD_PATCH_DEPTH_MAX);
    }
    if (!place->parent) {
        pd_node_free(*root);
        *root = value;
    } else if (place->parent->kind == PD_NODE_MAP) {
        pd_node_set(place->parent, place->token, value);
    } else {
        list_insert(place->parent, place->index, value);
    }
    return 0;
}

static int take_out(struct pd_node *root, const struct place *place, const char *pointer,
                    struct pd_err *err)
{
    struct pd_node *list = place->parent;

    if (!place->parent)
        return pd_err_set(err, PD_INVALID, "the whole document cannot be removed");
    if (!value_at(root, place))
        return no_place(pointer, err);
    if (list->kind == PD_NODE_MAP) {
        pd_node_remove(list, place->token);
        return 0;
    }
    pd_node_free(list->list.items[place->index]);
    list->list.count--;
    memmove(&list->list.items[place->index], &list->list.items[place->index + 1],
            (list->list.count - place->index) * sizeof(void *));
    return 0;
}

/* ---- operations ---- */

struct patching {
    struct pd_node **root;
    size_t copied;
};

static const char *text_of(const struct pd_node *operation, const char *key)
{
    const struct pd_node *node = pd_node_get(operation, key);

    if (!node || node->kind != PD_NODE_STRING || strlen(node->string.text) != node->string.len)
        return NULL;
    return node->string.text;
}

/* What `from` names, copied. */
static int copy_from(struct patching *patching, const struct pd_node *operation,
                     struct pd_node **ret, struct pd_err *err)
{
    const char *from = text_of(operation, "from");
    struct place place;
    struct pd_node *value;

    if (!from)
        return pd_err_set(err, PD_INVALID, "'from' is missing");
    if (find_place(*patching->root, from, &place, err) < 0)
        return PD_INVALID;
    value = value_at(*patching->root, &place);
    if (!value)
        return no_place(from, err);
    patching->copied += size_of(value);
    if (patching->copied > PD_PATCH_COPIED_MAX)
        return pd_err_set(err, PD_LIMIT, "the patch copies too much");
    *ret = pd_node_copy(value);
    return 0;
}

/* What `from` names goes; `path` may not be inside it (RFC 6902, 4.4). */
static int move_from(struct patching *patching, const struct pd_node *operation, const char *path,
                     struct pd_node **ret, struct pd_err *err)
{
    const char *from = text_of(operation, "from");
    size_t len = from ? strlen(from) : 0;
    struct place place;
    int rc = copy_from(patching, operation, ret, err);

    if (rc < 0)
        return rc;
    if (strncmp(path, from, len) == 0 && path[len] == '/')
        rc = pd_err_set(err, PD_INVALID, "'%.100s' cannot be moved into itself", from);
    else
        rc = find_place(*patching->root, from, &place, err);
    if (rc == 0)
        rc = take_out(*patching->root, &place, from, err);
    if (rc < 0) {
        pd_node_free(*ret);
        *ret = NULL;
    }
    return rc;
}

/* The value that an operation brings along: given, copied or moved. */
static int value_for(struct patching *patching, const struct pd_node *operation, const char *op,
                     const char *path, struct pd_node **ret, struct pd_err *err)
{
    const struct pd_node *given = pd_node_get(operation, "value");

    if (strcmp(op, "copy") == 0)
        return copy_from(patching, operation, ret, err);
    if (strcmp(op, "move") == 0)
        return move_from(patching, operation, path, ret, err);
    if (!given)
        return pd_err_set(err, PD_INVALID, "'value' is missing");
    *ret = pd_node_copy(given);
    return 0;
}

static int test(struct pd_node *root, const struct place *place, const struct pd_node *operation,
                const char *path, struct pd_err *err)
{
    const struct pd_node *value = value_at(root, place), *wanted = pd_node_get(operation, "value");

    if (!wanted)
        return pd_err_set(err, PD_INVALID, "'value' is missing");
    if (!value || !pd_node_equal(value, wanted))
        return pd_err_set(err, PD_CONFLICT, "the test of '%.200s' does not hold", path);
    return 0;
}

static int replace(struct patching *patching, const char *path, struct pd_node *value,
                   struct pd_err *err)
{
    struct place place;
    int rc = find_place(*patching->root, path, &place, err);

    if (rc == 0 && !value_at(*patching->root, &place))
        rc = no_place(path, err);
    if (rc == 0 && place.parent && place.parent->kind == PD_NODE_LIST)
        rc = take_out(*patching->root, &place, path, err);
    if (rc < 0) {
        pd_node_free(value);
        return rc;
    }
    return add(patching->root, &place, value, err);
}

static int put(struct patching *patching, const struct pd_node *operation, const char *op,
               const char *path, struct pd_err *err)
{
    struct pd_node *value = NULL;
    struct place place;
    int rc = value_for(patching, operation, op, path, &value, err);

    if (rc < 0)
        return rc;
    if (strcmp(op, "replace") == 0)
        return replace(patching, path, value, err);
    rc = find_place(*patching->root, path, &place, err);
    if (rc < 0) {
        pd_node_free(value);
        return rc;
    }
    return add(patching->root, &place, value, err);
}

static bool is_put(const char *op)
{
    return strcmp(op, "add") == 0 || strcmp(op, "replace") == 0 || strcmp(op, "move") == 0 ||
           strcmp(op, "copy") == 0;
}

static int operate(struct patching *patching, const struct pd_node *operation, struct pd_err *err)
{
    const char *op = text_of(operation, "op"), *path = text_of(operation, "path");
    struct place place;

    if (!op || !path)
        return pd_err_set(err, PD_INVALID, "'op' or 'path' is missing");
    if (is_put(op))
        return put(patching, operation, op, path, err);
    if (strcmp(op, "remove") != 0 && strcmp(op, "test") != 0)
        return pd_err_set(err, PD_INVALID, "'%.40s' is no operation", op);
    if (find_place(*patching->root, path, &place, err) < 0)
        return PD_INVALID;
    return strcmp(op, "test") == 0 ? test(*patching->root, &place, operation, path, err)
                                   : take_out(*patching->root, &place, path, err);
}

int pd_patch_json(struct pd_node **node, const struct pd_node *patch, struct pd_err *err)
{
    struct pd_node *root = pd_node_copy(*node);
    struct patching patching = {.root = &root};
    int rc = 0;

    if (patch->kind != PD_NODE_LIST)
        rc = pd_err_set(err, PD_INVALID, "a JSON patch is a list of operations");
    else if (patch->list.count > PD_PATCH_OPERATIONS_MAX)
        rc = pd_err_set(err, PD_LIMIT, "more than %d operations", PD_PATCH_OPERATIONS_MAX);
    for (size_t i = 0; rc == 0 && i < patch->list.count; i++) {
        rc = operate(&patching, patch->list.items[i], err);
        if (rc < 0)
            pd_err_wrap(err, "operation %zu", i); /* the kind stays */
    }
    if (rc < 0) {
        pd_node_free(root);
        return rc;
    }
    pd_node_free(*node);
    *node = root;
    return 0;
}
