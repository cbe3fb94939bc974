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
struct pd_metrics;

/* Who asks. Copied; http and metrics outlive the question. */
struct pd_aws_asker {
    uv_loop_t *loop;
    struct pd_http *http;
    struct pd_metrics *metrics;     /* counts what is asked; NULL: nobody does */
    char region[PD_AWS_REGION_MAX]; /* where STS is asked */
    int64_t skew_ms;                /* of AWS's clock ahead of ours, as far as known */
};

/* Always accepted: cb fires once, from the loop. `source` outlives the question. */
struct pd_aws_fetch *pd_aws_fetch_begin(const struct pd_aws_asker *asker,
                                        const struct pd_aws_source *source, pd_aws_fetch_cb cb,
                                        void *arg);
/* cb still fires, soon. */
void pd_aws_fetch_cancel(struct pd_aws_fetch *fetch);

/* A command line into its words: blanks part them, single and double quotes keep
 * them together, no shell is involved. NULL at the end; the caller frees the
 * words and the list. NULL: an open quote, or nothing. */
char **pd_aws_words(const char *command);

#endif
