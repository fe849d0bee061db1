/* The phases that decide whether there is anything to do for a source that is not being deleted. */
#include <string.h>

#include "hook/chain.h"
#include "reconcile/phase.h"

/* A suspended source keeps its last Ready: that is not a failure. */
struct step phase_suspend(struct reconcile *reconcile)
{
    const struct source_spec *spec = reconcile->source->spec;

    if (!spec || !spec->suspend)
        return step_next();
    log_debug(reconcile->options->log, &reconcile->subject, "source is suspended", NULL);
    return step_done();
}

static void finalized(void *context, struct error *error, const char *resource_version)
{
    struct reconcile *reconcile = context;

    if (!error) {
        free(reconcile->resource_version);
        reconcile->resource_version = strdup(resource_version);
        if (!reconcile->resource_version)
            error = error_out_of_memory();
    }
    reconcile_resume(reconcile, error);
}

/* Our finalizer comes before anything of ours exists, so that nothing of ours outlives the source.
 */
struct step phase_finalize(struct reconcile *reconcile)
{
    if (reconcile->source->has_finalizer)
        return step_next();
    if (reconcile->returned)
        return step_outcome(reconcile);
    return step_started(catalog_patch_finalizer(reconcile->options->catalog, reconcile->source,
                                                true, finalized, reconcile, &reconcile->operation));
}

/* Before the first fetch, so that a Receiver finds it; and a name that is taken costs no request.
 */
struct step phase_declare(struct reconcile *reconcile)
{
    if (reconcile->returned)
        return step_outcome(reconcile);
    return step_started(catalog_declare(reconcile->options->catalog, reconcile->source,
                                        reconcile_completed, reconcile, &reconcile->operation));
}

struct step phase_validate(struct reconcile *reconcile)
{
    if (reconcile->source->fault)
        return step_failed(error_copy(reconcile->source->fault));

    struct error *error = hook_chain_check(reconcile->source->spec);
    return error ? step_failed(error) : step_next();
}
