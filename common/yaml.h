/* YAML 1.1 text (libyaml events) into pd_nodes, and back. */
#ifndef PD_COMMON_YAML_H
#define PD_COMMON_YAML_H

#include "common/buf.h"
#include "common/err.h"
#include "common/node.h"

#define PD_YAML_BYTES_MAX (1024 * 1024)
#define PD_YAML_DEPTH_MAX 32
#define PD_YAML_NODES_MAX 100000 /* aliases count as what they expand to */

/* One document. Plain scalars resolve as in the YAML 1.2 core schema (true,
 * false, null, ints, floats; "yes" and "on" stay strings); quoted ones are
 * strings. Duplicate keys, unknown tags, several documents, alias bombs, depth,
 * infinities, NaN and integers beyond 64 bits are refused: PD_INVALID or
 * PD_LIMIT, the message ending in "(line N)". An empty document is PD_NODE_NULL.
 * The caller owns *ret_node. */
int pd_yaml_parse(const char *text, size_t len, struct pd_node **ret_node, struct pd_err *err)
    __attribute__((warn_unused_result));

/* All documents of a stream, into a list node. */
int pd_yaml_parse_all(const char *text, size_t len, struct pd_node **ret_list, struct pd_err *err)
    __attribute__((warn_unused_result));

/* A file built into the program (asset.h). PD_INTERNAL when there is none. */
int pd_yaml_parse_asset(const char *name, struct pd_node **ret_node, struct pd_err *err)
    __attribute__((warn_unused_result));

/* Block style, member order kept; parses back to an equal tree. Texts that
 * YAML 1.1 would take for booleans are quoted; bytes that are not UTF-8 become
 * U+FFFD. 0 or PD_LIMIT. */
int pd_yaml_format(const struct pd_node *node, struct pd_buf *out, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
