/* Ask one source (aws_source.h) for a key, once. */
#ifndef PD_CONTROLLER_AWS_FETCH_H
#define PD_CONTROLLER_AWS_FETCH_H

#include <uv.h>

#include "common/err.h"
#include "common/loop_curl.h"
#include "controller/aws_source.h"

/* err is NULL on success; the key is borrowed. PD_CANCELED after a cancel. */
typedef void (*pd_aws_fetch_cb)(void *arg, const struct pd_err *err, const struct pd_aws_key *key);

struct pd_aws_fetch; /* one question under way; gone when cb has been called */

/* Always accepted: cb fires once, from the loop. `source` outlives the question.
 * region: where STS is asked. skew_ms: of AWS's clock ahead of ours, as far as known. */
struct pd_aws_fetch *pd_aws_fetch_begin(uv_loop_t *loop, struct pd_http *http,
                                        const struct pd_aws_source *source, const char *region,
                                        int64_t skew_ms, pd_aws_fetch_cb cb, void *arg);
/* cb still fires, soon. */
void pd_aws_fetch_cancel(struct pd_aws_fetch *fetch);

/* A command line into its words: blanks part them, single and double quotes keep
 * them together, no shell is involved. NULL at the end; the caller frees the
 * words and the list. NULL: an open quote, or nothing. */
char **pd_aws_words(const char *command);

#endif
