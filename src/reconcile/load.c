/* Takes the snapshot on which the whole reconcile works. */
#include <string.h>

#include "reconcile/phase.h"

static void loaded(void *context, struct error *error, struct source *source)
{
    struct reconcile *reconcile = context;

    reconcile->source = source;
    reconcile_resume(reconcile, error);
}

struct step phase_load(struct reconcile *reconcile)
{
    if (!reconcile->returned)
        return step_started(catalog_get(reconcile->options->catalog, reconcile->namespace_name,
                                        reconcile->name, loaded, reconcile, &reconcile->operation));
    if (reconcile->error)
        return step_outcome(reconcile);
    if (!reconcile->source)
        return step_done(); /* it went away while it waited */

    reconcile->status = source_status_copy(reconcile->source->status);
    reconcile->resource_version = strdup(reconcile->source->resource_version);
    if (!reconcile->status || !reconcile->resource_version)
        return step_failed(error_out_of_memory());
    return step_next();
}
