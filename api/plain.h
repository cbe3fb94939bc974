/* What a plain run (POST /execute, answered as JSON) leaves for who looks at it afterwards.
 *
 * Nobody knows its id before its answer, so that nobody can watch it while it runs, and it
 * needs no journal: only how its output was cut into pieces, and when they came. Its outcome
 * is kept as it is, and made into events when somebody asks. */
#ifndef PD_API_PLAIN_H
#define PD_API_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/dispatch.h"
#include "api/execution.h"
#include "api/outcome.h"
#include "common/time.h"

#define PD_PLAIN_PIECES_MAX 4096 /* of one run; what comes after so many turns is dropped */
#define PD_PLAINS_MAX 256        /* kept: the oldest go first */
#define PD_PLAINS_BYTES_MAX (8u * 1024 * 1024)

struct pd_plain_piece {
    int64_t time_us; /* since it was accepted */
    uint32_t len;    /* of outcome.compile, then outcome.output */
    uint8_t stream;  /* 1, 2; 0: the stage `name` begins */
    uint8_t is_run;  /* that stage: compile, or run */
};

struct pd_plain {
    struct pd_time accepted;
    struct pd_outcome outcome;
    struct pd_plain_piece *pieces;
    size_t n_pieces, capacity;
    size_t dropped_bytes; /* of output, after the last piece */
    /* at its end */
    int64_t ended_us;
    struct pd_run_result result; /* message is its own */
    struct pd_job_times times;   /* without the sandbox */
};

struct pd_plain *pd_plain_new(size_t output_max, size_t artifacts_max);
void pd_plain_free(struct pd_plain *plain); /* NULL is fine */

/* As the events of the run come; they reach the outcome, too. */
void pd_plain_stage(struct pd_plain *plain, const char *name);
void pd_plain_output(struct pd_plain *plain, int stream, const void *data, size_t len);

/* It has ended: keep it, within the bounds. `plain` is taken over. */
void pd_plain_keep(struct pd_executions *executions, struct pd_plain *plain, const char *id,
                   const char *key_id, const struct pd_run_result *result,
                   const struct pd_job_times *times);

#endif
