/* What is wrong with something declared or sent: several problems at once, each
 * with where it stands. */
#ifndef PD_COMMON_PROBLEMS_H
#define PD_COMMON_PROBLEMS_H

#include <stddef.h>

#include "common/err.h"

#define PD_PROBLEMS_MAX 16
#define PD_PROBLEM_TEXT_MAX 320

/* What is wrong with a tree: up to PD_PROBLEMS_MAX entries, e.g.
 *   path "spec.minSize", text "must be >= 0, got -3", line 12. */
struct pd_problem {
    char path[128];
    char text[PD_PROBLEM_TEXT_MAX];
    int line; /* 0 where unknown */
};
struct pd_problems {
    struct pd_problem items[PD_PROBLEMS_MAX];
    size_t count;   /* kept */
    size_t dropped; /* found beyond those kept */
};

void pd_problems_add(struct pd_problems *problems, const char *path, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* One of them as "spec.minSize: must be >= 0, got -3 (line 12)". Returns `out`. */
const char *pd_problem_format(const struct pd_problem *problem, char *out, size_t out_bytes);
/* All of them, joined by "; " and cut to what fits, as one err of kind
 * PD_INVALID; 0 when there is no problem. */
int pd_problems_err(const struct pd_problems *problems, struct pd_err *err);

/* Outside text for a message: at most 40 characters, nothing that could forge a
 * line, UTF-8. Returns `out`. */
#define PD_SHOWN_BYTES 176
const char *pd_shown(const char *text, size_t len, char out[static PD_SHOWN_BYTES]);

/* The one of `count` names that `given` may have been meant for, or NULL. */
const char *pd_nearest(const char *given, const char *const *names, size_t count);

#endif
