/* What a plain YAML scalar means: YAML 1.2, 10.3.2, the core schema. Pure. */
#ifndef PD_COMMON_YAML_SCALAR_H
#define PD_COMMON_YAML_SCALAR_H

#include <stddef.h>

#include "common/node.h"

/* A null, a truth, a number or, whatever else it is, a string; the caller owns the node. text
 * ends with a NUL after len bytes; one before that makes it a string. PD_INVALID: a number that
 * cannot be held, infinite ones and .nan among them. */
int pd_yaml_scalar(const char *text, size_t len, struct pd_node **ret_node)
    __attribute__((warn_unused_result));

#endif
