/* Stores the artifact under its revision, and makes the record that will be published of it. */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "reconcile/phase.h"

char *artifact_prefix(const struct reconcile *reconcile)
{
    return format_string("artifacts/%s/%s/", reconcile->namespace_name, reconcile->name);
}

char *artifact_key(const struct reconcile *reconcile)
{
    return format_string("artifacts/%s/%s/%s.tar.gz", reconcile->namespace_name, reconcile->name,
                         reconcile->revision);
}

char *artifact_url(const struct reconcile *reconcile, const char *path)
{
    return format_string("%s/%s", reconcile->options->artifact_base_url, path);
}

/* What is published is always the digest of the bytes that storage holds, which may be older ones
 * of the same revision. */
static struct error *make_record(struct reconcile *reconcile)
{
    struct artifact_record *record = calloc(1, sizeof(*record));

    if (!record)
        return error_out_of_memory();
    reconcile->record = record;
    record->path = artifact_key(reconcile);
    record->url = record->path ? artifact_url(reconcile, record->path) : NULL;
    record->revision =
        format_string("%s@sha256:%s", reconcile->revision_label, reconcile->revision);
    record->digest = format_string("sha256:%s", reconcile->stored.digest);
    record->size = reconcile->stored.size;
    /* Whole seconds, as they are written: a restarted process must come to the same schedule. */
    record->last_update_ms = clock_wall_ms(reconcile->options->clock) / 1000 * 1000;
    if (json_object_size(reconcile->metadata) > 0)
        record->metadata = json_incref(reconcile->metadata);
    if (!record->path || !record->url || !record->revision || !record->digest)
        return error_out_of_memory();
    return NULL;
}

static void count_operation(const struct reconcile *reconcile, bool success)
{
    const char *labels[] = {"store", success ? "true" : "false"};

    metrics_add(reconcile->options->metrics, &metric_artifact_operation_total, labels, 1);
    metrics_observe(reconcile->options->metrics, &metric_artifact_operation_duration_seconds,
                    labels, reconcile_phase_seconds(reconcile));
}

static void stored(void *context, struct error *error, const struct storage_object *object)
{
    struct reconcile *reconcile = context;

    if (!error)
        reconcile->stored = *object;
    count_operation(reconcile, !error);
    reconcile_resume(reconcile, error);
}

struct step phase_store(struct reconcile *reconcile)
{
    if (reconcile->not_modified || reconcile->unchanged)
        return step_next();
    if (reconcile->error)
        return step_outcome(reconcile);
    if (reconcile->returned) {
        struct error *error = make_record(reconcile);

        return error ? step_failed(error) : step_next();
    }

    struct error *fenced = reconcile_fence(reconcile);
    if (fenced)
        return step_failed(fenced);
    _cleanup_(free) char *key = artifact_key(reconcile);
    if (!key)
        return step_failed(error_out_of_memory());
    return step_started(storage_put(reconcile->options->storage, key, reconcile->packed, stored,
                                    reconcile, &reconcile->operation));
}
