/*
 * Is there anything to do? Storage may have lost what the status says is published, and then
 * nothing that upstream says about "not modified" counts; else a source is reconciled when it is
 * due, changed or asked for.
 */
#include <string.h>

#include "base/json.h"
#include "reconcile/phase.h"
#include "source/condition.h"

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

/* An annotation that somebody set since it was last handled: any other text than then. */
static bool newly_requested(const char *requested, const char *handled)
{
    return requested && !same_text(requested, handled);
}

static bool asked_for(const struct reconcile *reconcile)
{
    const struct source *source = reconcile->source;
    const struct source_status *status = reconcile->status;

    return newly_requested(json_get_string(source->annotations, ANNOTATION_REQUESTED_AT),
                           status->last_handled_reconcile_at) ||
           newly_requested(source->artifact_requested_at,
                           status->last_handled_artifact_reconcile_at);
}

/* The artifact server is not where the published URL says. */
static bool moved(const struct reconcile *reconcile)
{
    const struct artifact_record *artifact = reconcile->status->artifact;
    _cleanup_(free) char *url = artifact->path ? artifact_url(reconcile, artifact->path) : NULL;

    return url && !same_text(url, artifact->url);
}

/* What shaped the last outcome is not what it was then. *changed is true as well where the last
 * attempt was stopped before its inputs were known, and this one was not. */
static struct error *compare_inputs(const struct reconcile *reconcile, bool *changed)
{
    const struct source_status *status = reconcile->status;
    const struct condition *ready = condition_find(&status->conditions, CONDITION_READY);
    bool stalled = condition_is_true(&status->conditions, CONDITION_STALLED);
    char hex[SHA256_HEX_SIZE];

    *changed = !ready || ready->observed_generation != reconcile->source->generation;
    if (*changed)
        return NULL;
    if (ready->status != CONDITION_FALSE) {
        *changed = status->artifact && !same_text(status->inputs_digest, reconcile->inputs_hex);
        return NULL;
    }
    if (!status->retry_inputs_digest) {
        *changed = stalled;
        return NULL;
    }
    struct error *error = attempt_digest(reconcile, hex);
    *changed = !same_text(status->retry_inputs_digest, hex);
    return error;
}

/* Nothing but time may pass for a source whose configuration must change first. */
static bool time_has_come(const struct reconcile *reconcile, int64_t now, int64_t next)
{
    const struct source_status *status = reconcile->status;

    if (condition_is_true(&status->conditions, CONDITION_STALLED) ||
        status->retry_not_before_ms > now)
        return false;
    return reconcile->due || next <= now || (status->artifact && !reconcile->intact);
}

/* The ExternalArtifact can be put right from what we know, without asking upstream. */
static bool needs_repair(const struct reconcile *reconcile)
{
    return reconcile->status->artifact && reconcile->intact &&
           (reconcile->source->artifact_differs || moved(reconcile));
}

struct step phase_due(struct reconcile *reconcile)
{
    int64_t now = clock_wall_ms(reconcile->options->clock);
    int64_t next = schedule_next(reconcile->source, reconcile->status, now);
    bool changed;
    struct error *error = compare_inputs(reconcile, &changed);

    if (error)
        return step_failed(error);
    if (reconcile->options->once || changed || asked_for(reconcile) ||
        time_has_come(reconcile, now, next))
        return step_next();
    if (needs_repair(reconcile)) {
        reconcile->repair = true;
        reconcile->not_modified = true;
        return step_next();
    }
    reconcile->requeue_ms = next > now ? next - now : 0;
    return step_done();
}
