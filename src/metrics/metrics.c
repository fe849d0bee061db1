/*
 * See metrics.h. Each metric is a family of series sorted by their label values. All of it is
 * bounded: the number of series of a family, because some labels come from people's manifests, and
 * the length of a label's value. Rendering holds the mutex for a few series at a time, so that a
 * scrape of ten thousand sources does not hold up the loop.
 */
#include "metrics/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "metrics/definitions.h"

#define SERIES_MAX 50000 /* of one family; new ones past it are not counted */
#define VALUE_SIZE 256   /* of a label, with NUL; longer ones are cut */
#define RENDER_BATCH 128 /* series that are rendered in one go */

/* Label values, made fit to be shown. Those that a metric has not are "". */
struct label_values {
    char values[METRIC_LABELS_MAX][VALUE_SIZE];
};

struct series {
    char *labels[METRIC_LABELS_MAX];
    double value;   /* of a counter or gauge; the sum of a histogram */
    uint64_t count; /* of a histogram, as are the observations of each bucket alone: */
    uint64_t buckets[];
};

struct family {
    const struct metric *metric;
    struct series **series; /* sorted by labels */
    size_t count;
    size_t capacity;
};

struct metrics {
    pthread_mutex_t mutex; /* guards all below */
    struct family families[METRIC_COUNT];
};

static size_t label_count(const struct metric *metric)
{
    size_t count = 0;

    while (count < METRIC_LABELS_MAX && metric->labels[count])
        count++;
    return count;
}

static size_t bucket_count(const struct metric *metric)
{
    size_t count = 0;

    while (metric->buckets && metric->buckets[count] != 0)
        count++;
    return count;
}

static void series_free(struct series *series)
{
    for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
        free(series->labels[i]);
    free(series);
}

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));

    if (metrics && pthread_mutex_init(&metrics->mutex, NULL) != 0) {
        free(metrics);
        return NULL;
    }
    for (size_t i = 0; metrics && i < METRIC_COUNT; i++)
        metrics->families[i].metric = metric_definitions[i];
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        for (size_t j = 0; j < metrics->families[i].count; j++)
            series_free(metrics->families[i].series[j]);
        free(metrics->families[i].series);
    }
    pthread_mutex_destroy(&metrics->mutex);
    free(metrics);
}

/* Valid UTF-8 of bounded length, whatever it was. */
static void fit_value(const char *text, char value[VALUE_SIZE])
{
    size_t length =
        strnlen(text, VALUE_SIZE * 2); /* what is behind the cut makes no character invalid */
    size_t filled = 0;

    for (size_t at = 0; at < length;) {
        uint32_t code_point;
        size_t size = utf8_decode(text + at, length - at, &code_point);

        if (filled + (size ? size : 1) >= VALUE_SIZE)
            break;
        if (size == 0)
            value[filled] = '?';
        else
            memcpy(value + filled, text + at, size);
        filled += size ? size : 1;
        at += size ? size : 1;
    }
    value[filled] = '\0';
}

static void fit_values(const struct metric *metric, const char *const *labels,
                       struct label_values *values)
{
    size_t count = labels ? label_count(metric) : 0;

    for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
        fit_value(i < count && labels[i] ? labels[i] : "", values->values[i]);
}

static int compare(const struct series *series, const struct label_values *values)
{
    int order = 0;

    for (size_t i = 0; order == 0 && i < METRIC_LABELS_MAX; i++)
        order = strcmp(series->labels[i], values->values[i]);
    return order;
}

/* The first series that is not less than `values`. */
static size_t position(const struct family *family, const struct label_values *values)
{
    size_t low = 0;
    size_t high = family->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(family->series[middle], values) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* NULL without memory. */
static struct series *series_new(const struct metric *metric, const struct label_values *values)
{
    struct series *series =
        calloc(1, sizeof(*series) + bucket_count(metric) * sizeof(series->buckets[0]));

    for (size_t i = 0; series && i < METRIC_LABELS_MAX; i++) {
        series->labels[i] = strdup(values->values[i]);
        if (!series->labels[i]) {
            series_free(series);
            return NULL;
        }
    }
    return series;
}

/* The series with these labels, a new one if need be; NULL without memory or past the bound. */
static struct series *find(struct family *family, const struct label_values *values)
{
    size_t at = position(family, values);

    if (at < family->count && compare(family->series[at], values) == 0)
        return family->series[at];
    if (family->count == SERIES_MAX)
        return NULL;
    if (family->count == family->capacity) {
        size_t capacity = family->capacity ? family->capacity * 2 : 8;
        struct series **grown = reallocarray(family->series, capacity, sizeof(*grown));

        if (!grown)
            return NULL;
        family->series = grown;
        family->capacity = capacity;
    }

    struct series *series = series_new(family->metric, values);
    if (!series)
        return NULL;
    memmove(&family->series[at + 1], &family->series[at],
            (family->count - at) * sizeof(family->series[0]));
    family->series[at] = series;
    family->count++;
    return series;
}

static void count_observation(const struct metric *metric, struct series *series, double value)
{
    series->value += value;
    series->count++;
    for (size_t i = 0; metric->buckets[i] != 0; i++) {
        if (value <= metric->buckets[i]) {
            series->buckets[i]++;
            return;
        }
    }
}

enum change { CHANGE_ADD, CHANGE_SET, CHANGE_OBSERVE };

static bool change_fits(const struct metric *metric, enum change change, double value)
{
    if (isnan(value))
        return false;
    switch (change) {
    case CHANGE_ADD:
        return metric->type == METRIC_GAUGE || (metric->type == METRIC_COUNTER && value >= 0);
    case CHANGE_SET:
        return metric->type == METRIC_GAUGE;
    case CHANGE_OBSERVE:
        return metric->type == METRIC_HISTOGRAM;
    }
    return false;
}

static void apply(struct metrics *metrics, const struct metric *metric, const char *const *labels,
                  enum change change, double value)
{
    struct label_values values;

    if (!metrics || !change_fits(metric, change, value))
        return;
    fit_values(metric, labels, &values);
    pthread_mutex_lock(&metrics->mutex);
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        struct series *series =
            metric_definitions[i] == metric ? find(&metrics->families[i], &values) : NULL;

        if (series && change == CHANGE_ADD)
            series->value += value;
        else if (series && change == CHANGE_SET)
            series->value = value;
        else if (series)
            count_observation(metric, series, value);
    }
    pthread_mutex_unlock(&metrics->mutex);
}

void metrics_add(struct metrics *metrics, const struct metric *metric, const char *const *labels,
                 double value)
{
    apply(metrics, metric, labels, CHANGE_ADD, value);
}

void metrics_set(struct metrics *metrics, const struct metric *metric, const char *const *labels,
                 double value)
{
    apply(metrics, metric, labels, CHANGE_SET, value);
}

void metrics_observe(struct metrics *metrics, const struct metric *metric,
                     const char *const *labels, double value)
{
    apply(metrics, metric, labels, CHANGE_OBSERVE, value);
}

/* The place of a label called `name`; METRIC_LABELS_MAX if there is none. */
static size_t label_index(const struct metric *metric, const char *name)
{
    for (size_t i = 0; i < label_count(metric); i++) {
        if (strcmp(metric->labels[i], name) == 0)
            return i;
    }
    return METRIC_LABELS_MAX;
}

static void forget_in(struct family *family, const char *namespace_name, const char *name)
{
    size_t namespace_at = label_index(family->metric, "namespace");
    size_t name_at = label_index(family->metric, "name");
    size_t kept = 0;

    if (namespace_at == METRIC_LABELS_MAX || name_at == METRIC_LABELS_MAX)
        return;
    for (size_t i = 0; i < family->count; i++) {
        struct series *series = family->series[i];

        if (strcmp(series->labels[namespace_at], namespace_name) == 0 &&
            strcmp(series->labels[name_at], name) == 0)
            series_free(series);
        else
            family->series[kept++] = series;
    }
    family->count = kept;
}

void metrics_forget(struct metrics *metrics, const char *namespace_name, const char *name)
{
    if (!metrics)
        return;
    pthread_mutex_lock(&metrics->mutex);
    for (size_t i = 0; i < METRIC_COUNT; i++)
        forget_in(&metrics->families[i], namespace_name, name);
    pthread_mutex_unlock(&metrics->mutex);
}

/* The shortest decimal that reads back as the same number. */
static void write_number(struct buffer *text, double value)
{
    char digits[32];

    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    if (isinf(value))
        snprintf(digits, sizeof(digits), value > 0 ? "+Inf" : "-Inf");
    buffer_append_string(text, digits);
}

static void write_escaped(struct buffer *text, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n') {
            buffer_append_string(text, "\\n");
            continue;
        }
        if (*value == '\\' || *value == '"')
            buffer_append_byte(text, '\\');
        buffer_append_byte(text, *value);
    }
}

/* "NAMESUFFIX{label="value",…} ", with a last label `le` where a bound is given. */
static void write_sample_name(struct buffer *text, const struct metric *metric, const char *suffix,
                              const struct series *series, const double *bound)
{
    const char *separator = "{";

    buffer_append_string(text, metric->name);
    buffer_append_string(text, suffix);
    for (size_t i = 0; i < label_count(metric); i++) {
        buffer_appendf(text, "%s%s=\"", separator, metric->labels[i]);
        write_escaped(text, series->labels[i]);
        buffer_append_byte(text, '"');
        separator = ",";
    }
    if (bound) {
        buffer_appendf(text, "%sle=\"", separator);
        write_number(text, *bound);
        buffer_append_byte(text, '"');
        separator = ",";
    }
    buffer_append_string(text, separator[0] == ',' ? "} " : " ");
}

static void write_series(struct buffer *text, const struct metric *metric,
                         const struct series *series)
{
    static const double infinity = INFINITY;
    uint64_t below = 0;

    if (metric->type != METRIC_HISTOGRAM) {
        write_sample_name(text, metric, "", series, NULL);
        write_number(text, series->value);
        buffer_append_byte(text, '\n');
        return;
    }
    for (size_t i = 0; metric->buckets[i] != 0; i++) {
        below += series->buckets[i];
        write_sample_name(text, metric, "_bucket", series, &metric->buckets[i]);
        buffer_appendf(text, "%llu\n", (unsigned long long)below);
    }
    write_sample_name(text, metric, "_bucket", series, &infinity);
    buffer_appendf(text, "%llu\n", (unsigned long long)series->count);
    write_sample_name(text, metric, "_sum", series, NULL);
    write_number(text, series->value);
    buffer_append_byte(text, '\n');
    write_sample_name(text, metric, "_count", series, NULL);
    buffer_appendf(text, "%llu\n", (unsigned long long)series->count);
}

static void write_head(struct buffer *text, const struct metric *metric)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
    };

    buffer_appendf(text, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
                   types[metric->type]);
}

/* Renders the next series, after those with `last` unless it is the first batch. True if there are
 * more. Series may come and go between two batches. */
static bool render_batch(struct buffer *text, const struct family *family, bool first,
                         struct label_values *last)
{
    size_t at = first ? 0 : position(family, last);

    if (!first && at < family->count && compare(family->series[at], last) == 0)
        at++;
    if (first && family->count > 0)
        write_head(text, family->metric);
    for (size_t left = RENDER_BATCH; left > 0 && at < family->count; left--, at++) {
        const struct series *series = family->series[at];

        write_series(text, family->metric, series);
        if (left > 1)
            continue;
        for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
            snprintf(last->values[i], VALUE_SIZE, "%s", series->labels[i]);
    }
    return at < family->count;
}

void metrics_render(struct metrics *metrics, struct buffer *text)
{
    struct label_values last;

    for (size_t i = 0; metrics && i < METRIC_COUNT; i++) {
        bool more = true;

        for (bool first = true; more; first = false) {
            pthread_mutex_lock(&metrics->mutex);
            more = render_batch(text, &metrics->families[i], first, &last);
            pthread_mutex_unlock(&metrics->mutex);
        }
    }
}
