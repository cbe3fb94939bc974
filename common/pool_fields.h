/* The fields of struct pd_pool_spec, one table row each: between pool_fields.c,
 * which reads and writes them, and pool.c. The schema (crds/sandboxpool.yaml)
 * has checked a tree before it comes here. */
#ifndef PD_COMMON_POOL_FIELDS_H
#define PD_COMMON_POOL_FIELDS_H

#include "common/node.h"
#include "common/pool.h"

struct pd_pool_field {
    const char *path;       /* below spec: "run.timeout" */
    const char *short_name; /* below sandbox, in the short form; NULL where it has none */
    enum {
        PD_FIELD_INT,
        PD_FIELD_BOOL,
        PD_FIELD_TEXT,
        PD_FIELD_TEXTS,
        PD_FIELD_ENUM,
        PD_FIELD_CPU,      /* quantity, kept in thousandths */
        PD_FIELD_BYTES,    /* quantity */
        PD_FIELD_DURATION, /* kept in ms */
    } kind;
    size_t offset;            /* in struct pd_pool_spec */
    const char *const *names; /* PD_FIELD_ENUM: by value, NULL at the end */
    enum {
        PD_TEMPLATE_NO,  /* a change leaves sandboxes as they are */
        PD_TEMPLATE_YES, /* a change makes new ones */
        PD_TEMPLATE_ECS, /* so on ecs only */
    } template;
};

/* For i = 0, 1, ...; NULL at the end. */
const struct pd_pool_field *pd_pool_field_at(size_t i);

/* The field's node in a spec's tree, or NULL. */
struct pd_node *pd_pool_field_node(const struct pd_node *spec_node,
                                   const struct pd_pool_field *field);

/* Fill in every field from a complete tree. */
void pd_pool_fields_decode(const struct pd_node *spec_node, struct pd_pool_spec *spec);
/* The tree that decodes to this spec, in the table's order. The caller frees. */
struct pd_node *pd_pool_fields_encode(const struct pd_pool_spec *spec);
/* Fill in spec->template_hash from the fields that the template consists of. */
void pd_pool_fields_hash(struct pd_pool_spec *spec);
/* What decode allocated. */
void pd_pool_fields_fini(struct pd_pool_spec *spec);

#endif
