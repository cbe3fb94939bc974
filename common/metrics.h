/* What the service counts and measures, for /metrics (api/metrics.h).
 *
 * All figures stand in one table (metrics_table.c): name, type, help, labels,
 * and how many different label values are kept at most. Past that bound, what
 * comes is counted under the value "_other" in every label, so that nobody can
 * make the service remember more than it wants to. Storage is allocated once;
 * counting allocates nothing, and is a hash and an addition.
 *
 * Every function takes NULL for `metrics` and does nothing then: parts can be
 * used (and tested) without. For one loop. */
#ifndef PD_COMMON_METRICS_H
#define PD_COMMON_METRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"

#define PD_METRIC_LABELS_MAX 3
#define PD_METRIC_LABEL_BYTES 64 /* of a label's value, with the NUL; longer ones are cut */
#define PD_METRIC_BUCKETS_MAX 16
#define PD_METRICS_COLLECTORS_MAX 16

enum pd_metric {
    /* runs */
    PD_M_EXECUTIONS,         /* pool, language, cause */
    PD_M_EXECUTIONS_REFUSED, /* pool, reason */
    PD_M_EXECUTION_STARTS,   /* pool, language, start */
    PD_M_QUEUE_SECONDS,      /* pool */
    PD_M_START_SECONDS,      /* pool, start */
    PD_M_RUN_SECONDS,        /* pool, language */
    PD_M_EXECUTION_CPU,      /* pool, language */
    PD_M_OUTPUT_BYTES,       /* pool */
    PD_M_WARM_HITS,          /* pool */
    PD_M_QUEUE_RUNS,         /* pool, key_class; gauge */
    PD_M_QUEUE_OLDEST,       /* pool; gauge */
    PD_M_RUNS_BUSY,          /* gauge */
    /* pools */
    PD_M_SANDBOXES,         /* pool, phase; gauge */
    PD_M_SPARES,            /* pool, language; gauge */
    PD_M_POOL_MIN,          /* pool; gauge */
    PD_M_POOL_MAX,          /* pool; gauge */
    PD_M_POOL_CONDITION,    /* pool, condition; gauge */
    PD_M_SANDBOX_STARTED,   /* pool */
    PD_M_SANDBOX_ENDED,     /* pool */
    PD_M_SANDBOX_START,     /* pool; seconds */
    PD_M_REFILL_SECONDS,    /* pool */
    PD_M_RECONCILE_SECONDS, /* none */
    PD_M_PROVIDER_CALLS,    /* provider, operation, code */
    PD_M_PROVIDER_SECONDS,  /* provider, operation */
    PD_M_PROVIDER_UP,       /* provider; gauge */
    /* HTTP */
    PD_M_HTTP_REQUESTS, /* route, method, code */
    PD_M_HTTP_SECONDS,  /* route */
    PD_M_SOCKETS,       /* gauge */
    /* records */
    PD_M_DATABASE_UP,       /* gauge */
    PD_M_RECORDS_DROPPED,
    PD_M_RECORDS_UNSHIPPED, /* gauge */
    PD_M_RECORDS_SHIPPED,
    PD_M_POSTGRES_UP, /* gauge */
    /* keys */
    PD_M_RATE_QUESTIONS,
    PD_M_RATES_SHARED, /* gauge */
    /* the process */
    PD_M_LOOP_TURN_SECONDS, /* none */
    PD_M_BUILD_INFO,        /* version, libuv, libcurl; gauge */
    PD_M_READY,             /* gauge */
    PD_M_PROCESS_CPU,
    PD_M_PROCESS_RESIDENT,
    PD_M_PROCESS_VIRTUAL,
    PD_M_PROCESS_FDS,
    PD_M_PROCESS_FDS_MAX,
    PD_M_PROCESS_START,
    PD_M_PROCESS_THREADS,
    PD_M_COUNT,
};

enum pd_metric_type { PD_METRIC_COUNTER, PD_METRIC_GAUGE, PD_METRIC_HISTOGRAM };

/* A row of the table. */
struct pd_metric_info {
    const char *name; /* with its prefix and unit; a counter's ends in _total */
    const char *help; /* one line */
    const char *labels[PD_METRIC_LABELS_MAX + 1]; /* ends with NULL */
    const double *buckets; /* of a histogram: upper bounds, rising, ended by 0 */
    size_t series_max;     /* different label values that are kept */
    enum pd_metric_type type;
};
const struct pd_metric_info *pd_metric_info(enum pd_metric metric); /* static */

struct pd_metrics;

struct pd_metrics *pd_metrics_new(void);
void pd_metrics_free(struct pd_metrics *metrics); /* NULL is fine */

/* The values of a metric's labels, in the table's order; for one without labels
 * pass NULL. They are copied. */
#define PD_LABELS(...) ((const char *const[]){__VA_ARGS__})

/* A counter (by >= 0), or a gauge that a collector sums up. */
void pd_metrics_add(struct pd_metrics *metrics, enum pd_metric metric, const char *const *labels,
                    double by);
/* A gauge, or a counter that somebody else keeps. */
void pd_metrics_set(struct pd_metrics *metrics, enum pd_metric metric, const char *const *labels,
                    double value);
/* A histogram. */
void pd_metrics_observe(struct pd_metrics *metrics, enum pd_metric metric,
                        const char *const *labels, double value);
/* Forget every series of it: for a collector that is about to set them anew. */
void pd_metrics_clear(struct pd_metrics *metrics, enum pd_metric metric);
/* The value of a series, of a histogram the number of its observations; 0 where
 * there is none. */
double pd_metrics_value(const struct pd_metrics *metrics, enum pd_metric metric,
                        const char *const *labels);

/* Called before each pd_metrics_format, to set what is only known by looking.
 * At most PD_METRICS_COLLECTORS_MAX (asserted). */
typedef void (*pd_metrics_collect_cb)(void *arg, struct pd_metrics *metrics);
void pd_metrics_on_collect(struct pd_metrics *metrics, pd_metrics_collect_cb cb, void *arg);
void pd_metrics_off_collect(struct pd_metrics *metrics, pd_metrics_collect_cb cb, void *arg);

/* Append everything as text: Prometheus's form 0.0.4, or OpenMetrics 1.0.0.
 * 0 or PD_LIMIT. */
int pd_metrics_format(struct pd_metrics *metrics, bool openmetrics, struct pd_buf *out,
                      struct pd_err *err);

#endif
