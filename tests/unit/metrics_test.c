#include "common/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/process.h"

#define TEXT_BYTES_MAX (4u << 20)

static char *text_of(struct pd_metrics *metrics, bool openmetrics)
{
    struct pd_buf out;

    pd_buf_init(&out, TEXT_BYTES_MAX);
    assert_int_equal(pd_metrics_format(metrics, openmetrics, &out, NULL), 0);
    return pd_buf_steal(&out);
}

static void assert_has(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("no line '%s' in:\n%s", line, text);
}

static void test_counters_and_gauges(void **state)
{
    struct pd_metrics *metrics = pd_metrics_new();
    char *text;

    (void)state;
    pd_metrics_add(metrics, PD_M_EXECUTIONS, PD_LABELS("a", "python", "exited"), 1);
    pd_metrics_add(metrics, PD_M_EXECUTIONS, PD_LABELS("a", "python", "exited"), 2);
    pd_metrics_add(metrics, PD_M_EXECUTIONS, PD_LABELS("a", "python", "lost"), 1);
    pd_metrics_set(metrics, PD_M_SOCKETS, NULL, 7);
    pd_metrics_set(metrics, PD_M_SOCKETS, NULL, 5);
    text = text_of(metrics, false);
    assert_has(text, "# TYPE paddock_executions_total counter\n");
    assert_has(text, "\npaddock_executions_total{pool=\"a\",language=\"python\",cause=\"exited\"} 3\n");
    assert_has(text, "cause=\"lost\"} 1\n");
    assert_has(text, "\npaddock_http_connections 5\n");
    assert_null(strstr(text, "paddock_warm_hits_total")); /* nothing has been said of it */
    assert_null(strstr(text, "# EOF"));
    free(text);
    text = text_of(metrics, true);
    assert_has(text, "# TYPE paddock_executions counter\n");
    assert_has(text, "\npaddock_executions_total{");
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
    free(text);
    pd_metrics_free(metrics);
}

static void test_histogram_is_cumulated(void **state)
{
    struct pd_metrics *metrics = pd_metrics_new();
    const char *const *labels = PD_LABELS("a");
    char *text;

    (void)state;
    pd_metrics_observe(metrics, PD_M_QUEUE_SECONDS, labels, 0.001); /* a bound is within */
    pd_metrics_observe(metrics, PD_M_QUEUE_SECONDS, labels, 0.02);
    pd_metrics_observe(metrics, PD_M_QUEUE_SECONDS, labels, 1e6);
    pd_metrics_observe(metrics, PD_M_QUEUE_SECONDS, labels, -1); /* clocks */
    text = text_of(metrics, false);
    assert_has(text, "_bucket{pool=\"a\",le=\"0.0005\"} 1\n");
    assert_has(text, "_bucket{pool=\"a\",le=\"0.001\"} 2\n");
    assert_has(text, "_bucket{pool=\"a\",le=\"0.025\"} 3\n");
    assert_has(text, "_bucket{pool=\"a\",le=\"300\"} 3\n");
    assert_has(text, "_bucket{pool=\"a\",le=\"+Inf\"} 4\n");
    assert_has(text, "_count{pool=\"a\"} 4\n");
    assert_has(text, "_sum{pool=\"a\"} 1000000.02\n");
    assert_true(pd_metrics_value(metrics, PD_M_QUEUE_SECONDS, labels) == 4);
    free(text);
    pd_metrics_free(metrics);
}

/* However many values a label takes, what is kept is bounded and nothing is lost
 * of the sum. */
static void test_label_values_are_bounded(void **state)
{
    struct pd_metrics *metrics = pd_metrics_new();
    size_t max = pd_metric_info(PD_M_WARM_HITS)->series_max;
    size_t lines = 0;
    char name[32], *text;

    (void)state;
    for (size_t i = 0; i < max + 1000; i++) {
        snprintf(name, sizeof name, "pool-%zu", i);
        pd_metrics_add(metrics, PD_M_WARM_HITS, PD_LABELS(name), 1);
    }
    assert_true(pd_metrics_value(metrics, PD_M_WARM_HITS, PD_LABELS("pool-0")) == 1);
    assert_true(pd_metrics_value(metrics, PD_M_WARM_HITS, PD_LABELS("_other")) == 1000);
    text = text_of(metrics, false);
    for (const char *p = text; (p = strstr(p, "\npaddock_warm_hits_total{")); p++)
        lines++;
    assert_int_equal(lines, max + 1);
    free(text);
    pd_metrics_free(metrics);
}

static void test_labels_are_escaped_and_cut(void **state)
{
    struct pd_metrics *metrics = pd_metrics_new();
    char longer[200], *text;

    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    pd_metrics_add(metrics, PD_M_WARM_HITS, PD_LABELS("a\"b\\c\nd\xff"), 1);
    pd_metrics_add(metrics, PD_M_WARM_HITS, PD_LABELS(longer), 1);
    pd_metrics_add(metrics, PD_M_WARM_HITS, PD_LABELS(longer), 1);
    text = text_of(metrics, false);
    assert_has(text, "{pool=\"a\\\"b\\\\c\\nd?\"} 1\n");
    longer[PD_METRIC_LABEL_BYTES - 1] = '\0';
    assert_has(text, longer);
    longer[PD_METRIC_LABEL_BYTES - 1] = 'x';
    longer[PD_METRIC_LABEL_BYTES] = '\0';
    assert_null(strstr(text, longer));
    assert_true(pd_metrics_value(metrics, PD_M_WARM_HITS, PD_LABELS(longer)) == 2);
    free(text);
    pd_metrics_free(metrics);
}

static void collect(void *arg, struct pd_metrics *metrics)
{
    pd_metrics_clear(metrics, PD_M_SANDBOXES);
    pd_metrics_add(metrics, PD_M_SANDBOXES, PD_LABELS(arg, "warm"), 2);
    pd_metrics_add(metrics, PD_M_SANDBOXES, PD_LABELS(arg, "warm"), 1);
}

static void test_collectors(void **state)
{
    struct pd_metrics *metrics = pd_metrics_new();
    char first[] = "first", second[] = "second", *text;

    (void)state;
    pd_metrics_on_collect(metrics, collect, first);
    for (int i = 0; i < 2; i++) {
        text = text_of(metrics, false);
        assert_has(text, "paddock_sandboxes{pool=\"first\",phase=\"warm\"} 3\n");
        free(text);
    }
    pd_metrics_off_collect(metrics, collect, first);
    pd_metrics_on_collect(metrics, collect, second);
    text = text_of(metrics, false);
    assert_has(text, "pool=\"second\"");
    assert_null(strstr(text, "pool=\"first\""));
    free(text);
    pd_metrics_free(metrics);
}

static void test_process(void **state)
{
    struct pd_metrics *metrics = pd_metrics_new();

    (void)state;
    pd_process_collect(NULL, metrics);
    assert_true(pd_metrics_value(metrics, PD_M_PROCESS_RESIDENT, NULL) > 100e3);
    assert_true(pd_metrics_value(metrics, PD_M_PROCESS_FDS, NULL) >= 3);
    assert_true(pd_metrics_value(metrics, PD_M_PROCESS_FDS_MAX, NULL) >= 64);
    assert_true(pd_metrics_value(metrics, PD_M_PROCESS_THREADS, NULL) >= 1);
    assert_true(pd_metrics_value(metrics, PD_M_PROCESS_START, NULL) > 1.5e9);
    pd_metrics_free(metrics);
}

static void test_none_is_nothing(void **state)
{
    struct pd_buf out;

    (void)state;
    pd_buf_init(&out, 16);
    pd_metrics_add(NULL, PD_M_WARM_HITS, PD_LABELS("a"), 1);
    pd_metrics_set(NULL, PD_M_SOCKETS, NULL, 1);
    pd_metrics_observe(NULL, PD_M_QUEUE_SECONDS, PD_LABELS("a"), 1);
    pd_metrics_clear(NULL, PD_M_SOCKETS);
    pd_metrics_on_collect(NULL, collect, NULL);
    pd_metrics_off_collect(NULL, collect, NULL);
    assert_int_equal(pd_metrics_format(NULL, false, &out, NULL), 0);
    assert_int_equal(out.len, 0);
    pd_metrics_free(NULL);
}

/* Names, units and types as Prometheus wants them; what promtool says of a whole
 * answer is tested end to end. */
static void test_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PD_M_COUNT; i++) {
        const struct pd_metric_info *info = pd_metric_info((enum pd_metric)i);
        size_t len = strlen(info->name);
        bool total = len > 6 && strcmp(info->name + len - 6, "_total") == 0;
        assert_true(total == (info->type == PD_METRIC_COUNTER));
        assert_true((info->type == PD_METRIC_HISTOGRAM) == (info->buckets != NULL));
        assert_true(strncmp(info->name, "paddock_", 8) == 0 ||
                    strncmp(info->name, "process_", 8) == 0);
        assert_true(info->series_max >= 1 && info->help[strlen(info->help) - 1] == '.');
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(info->name, pd_metric_info((enum pd_metric)j)->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_and_gauges),
        cmocka_unit_test(test_histogram_is_cumulated),
        cmocka_unit_test(test_label_values_are_bounded),
        cmocka_unit_test(test_labels_are_escaped_and_cut),
        cmocka_unit_test(test_collectors),
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_none_is_nothing),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
