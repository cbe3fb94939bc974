/* Every figure that there is. docs/observability.md lists them from here
 * (tests/e2e/metrics_test.py holds the two against each other). Names follow
 * the conventions of Prometheus: base units, counters end in _total, the names
 * of process_* are those of its client libraries. */
#include <assert.h>

#include "common/metrics.h"

#define POOLS_MAX 256

/* From a fork to a long run. */
static const double seconds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                 0.25,   0.5,   1,      2.5,   10,   60,    300,  0};
/* Work on the loop, which ought to take microseconds. */
static const double looks[] = {0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005,
                               0.01,    0.05,    0.1,    0.5,    1,     0};
/* Turns of the loop, measured to 2 ms. */
static const double turns[] = {0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 0};

static const struct pd_metric_info table[PD_M_COUNT] = {
    [PD_M_EXECUTIONS] = {"paddock_executions_total", "Runs that came to an end, by its cause.",
                         {"pool", "language", "cause"}, NULL, 2048, PD_METRIC_COUNTER},
    [PD_M_EXECUTIONS_REFUSED] = {"paddock_executions_refused_total",
                                 "Runs that never began, by why.",
                                 {"pool", "reason"}, NULL, 1024, PD_METRIC_COUNTER},
    [PD_M_EXECUTION_STARTS] = {"paddock_execution_starts_total",
                               "Runs by how they were started: zygote and spare met an interpreter "
                               "that was waiting, cell and cold did not.",
                               {"pool", "language", "start"}, NULL, 2048, PD_METRIC_COUNTER},
    [PD_M_QUEUE_SECONDS] = {"paddock_execution_queue_seconds",
                            "From a run's admission until a sandbox was found for it.",
                            {"pool"}, seconds, POOLS_MAX, PD_METRIC_HISTOGRAM},
    [PD_M_START_SECONDS] = {"paddock_execution_start_seconds",
                            "From a sandbox's being found until the program runs in it, the way "
                            "back of the answer included.",
                            {"pool", "start"}, seconds, 4 * POOLS_MAX, PD_METRIC_HISTOGRAM},
    [PD_M_RUN_SECONDS] = {"paddock_execution_run_seconds",
                          "Wall time of the program itself.",
                          {"pool", "language"}, seconds, 4 * POOLS_MAX, PD_METRIC_HISTOGRAM},
    [PD_M_EXECUTION_CPU] = {"paddock_execution_cpu_seconds_total",
                            "Processor time that programs took.",
                            {"pool", "language"}, NULL, 4 * POOLS_MAX, PD_METRIC_COUNTER},
    [PD_M_OUTPUT_BYTES] = {"paddock_execution_output_bytes_total",
                           "Bytes that programs printed, kept or dropped.",
                           {"pool"}, NULL, POOLS_MAX, PD_METRIC_COUNTER},
    [PD_M_WARM_HITS] = {"paddock_warm_hits_total",
                        "Runs that met a warm sandbox at once.",
                        {"pool"}, NULL, POOLS_MAX, PD_METRIC_COUNTER},
    [PD_M_QUEUE_RUNS] = {"paddock_queue_runs", "Runs that wait for a sandbox, by class of key.",
                         {"pool", "key_class"}, NULL, 4 * POOLS_MAX, PD_METRIC_GAUGE},
    [PD_M_QUEUE_OLDEST] = {"paddock_queue_oldest_seconds", "How long the oldest of them waits.",
                           {"pool"}, NULL, POOLS_MAX, PD_METRIC_GAUGE},
    [PD_M_RUNS_BUSY] = {"paddock_executions_active", "Runs waiting or under way.",
                        {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_SANDBOXES] = {"paddock_sandboxes", "Sandboxes that exist, by phase.",
                        {"pool", "phase"}, NULL, 8 * POOLS_MAX, PD_METRIC_GAUGE},
    [PD_M_SPARES] = {"paddock_spares", "Started interpreters that wait for a program.",
                     {"pool", "language"}, NULL, 4 * POOLS_MAX, PD_METRIC_GAUGE},
    [PD_M_POOL_MIN] = {"paddock_pool_min_size", "spec.minSize.",
                       {"pool"}, NULL, POOLS_MAX, PD_METRIC_GAUGE},
    [PD_M_POOL_MAX] = {"paddock_pool_max_size", "spec.maxSize.",
                       {"pool"}, NULL, POOLS_MAX, PD_METRIC_GAUGE},
    [PD_M_POOL_CONDITION] = {"paddock_pool_condition",
                             "1 while a condition of the pool holds: Available, Progressing, "
                             "Degraded.",
                             {"pool", "condition"}, NULL, 4 * POOLS_MAX, PD_METRIC_GAUGE},
    [PD_M_SANDBOX_STARTED] = {"paddock_sandboxes_created_total", "Sandboxes that were asked for.",
                              {"pool"}, NULL, POOLS_MAX, PD_METRIC_COUNTER},
    [PD_M_SANDBOX_ENDED] = {"paddock_sandboxes_removed_total", "Sandboxes that are gone.",
                            {"pool"}, NULL, POOLS_MAX, PD_METRIC_COUNTER},
    [PD_M_SANDBOX_START] = {"paddock_sandbox_start_seconds",
                            "From asking for a sandbox until its agent answers.",
                            {"pool"}, seconds, POOLS_MAX, PD_METRIC_HISTOGRAM},
    [PD_M_REFILL_SECONDS] = {"paddock_refill_seconds",
                             "From a run's end until its sandbox has the next interpreter waiting.",
                             {"pool"}, seconds, POOLS_MAX, PD_METRIC_HISTOGRAM},
    [PD_M_RECONCILE_SECONDS] = {"paddock_reconcile_seconds",
                                "Time on the loop of one look at one pool.",
                                {NULL}, looks, 1, PD_METRIC_HISTOGRAM},
    [PD_M_PROVIDER_CALLS] = {"paddock_provider_calls_total",
                             "Calls to the provider's API that ended, by code: an HTTP status, or "
                             "\"none\" where no answer came.",
                             {"provider", "operation", "code"}, NULL, 512, PD_METRIC_COUNTER},
    [PD_M_PROVIDER_SECONDS] = {"paddock_provider_call_seconds",
                               "How long they took.",
                               {"provider", "operation"}, seconds, 64, PD_METRIC_HISTOGRAM},
    [PD_M_PROVIDER_UP] = {"paddock_provider_up", "1 while the provider answers.",
                          {"provider"}, NULL, 4, PD_METRIC_GAUGE},
    [PD_M_HTTP_REQUESTS] = {"paddock_http_requests_total", "HTTP requests answered.",
                            {"route", "method", "code"}, NULL, 1024, PD_METRIC_COUNTER},
    [PD_M_HTTP_SECONDS] = {"paddock_http_request_seconds",
                           "From a request's head until its answer was handed to the socket.",
                           {"route"}, seconds, 128, PD_METRIC_HISTOGRAM},
    [PD_M_SOCKETS] = {"paddock_http_connections", "Open client connections.",
                      {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_DATABASE_UP] = {"paddock_database_up", "1 while the state folder's database is written.",
                          {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_RECORDS_DROPPED] = {"paddock_records_dropped_total",
                              "Records of plain runs that were given up: too many waited.",
                              {NULL}, NULL, 1, PD_METRIC_COUNTER},
    [PD_M_RECORDS_UNSHIPPED] = {"paddock_records_unshipped",
                                "Records that wait for PostgreSQL, up to 100000.",
                                {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_RECORDS_SHIPPED] = {"paddock_records_shipped_total", "Records that PostgreSQL took.",
                              {NULL}, NULL, 1, PD_METRIC_COUNTER},
    [PD_M_POSTGRES_UP] = {"paddock_postgres_up", "1 while PostgreSQL takes records.",
                          {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_RATE_QUESTIONS] = {"paddock_rate_questions_total",
                             "Blocks of keys' rates that were asked of Redis.",
                             {NULL}, NULL, 1, PD_METRIC_COUNTER},
    [PD_M_RATES_SHARED] = {"paddock_rates_shared",
                           "1 while keys' rates are one for all replicas.",
                           {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_LOOP_TURN_SECONDS] = {"paddock_loop_turn_seconds",
                                "Work in one turn of the loop: what everybody else waits for.",
                                {NULL}, turns, 1, PD_METRIC_HISTOGRAM},
    [PD_M_BUILD_INFO] = {"paddock_build_info", "Which paddock this is; always 1.",
                         {"version", "libuv", "libcurl"}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_READY] = {"paddock_ready", "1 while /readyz says so.",
                    {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_PROCESS_CPU] = {"process_cpu_seconds_total", "User and system time of the service.",
                          {NULL}, NULL, 1, PD_METRIC_COUNTER},
    [PD_M_PROCESS_RESIDENT] = {"process_resident_memory_bytes", "Resident memory.",
                               {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_PROCESS_VIRTUAL] = {"process_virtual_memory_bytes", "Virtual memory.",
                              {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_PROCESS_FDS] = {"process_open_fds", "Open file descriptors.",
                          {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_PROCESS_FDS_MAX] = {"process_max_fds", "How many may be open.",
                              {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_PROCESS_START] = {"process_start_time_seconds", "When the process began, Unix time.",
                            {NULL}, NULL, 1, PD_METRIC_GAUGE},
    [PD_M_PROCESS_THREADS] = {"process_threads", "Threads of the process.",
                              {NULL}, NULL, 1, PD_METRIC_GAUGE},
};

const struct pd_metric_info *pd_metric_info(enum pd_metric metric)
{
    assert(metric < PD_M_COUNT && table[metric].name);
    return &table[metric];
}
