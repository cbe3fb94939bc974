/* Expectations: what was asked of a provider and has not been seen there yet.
 * A list that is older than the question, or from a provider that is slow to
 * tell, must not make a sandbox that is being made look lost, nor one that is
 * being destroyed look like somebody's leftover. An expectation ends when it is
 * met, or after PD_EXPECT_TTL_MS: then the list is believed. */
#ifndef PD_CONTROLLER_EXPECT_H
#define PD_CONTROLLER_EXPECT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/time.h"

#define PD_EXPECT_TTL_MS (5 * 60 * 1000)

enum pd_expectation { PD_EXPECT_APPEAR, PD_EXPECT_VANISH };

struct pd_expect;

struct pd_expect *pd_expect_new(void);
void pd_expect_free(struct pd_expect *expect); /* NULL is fine */

/* Expect this of the sandbox; replaces what was expected of it before. */
void pd_expect_set(struct pd_expect *expect, const char *id, enum pd_expectation what,
                   struct pd_time now);
bool pd_expect_is_pending(const struct pd_expect *expect, const char *id, enum pd_expectation what,
                          struct pd_time now);
/* Met, or of no interest any more. Nothing happens when another thing is expected. */
void pd_expect_met(struct pd_expect *expect, const char *id, enum pd_expectation what);

/* Forget what has expired. */
void pd_expect_prune(struct pd_expect *expect, struct pd_time now);
size_t pd_expect_count(const struct pd_expect *expect);

#endif
