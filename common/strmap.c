/* Open addressing with linear probing. Removal closes the gap by moving later
 * entries of the same run back (Knuth, TAOCP 6.4, Algorithm R), so there are no
 * tombstones and no rebuild ever comes due. */
#include "common/strmap.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define CAPACITY_MIN 16

/* FNV-1a, its result mixed so that the low bits depend on every byte. Keys are
 * names that we or an administrator chose, not a peer's. */
static uint64_t hash_of(const char *key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const unsigned char *p = (const unsigned char *)key; *p; p++)
        hash = (hash ^ *p) * UINT64_C(0x100000001b3);
    return hash ^ (hash >> 32);
}

static size_t slot_of(const struct pd_strmap *map, const char *key, uint64_t hash)
{
    size_t mask = map->capacity - 1;
    size_t i = (size_t)hash & mask;

    while (map->slots[i].key && (map->slots[i].hash != hash || strcmp(map->slots[i].key, key) != 0))
        i = (i + 1) & mask;
    return i;
}

static void grow(struct pd_strmap *map)
{
    struct pd_strmap old = *map;

    map->capacity = old.capacity ? old.capacity * 2 : CAPACITY_MIN;
    map->slots = pd_calloc(map->capacity, sizeof *map->slots);
    for (size_t i = 0; i < old.capacity; i++) {
        struct pd_strmap_slot *from = &old.slots[i];
        if (from->key)
            map->slots[slot_of(map, from->key, from->hash)] = *from;
    }
    free(old.slots);
}

void pd_strmap_fini(struct pd_strmap *map)
{
    free(map->slots);
    *map = (struct pd_strmap){0};
}

void *pd_strmap_get(const struct pd_strmap *map, const char *key)
{
    if (map->count == 0)
        return NULL;
    return map->slots[slot_of(map, key, hash_of(key))].value;
}

void pd_strmap_add(struct pd_strmap *map, const char *key, void *value)
{
    uint64_t hash = hash_of(key);
    size_t i;

    assert(value);
    if ((map->count + 1) * 4 > map->capacity * 3)
        grow(map);
    i = slot_of(map, key, hash);
    assert(!map->slots[i].key);
    map->slots[i] = (struct pd_strmap_slot){.key = key, .value = value, .hash = hash};
    map->count++;
}

/* Whether an entry whose home is `home` may stay at `at` when `gap` is free. */
static bool stays(size_t home, size_t gap, size_t at)
{
    return gap <= at ? (gap < home && home <= at) : (gap < home || home <= at);
}

static void close_gap(struct pd_strmap *map, size_t gap)
{
    size_t mask = map->capacity - 1;

    for (size_t i = (gap + 1) & mask; map->slots[i].key; i = (i + 1) & mask) {
        if (stays((size_t)map->slots[i].hash & mask, gap, i))
            continue;
        map->slots[gap] = map->slots[i];
        gap = i;
    }
    map->slots[gap] = (struct pd_strmap_slot){0};
}

void *pd_strmap_remove(struct pd_strmap *map, const char *key)
{
    void *value;
    size_t i;

    if (map->count == 0)
        return NULL;
    i = slot_of(map, key, hash_of(key));
    if (!map->slots[i].key)
        return NULL;
    value = map->slots[i].value;
    close_gap(map, i);
    map->count--;
    return value;
}

void *pd_strmap_any(const struct pd_strmap *map)
{
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].key)
            return map->slots[i].value;
    }
    return NULL;
}
