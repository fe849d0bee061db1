/*
 * Prometheus metrics (text format 0.0.4): counters, gauges and histograms under the names of the
 * reference implementation, so that dashboards keep working. Updated on the loop's thread, rendered
 * on a server's: one mutex guards the registry.
 */
#ifndef SLUICE_METRICS_METRICS_H
#define SLUICE_METRICS_METRICS_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* What a metric is: static data, the tables below. */
struct metric {
    const char *name;
    const char *help;
    enum metric_type type;
    const char *labels[4]; /* names, NULL-terminated when fewer */
    const double *buckets; /* upper bounds of a histogram, ascending, ended by 0; +Inf is implied */
};

/* Names and labels are those of the reference implementation; `success` is "true" or "false". */
extern const struct metric metric_reconciliation_total; /* namespace, name, source_type, success */
extern const struct metric metric_reconciliation_duration_seconds;     /* the same */
extern const struct metric metric_source_request_total;                /* source_type, success */
extern const struct metric metric_source_request_duration_seconds;     /* the same */
extern const struct metric metric_hook_execution_total;                /* kind, success */
extern const struct metric metric_hook_execution_duration_seconds;     /* the same */
extern const struct metric metric_artifact_operation_total;            /* operation, success */
extern const struct metric metric_artifact_operation_duration_seconds; /* the same */
extern const struct metric metric_active_reconciliations;              /* namespace, name */
extern const struct metric metric_last_success_timestamp_seconds;      /* namespace, name */
extern const struct metric metric_gotk_reconcile_duration_seconds;     /* kind, name, namespace */

extern const struct metric metric_module_refused_total; /* origin */

struct metrics;

struct metrics *metrics_new(void); /* NULL without memory */
void metrics_free(struct metrics *metrics);

/* Adds to a counter or gauge, sets a gauge, observes into a histogram. `labels` are the values in
 * the order of the metric's label names, NULL where it has none. Without memory, past the bound
 * on a metric's series, or where it does not fit the metric's type, the sample is lost, nothing
 * else. Values are cut at 255 bytes and made valid UTF-8. `metrics` may be NULL: nothing is
 * counted. Metrics never fail a caller. */
void metrics_add(struct metrics *metrics, const struct metric *metric, const char *const *labels,
                 double value);
void metrics_set(struct metrics *metrics, const struct metric *metric, const char *const *labels,
                 double value);
void metrics_observe(struct metrics *metrics, const struct metric *metric,
                     const char *const *labels, double value);

/* Drops every series whose labels `namespace` and `name` have these values: the object is gone. */
void metrics_forget(struct metrics *metrics, const char *namespace_name, const char *name);

/* Appends the exposition, metrics and series sorted. Thread-safe. */
void metrics_render(struct metrics *metrics, struct buffer *text);

#endif
