/* One tree for everything declared or sent from outside: YAML (yaml.h) and
 * JSON (json.h) both become pd_nodes, which keep where they stood in the text,
 * and a schema (schema.h) checks them. Data model: JSON (RFC 8259). */
#ifndef PD_COMMON_NODE_H
#define PD_COMMON_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pd_node_kind {
    PD_NODE_NULL,
    PD_NODE_BOOL,
    PD_NODE_INT,
    PD_NODE_NUMBER,
    PD_NODE_STRING,
    PD_NODE_LIST,
    PD_NODE_MAP,
};

struct pd_node {
    enum pd_node_kind kind;
    int line;   /* 1-based line in the source text, 0 where unknown (JSON, defaults) */
    int column; /* likewise */
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct {
            char *text; /* terminated; may hold NULs: both notations can write them */
            size_t len; /* bytes */
        } string;
        struct {
            struct pd_node **items; /* owned */
            size_t count;
        } list;
        struct {
            struct pd_member *members; /* owned, in source order */
            size_t count;
        } map;
    };
};

struct pd_member {
    char *key;
    struct pd_node *value;
};

/* Every constructor returns a node that the caller owns; adding it to a list
 * or a map hands it over. Free takes the whole subtree and accepts NULL. */
struct pd_node *pd_node_null_new(void);
struct pd_node *pd_node_bool_new(bool value);
struct pd_node *pd_node_int_new(int64_t value);
struct pd_node *pd_node_number_new(double value);
struct pd_node *pd_node_string_new(const char *text);
struct pd_node *pd_node_string_new_len(const char *text, size_t len);
struct pd_node *pd_node_list_new(void);
struct pd_node *pd_node_map_new(void);
void pd_node_free(struct pd_node *node);

struct pd_node *pd_node_copy(const struct pd_node *node);
/* Equal in value; marks and member order do not count; 1 and 1.0 are equal. */
bool pd_node_equal(const struct pd_node *a, const struct pd_node *b);

void pd_node_add(struct pd_node *list, struct pd_node *item);
/* Set or replace. Returns `value` for chaining. */
struct pd_node *pd_node_set(struct pd_node *map, const char *key, struct pd_node *value);
/* Likewise, of a key known to be absent: costs nothing however large the map. */
struct pd_node *pd_node_append(struct pd_node *map, const char *key, struct pd_node *value);
void pd_node_set_string(struct pd_node *map, const char *key, const char *text);
void pd_node_set_int(struct pd_node *map, const char *key, int64_t value);
void pd_node_set_number(struct pd_node *map, const char *key, double value);
void pd_node_set_bool(struct pd_node *map, const char *key, bool value);
void pd_node_remove(struct pd_node *map, const char *key);

/* Member of a map, or NULL (also when `map` is NULL or no map). */
struct pd_node *pd_node_get(const struct pd_node *map, const char *key);
/* Descend by keys: pd_node_at(tree, "spec", "run", NULL). */
struct pd_node *pd_node_at(const struct pd_node *map, ...) __attribute__((sentinel));

/* Typed reads with a fallback for an absent or null node. The kind must fit
 * otherwise (asserted: a schema has checked it before). */
const char *pd_node_text(const struct pd_node *node, const char *fallback);
int64_t pd_node_int(const struct pd_node *node, int64_t fallback);
double pd_node_number(const struct pd_node *node, double fallback); /* ints too */
bool pd_node_bool(const struct pd_node *node, bool fallback);
size_t pd_node_count(const struct pd_node *node); /* items or members; 0 for NULL */

static inline void pd_autonode_run(struct pd_node **slot)
{
    pd_node_free(*slot);
}
#define pd_autonode __attribute__((cleanup(pd_autonode_run)))

#endif
