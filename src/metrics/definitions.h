/* Every metric there is, sorted by name. Internal to this folder. */
#ifndef SLUICE_METRICS_DEFINITIONS_H
#define SLUICE_METRICS_DEFINITIONS_H

#include "metrics/metrics.h"

#define METRIC_LABELS_MAX (sizeof(((struct metric *)NULL)->labels) / sizeof(char *))
#define METRIC_COUNT 12

extern const struct metric *const metric_definitions[METRIC_COUNT];

#endif
