/* How a run at another replica ended, of what the ledger kept: for viewers here, where the
 * replica that had it tells nothing more. Pure but for the copy of the run that it is told to. */
#ifndef PD_API_MIRROR_END_H
#define PD_API_MIRROR_END_H

#include <stdbool.h>

#include "api/execution.h"
#include "common/buf.h"
#include "common/link.h"

struct pd_mirror_end {
    bool is_done;
    bool has_cause; /* `cause` is one that a viewer is told where no exit was kept */
    enum pd_cause cause;
};

/* Of a row of the ledger (JSON). False: it is not to be understood. */
bool pd_mirror_end_read(const struct pd_buf *row, struct pd_mirror_end *ret_end);

/* Events that were kept: a line with the key, then one event a line. What is between them
 * and what the copy has is told as dropped. */
void pd_mirror_end_take(struct pd_execution *copy, const struct pd_buf *text);

/* An exit of that cause, with as much as is known. */
void pd_mirror_end_make(struct pd_execution *copy, const char *run, enum pd_cause cause);

#endif
