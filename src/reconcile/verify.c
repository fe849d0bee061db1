/*
 * Is there anything to do? Storage may have lost what the status says is published, and then
 * nothing that upstream says about "not modified" counts; else a source is reconciled when it is
 * due, changed or asked for.
 */
#include <string.h>

#include "base/json.h"
#include "reconcile/phase.h"

#define DIGEST_PREFIX "sha256:"

static void verified(void *context, struct error *error, const struct storage_object *object)
{
    struct reconcile *reconcile = context;
    const char *published = reconcile->status->artifact->digest;

    reconcile->intact = object && strncmp(published, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0 &&
                        strcmp(published + strlen(DIGEST_PREFIX), object->digest) == 0;
    reconcile_resume(reconcile, error);
}

struct step phase_verify(struct reconcile *reconcile)
{
    const struct artifact_record *artifact = reconcile->status->artifact;

    if (!artifact || !artifact->path || !artifact->digest || !storage_key_valid(artifact->path))
        return step_next();
    if (reconcile->returned) {
        if (!reconcile->error && !reconcile->intact)
            log_info(reconcile->options->log, &reconcile->subject,
                     "storage does not hold the published artifact; it will be made again", "path",
                     artifact->path, NULL);
        return step_outcome(reconcile);
    }
    return step_started(storage_stat(reconcile->options->storage, artifact->path, verified,
                                     reconcile, &reconcile->operation));
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool asked_for(const struct reconcile *reconcile)
{
    const char *requested =
        json_get_string(reconcile->source->annotations, ANNOTATION_REQUESTED_AT);

    return requested && !same_text(requested, reconcile->status->last_handled_reconcile_at);
}

/* The artifact server is not where the published URL says. */
static bool moved(const struct reconcile *reconcile)
{
    const struct artifact_record *artifact = reconcile->status->artifact;
    _cleanup_(free) char *url = artifact->path ? artifact_url(reconcile, artifact->path) : NULL;

    return url && !same_text(url, artifact->url);
}

/* Something that shapes the artifact or its record is not what it was at the last outcome. */
static bool changed(const struct reconcile *reconcile)
{
    const struct source_status *status = reconcile->status;

    if (!status->artifact)
        return false; /* schedule_next decides */
    return !reconcile->intact || moved(reconcile) ||
           !same_text(status->inputs_digest, reconcile->inputs_hex);
}

struct step phase_due(struct reconcile *reconcile)
{
    const struct source_status *status = reconcile->status;
    int64_t now = clock_wall_ms(reconcile->options->clock);
    int64_t next = schedule_next(reconcile->source, status, now);
    bool waits_to_retry = status->retry_not_before_ms > now;
    bool new_spec = status->observed_generation != reconcile->source->generation;

    if (reconcile->options->once || reconcile->due || asked_for(reconcile) || next <= now)
        return step_next();
    if ((new_spec || changed(reconcile)) && !waits_to_retry)
        return step_next();
    reconcile->requeue_ms = next - now;
    return step_done();
}
