/* A list of texts. */
#ifndef PD_COMMON_STRINGS_H
#define PD_COMMON_STRINGS_H

#include <stddef.h>

#include "common/node.h"

struct pd_strings {
    char **items; /* owned; those of pd_strings_from end with a NULL */
    size_t count;
};

/* From a list node of strings; empty from NULL. The caller ends it. */
struct pd_strings pd_strings_from(const struct pd_node *list);
/* As a list node, which the caller owns. */
struct pd_node *pd_strings_node(const struct pd_strings *strings);
/* Frees the items and forgets them. */
void pd_strings_fini(struct pd_strings *strings);

#endif
