/* What a client asks to be run: the body of POST /execute (schema:
 * api/schemas/execute.yaml), checked against the pools and the catalogue. */
#ifndef PD_API_REQUEST_H
#define PD_API_REQUEST_H

#include <stddef.h>

#include "common/err.h"
#include "common/languages.h"
#include "common/link.h"
#include "common/node.h"
#include "common/schema.h"
#include "common/store.h"

/* Arguments, environment and artifact patterns together: what one frame to the
 * agent takes. */
#define PD_REQUEST_ARGUMENTS_BYTES_MAX (48u * 1024)

struct pd_request {
    char pool[PD_POOL_NAME_MAX];
    const struct pd_language *language; /* the catalogue's */
    struct pd_run_request run;          /* points into this request; `id` is not set */

    struct pd_node *node; /* owned: the texts that `run` points to */
    struct pd_run_file *files;
    size_t bytes; /* of memory that it keeps, about */
};

/* Why a request is refused: becomes problem details. */
struct pd_refusal {
    int status; /* 400, 413 or 422 */
    char detail[PD_ERR_MSG_MAX];
    struct pd_problems problems; /* by field */
};

/* What a body is checked against; borrowed. */
struct pd_request_rules {
    const struct pd_schema *schema;
    const struct pd_languages *languages;
    struct pd_store *store;
};

/* 0, or PD_INVALID with *ret_refusal filled in. */
int pd_request_parse(const struct pd_request_rules *rules, const char *body, size_t len,
                     struct pd_request **ret_request, struct pd_refusal *ret_refusal);
/* Likewise, from JSON that was parsed: takes `node` over, `len` bytes of text. */
int pd_request_take(const struct pd_request_rules *rules, struct pd_node *node, size_t len,
                    struct pd_request **ret_request, struct pd_refusal *ret_refusal);
void pd_request_free(struct pd_request *request); /* NULL is fine */

/* The longest body that some pool could take. */
size_t pd_request_bytes_max(struct pd_store *store);

/* Whether a pool runs a language: by its spec, else by what its sandboxes found
 * in the image; PD_HAS_MAYBE while none has said. */
enum pd_has { PD_HAS_NOT, PD_HAS_MAYBE, PD_HAS };
enum pd_has pd_pool_has_language(const struct pd_pool *pool, const char *name);

#endif
