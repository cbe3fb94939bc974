/* Theory of operation. A family's series are found by a hash of their label
 * values in an open-addressed index of twice their number, and stand in an array
 * in order of appearance. Both are allocated with the family, zeroed: pages that
 * nothing has touched cost nothing. The last place of each array is kept for
 * "_other". */
#include "common/metrics.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fnv.h"
#include "common/mem.h"

#define OTHER "_other"

struct series {
    uint32_t hash;
    char labels[PD_METRIC_LABELS_MAX][PD_METRIC_LABEL_BYTES];
    double value;   /* of a histogram: the sum */
    uint64_t count; /* of a histogram: all observations */
};

struct family {
    const struct pd_metric_info *info;
    size_t n_labels;
    size_t n_buckets;
    size_t n_index;
    size_t count;          /* series in use */
    uint32_t *index;       /* 1 + place in series; 0: empty */
    struct series *series; /* info->series_max, and one for the others */
    uint64_t *buckets;     /* n_buckets of each series; not cumulated */
};

struct collector {
    pd_metrics_collect_cb cb;
    void *arg;
};

struct pd_metrics {
    struct family families[PD_M_COUNT];
    struct collector collectors[PD_METRICS_COLLECTORS_MAX];
    size_t n_collectors;
};

/* ---- series ---- */

static void family_init(struct family *family, const struct pd_metric_info *info)
{
    family->info = info;
    while (family->n_labels < PD_METRIC_LABELS_MAX && info->labels[family->n_labels])
        family->n_labels++;
    while (info->buckets && info->buckets[family->n_buckets] > 0)
        family->n_buckets++;
    assert(family->n_buckets <= PD_METRIC_BUCKETS_MAX);
    for (family->n_index = 2; family->n_index < 2 * (info->series_max + 1);)
        family->n_index *= 2;
    family->index = pd_calloc(family->n_index, sizeof *family->index);
    family->series = pd_calloc(info->series_max + 1, sizeof *family->series);
    if (family->n_buckets)
        family->buckets =
            pd_calloc((info->series_max + 1) * family->n_buckets, sizeof *family->buckets);
}

/* Over the label values as they are kept. */
static uint32_t hash_of(const struct family *family, const char *const *labels)
{
    uint32_t hash = PD_FNV_BEGIN;

    for (size_t i = 0; i < family->n_labels; i++) {
        hash = pd_fnv_add(hash, labels[i], strnlen(labels[i], PD_METRIC_LABEL_BYTES - 1));
        hash = pd_fnv_add(hash, "\xff", 1);
    }
    return hash;
}

static bool is_same(const struct family *family, const struct series *series, uint32_t hash,
                    const char *const *labels)
{
    if (series->hash != hash)
        return false;
    for (size_t i = 0; i < family->n_labels; i++)
        if (strncmp(series->labels[i], labels[i], PD_METRIC_LABEL_BYTES - 1) != 0)
            return false;
    return true;
}

/* Its place in the index: where it stands, or where it would. */
static uint32_t *place_of(const struct family *family, uint32_t hash, const char *const *labels)
{
    size_t at = hash & (family->n_index - 1);

    while (family->index[at] &&
           !is_same(family, &family->series[family->index[at] - 1], hash, labels))
        at = (at + 1) & (family->n_index - 1);
    return &family->index[at];
}

static struct series *series_of(struct family *family, const char *const *labels)
{
    static const char *const other[PD_METRIC_LABELS_MAX] = {OTHER, OTHER, OTHER};
    uint32_t hash = hash_of(family, labels);
    uint32_t *place = place_of(family, hash, labels);
    struct series *series;

    if (*place)
        return &family->series[*place - 1];
    if (family->count >= family->info->series_max) {
        labels = other;
        hash = hash_of(family, labels);
        place = place_of(family, hash, labels);
        if (*place)
            return &family->series[*place - 1];
    }
    assert(family->count <= family->info->series_max);
    series = &family->series[family->count++];
    *series = (struct series){.hash = hash};
    for (size_t i = 0; i < family->n_labels; i++)
        pd_strcpy(series->labels[i], PD_METRIC_LABEL_BYTES, labels[i]);
    *place = (uint32_t)family->count;
    return series;
}

static struct family *family_of(struct pd_metrics *metrics, enum pd_metric metric,
                                const char *const *labels)
{
    struct family *family = &metrics->families[metric];

    assert(metric < PD_M_COUNT && (family->n_labels == 0 || labels));
    return family;
}

void pd_metrics_add(struct pd_metrics *metrics, enum pd_metric metric, const char *const *labels,
                    double by)
{
    if (!metrics)
        return;
    assert(by >= 0);
    series_of(family_of(metrics, metric, labels), labels)->value += by;
}

void pd_metrics_set(struct pd_metrics *metrics, enum pd_metric metric, const char *const *labels,
                    double value)
{
    if (metrics)
        series_of(family_of(metrics, metric, labels), labels)->value = value;
}

void pd_metrics_observe(struct pd_metrics *metrics, enum pd_metric metric,
                        const char *const *labels, double value)
{
    struct family *family;
    struct series *series;
    size_t bucket = 0;

    if (!metrics)
        return;
    family = family_of(metrics, metric, labels);
    assert(family->buckets);
    if (value < 0)
        value = 0; /* the difference of two clocks */
    series = series_of(family, labels);
    series->value += value;
    series->count++;
    while (bucket < family->n_buckets && value > family->info->buckets[bucket])
        bucket++;
    if (bucket < family->n_buckets)
        family->buckets[(size_t)(series - family->series) * family->n_buckets + bucket]++;
}

void pd_metrics_clear(struct pd_metrics *metrics, enum pd_metric metric)
{
    struct family *family;

    if (!metrics)
        return;
    family = &metrics->families[metric];
    memset(family->index, 0, family->n_index * sizeof *family->index);
    if (family->buckets)
        memset(family->buckets, 0, family->count * family->n_buckets * sizeof *family->buckets);
    family->count = 0;
}

double pd_metrics_value(const struct pd_metrics *metrics, enum pd_metric metric,
                        const char *const *labels)
{
    const struct family *family = &metrics->families[metric];
    uint32_t place = *place_of(family, hash_of(family, labels), labels);

    if (place == 0)
        return 0;
    return family->buckets ? (double)family->series[place - 1].count
                           : family->series[place - 1].value;
}

/* ---- text ---- */

/* Backslash, quote and line feed are escaped; bytes that are no printable ASCII
 * become a question mark, since the text must be UTF-8. */
static int put_label(struct pd_buf *out, const char *name, const char *value, bool first,
                     struct pd_err *err)
{
    char text[2 * PD_METRIC_LABEL_BYTES];
    size_t len = 0;

    for (const char *p = value; *p; p++) {
        bool escape = *p == '\\' || *p == '"' || *p == '\n';
        if (escape)
            text[len++] = '\\';
        text[len++] = *p == '\n' ? 'n' : (*p >= ' ' && *p <= '~') ? *p : '?';
    }
    text[len] = '\0';
    return pd_buf_addf(out, err, "%s%s=\"%s\"", first ? "{" : ",", name, text);
}

/* name{a="b",le="0.5"} , the bound where there is one. */
static int put_name(struct pd_buf *out, const struct family *family, const struct series *series,
                    const char *suffix, const char *bound, struct pd_err *err)
{
    bool first = true;
    int rc = pd_buf_addf(out, err, "%s%s", family->info->name, suffix);

    for (size_t i = 0; rc == 0 && i < family->n_labels; i++, first = false)
        rc = put_label(out, family->info->labels[i], series->labels[i], first, err);
    if (rc == 0 && bound) {
        rc = put_label(out, "le", bound, first, err);
        first = false;
    }
    return rc < 0 ? rc : pd_buf_addf(out, err, "%s ", first ? "" : "}");
}

static int put_histogram(struct pd_buf *out, const struct family *family,
                         const struct series *series, struct pd_err *err)
{
    const uint64_t *buckets =
        &family->buckets[(size_t)(series - family->series) * family->n_buckets];
    uint64_t sum = 0;
    char bound[32];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i <= family->n_buckets; i++) {
        bool last = i == family->n_buckets;
        sum = last ? series->count : sum + buckets[i];
        snprintf(bound, sizeof bound, "%g", last ? 0 : family->info->buckets[i]);
        rc = put_name(out, family, series, "_bucket", last ? "+Inf" : bound, err);
        if (rc == 0)
            rc = pd_buf_addf(out, err, "%llu\n", (unsigned long long)sum);
    }
    if (rc == 0)
        rc = put_name(out, family, series, "_sum", NULL, err);
    if (rc == 0)
        rc = pd_buf_addf(out, err, "%.9g\n", series->value);
    if (rc == 0)
        rc = put_name(out, family, series, "_count", NULL, err);
    return rc < 0 ? rc : pd_buf_addf(out, err, "%llu\n", (unsigned long long)series->count);
}

/* OpenMetrics names a counter's family without its _total. */
static int put_head(struct pd_buf *out, const struct pd_metric_info *info, bool openmetrics,
                    struct pd_err *err)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    size_t len = strlen(info->name);

    if (openmetrics && info->type == PD_METRIC_COUNTER)
        len -= strlen("_total");
    return pd_buf_addf(out, err, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)len, info->name,
                       info->help, (int)len, info->name, types[info->type]);
}

static int put_family(struct pd_buf *out, const struct family *family, bool openmetrics,
                      struct pd_err *err)
{
    int rc = family->count ? put_head(out, family->info, openmetrics, err) : 0;

    for (size_t i = 0; rc == 0 && i < family->count; i++) {
        const struct series *series = &family->series[i];
        if (family->buckets) {
            rc = put_histogram(out, family, series, err);
            continue;
        }
        rc = put_name(out, family, series, "", NULL, err);
        if (rc == 0)
            rc = pd_buf_addf(out, err, "%.15g\n", series->value);
    }
    return rc;
}

int pd_metrics_format(struct pd_metrics *metrics, bool openmetrics, struct pd_buf *out,
                      struct pd_err *err)
{
    int rc = 0;

    if (!metrics)
        return 0;
    for (size_t i = 0; i < metrics->n_collectors; i++)
        metrics->collectors[i].cb(metrics->collectors[i].arg, metrics);
    for (size_t i = 0; rc == 0 && i < PD_M_COUNT; i++)
        rc = put_family(out, &metrics->families[i], openmetrics, err);
    return rc < 0 || !openmetrics ? rc : pd_buf_addf(out, err, "# EOF\n");
}

/* ---- life ---- */

struct pd_metrics *pd_metrics_new(void)
{
    struct pd_metrics *metrics = PD_NEW(struct pd_metrics);

    for (unsigned i = 0; i < PD_M_COUNT; i++)
        family_init(&metrics->families[i], pd_metric_info((enum pd_metric)i));
    return metrics;
}

void pd_metrics_free(struct pd_metrics *metrics)
{
    if (!metrics)
        return;
    for (unsigned i = 0; i < PD_M_COUNT; i++) {
        free(metrics->families[i].index);
        free(metrics->families[i].series);
        free(metrics->families[i].buckets);
    }
    free(metrics);
}

void pd_metrics_on_collect(struct pd_metrics *metrics, pd_metrics_collect_cb cb, void *arg)
{
    if (!metrics)
        return;
    assert(metrics->n_collectors < PD_METRICS_COLLECTORS_MAX);
    metrics->collectors[metrics->n_collectors++] = (struct collector){cb, arg};
}

void pd_metrics_off_collect(struct pd_metrics *metrics, pd_metrics_collect_cb cb, void *arg)
{
    for (size_t i = 0; metrics && i < metrics->n_collectors; i++) {
        if (metrics->collectors[i].cb != cb || metrics->collectors[i].arg != arg)
            continue;
        metrics->collectors[i] = metrics->collectors[--metrics->n_collectors];
        return;
    }
}
