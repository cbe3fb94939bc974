/* What a run leaves: its output, its artifacts, how it ended; and the JSON that
 * tells it, the same from POST /execute, in an `exit` frame and in a record. */
#ifndef PD_API_OUTCOME_H
#define PD_API_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>

#include "api/dispatch.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/link.h"

#define PD_ARTIFACTS_MAX 256 /* of one run */

struct pd_artifact {
    char *path;
    struct pd_buf data;
    char *error; /* why it was not collected, NULL when it was */
    bool done;   /* all of it has come */
};

struct pd_outcome {
    struct pd_buf compile;         /* what a compiler that succeeded printed */
    struct pd_buf output;          /* of the last stage: both streams, as they came */
    struct pd_buf streams[2];      /* stdout, stderr; filled once both have been used */
    int only_stream;               /* 1 or 2: all of output is its; 0: nothing yet; -1: mixed */
    bool cut;                      /* more came than may be kept */
    struct pd_artifact *artifacts; /* PD_ARTIFACTS_MAX at most */
    size_t n_artifacts;
    size_t artifact_bytes_left;
};

void pd_outcome_init(struct pd_outcome *outcome, size_t output_max, size_t artifacts_max);
void pd_outcome_fini(struct pd_outcome *outcome);

/* As the events of a run come (struct pd_job_events); credit is the caller's. */
void pd_outcome_stage(struct pd_outcome *outcome, const char *name);
void pd_outcome_output(struct pd_outcome *outcome, int stream, const void *data, size_t len);
/* Returns the artifact once it is complete, else NULL; valid until the next. */
struct pd_artifact *pd_outcome_artifact(struct pd_outcome *outcome, const char *path,
                                        const void *data, size_t len, bool last, const char *error);

/* The answer of POST /execute, a JSON object. `out` is initialised here, with the
 * maximum that follows from the outcome. 0 or PD_LIMIT. */
int pd_outcome_format(const struct pd_outcome *outcome, const char *id,
                      const struct pd_run_result *result, const struct pd_job_times *times,
                      struct pd_buf *out, struct pd_err *err);
/* Its members but for outputs and artifacts, without braces: "success":...,
 * `cut`: more came than was kept. */
int pd_outcome_format_exit(const char *id, const struct pd_run_result *result,
                           const struct pd_job_times *times, bool cut, struct pd_buf *out,
                           struct pd_err *err) __attribute__((warn_unused_result));
/* "path":..., and size, encoding and content, or error; without braces. */
int pd_artifact_format(const struct pd_artifact *artifact, struct pd_buf *out, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
