/* Memory and cleanup attributes.
 *
 * Small fixed allocations abort when there is no memory: the service is
 * crash-only and starts again from what it observes. Whatever a peer or a file
 * sizes lives in a struct pd_buf with a maximum instead (buf.h). */
#ifndef PD_COMMON_MEM_H
#define PD_COMMON_MEM_H

#include <stddef.h>
#include <stdlib.h>

/* Zeroed storage; never NULL. `count` x `size` must not overflow (asserted). */
void *pd_calloc(size_t count, size_t size)
    __attribute__((malloc, returns_nonnull, warn_unused_result));
void *pd_realloc(void *old, size_t count, size_t size)
    __attribute__((returns_nonnull, warn_unused_result));
char *pd_strdup(const char *text) __attribute__((malloc, returns_nonnull, warn_unused_result));
char *pd_strndup(const char *text, size_t len)
    __attribute__((malloc, returns_nonnull, warn_unused_result));
char *pd_asprintf(const char *fmt, ...)
    __attribute__((malloc, returns_nonnull, warn_unused_result, format(printf, 1, 2)));

/* Overwrite with zeros in a way that the compiler keeps. */
void pd_wipe(void *data, size_t len);

/* Copy a string into a fixed array, cut if need be, always terminated. */
void pd_strcpy(char *dst, size_t dst_bytes, const char *src);

#define PD_NEW(type) ((type *)pd_calloc(1, sizeof(type)))
#define PD_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PD_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void pd_autofree_run(void *slot)
{
    free(*(void **)slot);
}

static inline void *pd_steal_run(void *slot)
{
    void *value = *(void **)slot;
    *(void **)slot = NULL;
    return value;
}

/* Free a local when it goes out of scope; PD_STEAL hands it on instead. */
#define pd_autofree __attribute__((cleanup(pd_autofree_run)))
#define PD_STEAL(ptr) ((__typeof__(ptr))pd_steal_run(&(ptr)))

#endif
