/* Pools, languages and the schema to check request bodies against:
 *   any      languages not told
 *   both     python, javascript
 *   default  python, bash
 *   node     javascript
 *   small    python; maxCode 1Ki, maxFiles 2Ki */
#ifndef PD_TESTS_LIB_REQUEST_RULES_H
#define PD_TESTS_LIB_REQUEST_RULES_H

#include <uv.h>

#include "api/request.h"

struct request_rules {
    struct pd_request_rules rules;
    struct pd_schema *schema;
    struct pd_languages *languages;
    uv_loop_t loop;
};

/* Aborts when something is wrong with what is built in. */
struct request_rules *request_rules_new(void);
struct request_rules *request_rules_new_empty(void); /* without pools */
void request_rules_free(struct request_rules *rules);

#endif
