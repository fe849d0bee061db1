/*
 * Tells consumers: the ExternalArtifact says what was stored. Only then does the status that will
 * be written speak of it, with the token that belongs to it.
 */
#include <stdlib.h>
#include <string.h>

#include "reconcile/phase.h"

/* The same revision, perhaps with other metadata or, after a restart, at another address: consumers
 * are not woken, but they read it. */
static struct error *renew_record(struct reconcile *reconcile)
{
    const struct artifact_record *published = reconcile->status->artifact;
    struct artifact_record *renewed = artifact_record_copy(published);

    reconcile->record = renewed;
    if (!renewed)
        return error_out_of_memory();
    if (!reconcile->not_modified) {
        json_decref(renewed->metadata);
        renewed->metadata =
            json_object_size(reconcile->metadata) > 0 ? json_incref(reconcile->metadata) : NULL;
    }
    free(renewed->url);
    renewed->url = artifact_url(reconcile, renewed->path);
    if (!renewed->url)
        return error_out_of_memory();
    if (artifact_record_equal(renewed, published) && !reconcile->source->artifact_differs)
        artifact_record_free(TAKE(reconcile->record));
    return NULL;
}

static struct error *adopt_token(struct reconcile *reconcile)
{
    struct source_status *status = reconcile->status;

    free(status->last_handled_etag);
    status->last_handled_etag = TAKE(reconcile->token);
    free(status->inputs_digest);
    status->inputs_digest = strdup(reconcile->inputs_hex);
    return status->inputs_digest ? NULL : error_out_of_memory();
}

static void adopt_record(struct reconcile *reconcile)
{
    struct artifact_record *previous = reconcile->status->artifact;

    if (previous && previous->path && strcmp(previous->path, reconcile->record->path) != 0)
        reconcile->previous_path = TAKE(previous->path);
    artifact_record_free(previous);
    reconcile->status->artifact = TAKE(reconcile->record);
}

struct step phase_publish(struct reconcile *reconcile)
{
    struct error *error = TAKE(reconcile->error);

    if (!reconcile->returned) {
        if (reconcile->not_modified || reconcile->unchanged)
            error = renew_record(reconcile);
        if (!error && reconcile->record)
            return step_started(catalog_publish(reconcile->options->catalog, reconcile->source,
                                                reconcile->record, reconcile_completed, reconcile,
                                                &reconcile->operation));
    }
    if (error)
        return step_failed(error);
    if (reconcile->record)
        adopt_record(reconcile);
    error = reconcile->not_modified ? NULL : adopt_token(reconcile);
    return error ? step_failed(error) : step_report();
}
