/* JSON text (RFC 8259, by jansson) into pd_nodes, and back. */
#ifndef PD_COMMON_JSON_H
#define PD_COMMON_JSON_H

#include "common/buf.h"
#include "common/err.h"
#include "common/node.h"

#define PD_JSON_DEPTH_MAX 64
#define PD_JSON_NODES_MAX 100000 /* about: told from the punctuation, before anything is allocated */

/* Duplicate keys, invalid UTF-8, trailing text, depth, too many values and
 * integers beyond 64 bits are refused: PD_INVALID, the message with line and
 * column. U+0000 in a string value is kept (see pd_node's string.len); in a
 * key it is refused. The caller owns *ret_node. */
int pd_json_parse(const char *text, size_t len, struct pd_node **ret_node, struct pd_err *err)
    __attribute__((warn_unused_result));

/* Compact form. Bytes of strings that are not UTF-8 become U+FFFD, one for
 * each maximal subpart (Unicode 15, 3.9). 0 or PD_LIMIT. */
int pd_json_format(const struct pd_node *node, struct pd_buf *out, struct pd_err *err)
    __attribute__((warn_unused_result));

/* Append one JSON string literal, quotes included, under the same rule. */
int pd_json_format_string(const char *text, size_t len, struct pd_buf *out, struct pd_err *err)
    __attribute__((warn_unused_result));

#define PD_JSON_NUMBER_BYTES 40
/* The shortest decimal that reads back as `number`, always with a point or an
 * exponent; "null" for what JSON cannot write (infinities). Returns `out` or a
 * static string. */
const char *pd_json_number(double number, char out[static PD_JSON_NUMBER_BYTES]);

#endif
