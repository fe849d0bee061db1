/*
 * The phases of a source that is being deleted, passed over by all others: its ExternalArtifact
 * goes first, so that nobody is pointed at what is no longer there, then its artifacts, then our
 * finalizer.
 */
#include <stdlib.h>
#include <string.h>

#include "reconcile/phase.h"

struct step phase_withdraw(struct reconcile *reconcile)
{
    if (!reconcile->source->deleting)
        return step_next();
    if (!reconcile->source->has_finalizer)
        return step_done(); /* we have nothing to do with it any more */
    if (reconcile->returned)
        return step_outcome(reconcile);
    return step_started(catalog_withdraw(reconcile->options->catalog, reconcile->source,
                                         reconcile_completed, reconcile, &reconcile->operation));
}

struct step phase_list_stored(struct reconcile *reconcile)
{
    if (!reconcile->source->deleting)
        return step_next();
    return reconcile->returned ? step_outcome(reconcile) : stored_list(reconcile);
}

struct step phase_remove_stored(struct reconcile *reconcile)
{
    if (reconcile->error)
        return step_outcome(reconcile);
    if (!reconcile->source->deleting || reconcile->cursor == reconcile->key_count)
        return step_next();
    return stored_remove_next(reconcile);
}

static void released(void *context, struct error *error, const char *resource_version)
{
    (void)resource_version;
    reconcile_resume(context, error);
}

struct step phase_release(struct reconcile *reconcile)
{
    if (!reconcile->source->deleting)
        return step_next();
    if (!reconcile->returned)
        return step_started(catalog_patch_finalizer(reconcile->options->catalog, reconcile->source,
                                                    false, released, reconcile,
                                                    &reconcile->operation));
    if (reconcile->error)
        return step_outcome(reconcile);
    log_info(reconcile->options->log, &reconcile->subject, "source deleted", NULL);
    reconcile->released = true;
    return step_done();
}
