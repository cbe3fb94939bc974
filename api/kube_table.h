/* Tables: what kubectl get prints (meta.k8s.io/v1 Table). Columns come from a
 * kind's additionalPrinterColumns. Pure. */
#ifndef PD_API_KUBE_TABLE_H
#define PD_API_KUBE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/kube_kind.h"
#include "common/node.h"

/* How much of an object a row carries along. */
enum pd_kube_include { PD_KUBE_INCLUDE_METADATA, PD_KUBE_INCLUDE_NONE, PD_KUBE_INCLUDE_OBJECT };

/* A Table of these objects, which are borrowed. metadata: the list's own, taken
 * over. columns: whether it says what they are (every table but a watch's
 * later ones does). The caller frees. */
struct pd_node *pd_kube_table(const struct pd_kube_kind *kind, struct pd_node *const *objects,
                              size_t count, struct pd_node *metadata, bool columns,
                              enum pd_kube_include include, int64_t now_wall_ms);

/* What a column's jsonPath finds: members by name, and elements of a list by
 * the equality of a member ([?(@.type=="Available")]). NULL where nothing is. */
const struct pd_node *pd_kube_path_find(const struct pd_node *object, const char *path);

/* "45s", "5m30s", "3h", "12d": how long something took, as kubectl prints it. */
#define PD_KUBE_AGE_BYTES 24
const char *pd_kube_age(int64_t ms, char out[static PD_KUBE_AGE_BYTES]);

/* Milliseconds since 1970 of a time as these objects have it (RFC 3339, UTC);
 * false when it is none. */
bool pd_kube_time_parse(const char *text, int64_t *ret_wall_ms);

#endif
