/* The two phases in which hooks run. */
#include <string.h>

#include "hook/chain.h"
#include "reconcile/phase.h"

/* Pre-request hooks are commands, which phase_validate has refused as long as there is no hook
 * executor to run them: a source that comes here has none. */
struct step phase_pre_request(struct reconcile *reconcile)
{
    (void)reconcile;
    return step_next();
}

static void hooks_done(void *context, struct error *error, struct payload *output, json_t *metadata,
                       const char *log)
{
    struct reconcile *reconcile = context;

    if (!error) {
        json_incref(metadata);
        json_decref(reconcile->metadata);
        reconcile->metadata = metadata;
        reconcile->payload = output;
    }
    if (error && *log)
        reconcile->failure_log = strdup(log); /* without memory, without it */
    reconcile_resume(reconcile, error);
}

struct step phase_post_request(struct reconcile *reconcile)
{
    const struct reconciler_options *options = reconcile->options;
    const struct source_spec *spec = reconcile->source->spec;

    if (reconcile->not_modified || spec->post_request.count == 0)
        return step_next();
    if (reconcile->returned)
        return step_outcome(reconcile);

    struct hook_chain_call call = {
        .transformer = lua_runtime_transformer(options->lua),
        .catalog = options->catalog,
        .log = options->log,
        .subject = &reconcile->subject,
        .clock = options->clock,
        .metrics = options->metrics,
        .hooks = &spec->post_request,
        .source = reconcile->source,
        .input = TAKE(reconcile->payload),
        .metadata = reconcile->metadata,
    };
    return step_started(hook_chain_run(&call, hooks_done, reconcile, &reconcile->operation));
}
