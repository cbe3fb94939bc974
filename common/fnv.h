/* FNV-1a, 32 bits: spreads short names over a range. No defence against whoever chooses
 * the names; pure, a header of its own. */
#ifndef PD_COMMON_FNV_H
#define PD_COMMON_FNV_H

#include <stddef.h>
#include <stdint.h>

#define PD_FNV_BEGIN 2166136261u

static inline uint32_t pd_fnv_add(uint32_t hash, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
    return hash;
}

#endif
