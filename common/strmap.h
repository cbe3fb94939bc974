/* A hash index from names to things. Keys are borrowed: they live at least as
 * long as their entry, as a rule inside the thing itself. */
#ifndef PD_COMMON_STRMAP_H
#define PD_COMMON_STRMAP_H

#include <stddef.h>
#include <stdint.h>

struct pd_strmap_slot {
    const char *key; /* NULL: never used or given up */
    void *value;
    uint64_t hash;
};

struct pd_strmap {
    struct pd_strmap_slot *slots; /* a power of two of them, or NULL */
    size_t capacity;
    size_t count;
};

/* A zeroed struct is an empty map. */
void pd_strmap_fini(struct pd_strmap *map);

/* The value, or NULL. */
void *pd_strmap_get(const struct pd_strmap *map, const char *key);

/* Add an entry; the key must be new and the value not NULL (asserted). */
void pd_strmap_add(struct pd_strmap *map, const char *key, void *value);

/* Take an entry out and return its value; NULL when there is none. */
void *pd_strmap_remove(struct pd_strmap *map, const char *key);

/* Any entry's value, NULL when empty: to take all out, one by one. */
void *pd_strmap_any(const struct pd_strmap *map);

#endif
