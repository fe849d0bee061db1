/*
 * What is measured. Names and buckets are those of the reference implementation and, for gotk_*, of
 * Flux's controllers, so that dashboards and alerts made for them show us.
 */
#include "metrics/definitions.h"

static const double reconciliation_buckets[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                0.5,   1,    2.5,   5,    10,  0};
static const double request_buckets[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 0};
static const double hook_buckets[] = {0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 0};
static const double artifact_buckets[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 0};
static const double gotk_buckets[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10, 0};

const struct metric metric_reconciliation_total = {
    .name = "externalsource_reconciliation_total",
    .help = "Reconciliations that ended.",
    .type = METRIC_COUNTER,
    .labels = {"namespace", "name", "source_type", "success"},
};

const struct metric metric_reconciliation_duration_seconds = {
    .name = "externalsource_reconciliation_duration_seconds",
    .help = "How long reconciliations took.",
    .type = METRIC_HISTOGRAM,
    .labels = {"namespace", "name", "source_type", "success"},
    .buckets = reconciliation_buckets,
};

const struct metric metric_source_request_total = {
    .name = "externalsource_source_request_total",
    .help = "Fetches from upstream, by type of generator.",
    .type = METRIC_COUNTER,
    .labels = {"source_type", "success"},
};

const struct metric metric_source_request_duration_seconds = {
    .name = "externalsource_source_request_duration_seconds",
    .help = "How long fetches from upstream took, by type of generator.",
    .type = METRIC_HISTOGRAM,
    .labels = {"source_type", "success"},
    .buckets = request_buckets,
};

const struct metric metric_hook_execution_total = {
    .name = "externalsource_hook_execution_total",
    .help = "Hooks that ran, by kind.",
    .type = METRIC_COUNTER,
    .labels = {"kind", "success"},
};

const struct metric metric_hook_execution_duration_seconds = {
    .name = "externalsource_hook_execution_duration_seconds",
    .help = "How long hooks took, by kind.",
    .type = METRIC_HISTOGRAM,
    .labels = {"kind", "success"},
    .buckets = hook_buckets,
};

const struct metric metric_artifact_operation_total = {
    .name = "externalsource_artifact_operation_total",
    .help = "Operations on stored artifacts.",
    .type = METRIC_COUNTER,
    .labels = {"operation", "success"},
};

const struct metric metric_artifact_operation_duration_seconds = {
    .name = "externalsource_artifact_operation_duration_seconds",
    .help = "How long operations on stored artifacts took.",
    .type = METRIC_HISTOGRAM,
    .labels = {"operation", "success"},
    .buckets = artifact_buckets,
};

const struct metric metric_active_reconciliations = {
    .name = "externalsource_active_reconciliations",
    .help = "Reconciliations that are running now.",
    .type = METRIC_GAUGE,
    .labels = {"namespace", "name"},
};

const struct metric metric_last_success_timestamp_seconds = {
    .name = "externalsource_last_success_timestamp_seconds",
    .help = "When a source was last reconciled with success, in seconds since 1970.",
    .type = METRIC_GAUGE,
    .labels = {"namespace", "name"},
};

const struct metric metric_gotk_reconcile_duration_seconds = {
    .name = "gotk_reconcile_duration_seconds",
    .help = "The duration in seconds of a GitOps Toolkit resource reconciliation.",
    .type = METRIC_HISTOGRAM,
    .labels = {"kind", "name", "namespace"},
    .buckets = gotk_buckets,
};

const struct metric metric_module_refused_total = {
    .name = "externalsource_module_refused_total",
    .help = "Lua modules that did not load, by where they come from.",
    .type = METRIC_COUNTER,
    .labels = {"origin"},
};

const struct metric *const metric_definitions[METRIC_COUNT] = {
    &metric_active_reconciliations,   &metric_artifact_operation_duration_seconds,
    &metric_artifact_operation_total, &metric_hook_execution_duration_seconds,
    &metric_hook_execution_total,     &metric_last_success_timestamp_seconds,
    &metric_module_refused_total,     &metric_reconciliation_duration_seconds,
    &metric_reconciliation_total,     &metric_source_request_duration_seconds,
    &metric_source_request_total,     &metric_gotk_reconcile_duration_seconds,
};
