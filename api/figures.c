#include "api/figures.h"

static double seconds(int64_t us)
{
    return us > 0 ? (double)us / 1e6 : 0;
}

/* What stood between finding a sandbox and the program's own time. */
static int64_t start_us(const struct pd_run_result *result, const struct pd_job_times *times)
{
    const int64_t *stage = result->usage.stage_us;
    int64_t compile_us = result->compile_failed ? 0 : result->compile_us;

    return times->run_us - compile_us - stage[1] - stage[2] - stage[3];
}

void pd_figures_ended(struct pd_metrics *metrics, const char *pool, const char *language,
                      const struct pd_run_result *result, const struct pd_job_times *times)
{
    const char *const *of_pool = PD_LABELS(pool);
    const char *const *of_language = PD_LABELS(pool, language);
    const char *start = pd_start_name(result->start);

    if (!metrics)
        return;
    pd_metrics_add(metrics, PD_M_EXECUTIONS,
                   PD_LABELS(pool, language, pd_cause_name(result->cause)), 1);
    pd_metrics_observe(metrics, PD_M_QUEUE_SECONDS, of_pool, seconds(times->queue_us));
    pd_metrics_add(metrics, PD_M_OUTPUT_BYTES, of_pool,
                   (double)(result->stdout_bytes + result->stderr_bytes));
    if (result->cause == PD_CAUSE_LOST)
        return; /* nobody knows how it started, or how long it ran */
    pd_metrics_add(metrics, PD_M_EXECUTION_STARTS, PD_LABELS(pool, language, start), 1);
    pd_metrics_observe(metrics, PD_M_START_SECONDS, PD_LABELS(pool, start),
                       seconds(start_us(result, times)));
    pd_metrics_observe(metrics, PD_M_RUN_SECONDS, of_language, seconds(result->usage.wall_us));
    pd_metrics_add(metrics, PD_M_EXECUTION_CPU, of_language, seconds(result->usage.cpu_us));
}

void pd_figures_refused(struct pd_metrics *metrics, const char *pool, int kind)
{
    static const char *const reasons[] = {
        [-PD_INVALID] = "invalid",         [-PD_THROTTLED] = "queue_full",
        [-PD_UNAVAILABLE] = "unavailable", [-PD_TIMEOUT] = "max_wait",
        [-PD_CANCELED] = "canceled",       [-PD_NOT_FOUND] = "no_pool",
    };
    const char *reason = kind < 0 && kind >= PD_CANCELED ? reasons[-kind] : NULL;

    /* A pool that nobody declared is not a label: its name is the client's. */
    pd_metrics_add(metrics, PD_M_EXECUTIONS_REFUSED,
                   PD_LABELS(kind == PD_NOT_FOUND ? "" : pool, reason ? reason : "internal"), 1);
}

/* ---- pools ---- */

static void collect_condition(struct pd_metrics *metrics, const char *pool, const char *name,
                              const struct pd_condition *condition)
{
    pd_metrics_set(metrics, PD_M_POOL_CONDITION, PD_LABELS(pool, name), condition->status == 1);
}

static void collect_sandboxes(struct pd_metrics *metrics, struct pd_store *store,
                              const struct pd_pool *pool)
{
    const char *name = pool->spec->name;
    struct pd_sandbox *sandbox;

    for (unsigned phase = 0; phase <= PD_SANDBOX_TERMINATING; phase++)
        pd_metrics_add(metrics, PD_M_SANDBOXES,
                       PD_LABELS(name, pd_sandbox_phase_name((enum pd_sandbox_phase)phase)), 0);
    for (size_t i = 0; (sandbox = pd_store_sandbox_at(store, name, i)); i++) {
        pd_metrics_add(metrics, PD_M_SANDBOXES,
                       PD_LABELS(name, pd_sandbox_phase_name(sandbox->phase)), 1);
        for (size_t j = 0; sandbox->link && j < pool->hello.n_languages; j++) {
            const char *language = pool->hello.languages[j].name;
            int spares = pd_link_spares(sandbox->link, language);
            if (spares > 0)
                pd_metrics_add(metrics, PD_M_SPARES, PD_LABELS(name, language), spares);
        }
    }
}

void pd_figures_collect_pools(struct pd_metrics *metrics, struct pd_store *store)
{
    static const enum pd_metric gauges[] = {PD_M_SANDBOXES, PD_M_SPARES, PD_M_POOL_MIN,
                                            PD_M_POOL_MAX, PD_M_POOL_CONDITION};
    struct pd_pool *pool;

    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        pd_metrics_clear(metrics, gauges[i]);
    for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++) {
        const char *const *labels = PD_LABELS(pool->spec->name);
        pd_metrics_add(metrics, PD_M_POOL_MIN, labels, pool->spec->min_size);
        pd_metrics_add(metrics, PD_M_POOL_MAX, labels, pool->spec->max_size);
        collect_condition(metrics, pool->spec->name, "Available", &pool->status.available);
        collect_condition(metrics, pool->spec->name, "Progressing", &pool->status.progressing);
        collect_condition(metrics, pool->spec->name, "Degraded", &pool->status.degraded);
        collect_sandboxes(metrics, store, pool);
    }
}
