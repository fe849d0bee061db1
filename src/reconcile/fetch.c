/* Asks upstream, through the generator of the source's type. */
#include <string.h>

#include "base/json.h"
#include "reconcile/phase.h"

/* The token of the published artifact, if upstream's "not modified" may be trusted. */
static const char *trusted_token(const struct reconcile *reconcile)
{
    const struct source_status *status = reconcile->status;
    const json_t *annotations = reconcile->source->annotations;
    const char *force = json_get_string(annotations, ANNOTATION_FORCE_AT);
    const char *requested = json_get_string(annotations, ANNOTATION_REQUESTED_AT);
    bool forced =
        force && requested && strcmp(force, requested) == 0 &&
        (!status->last_handled_force_at || strcmp(force, status->last_handled_force_at) != 0);

    if (forced || !reconcile->intact || !status->inputs_digest ||
        strcmp(status->inputs_digest, reconcile->inputs_hex) != 0)
        return NULL;
    return status->last_handled_etag;
}

static struct error *take_result(struct reconcile *reconcile, struct generator_result *result)
{
    reconcile->not_modified = result->not_modified;
    if (result->not_modified)
        return NULL;
    reconcile->payload = TAKE(result->data);
    reconcile->metadata = result->metadata ? json_deep_copy(result->metadata) : json_object();
    reconcile->token = result->token ? strdup(result->token) : NULL;
    reconcile->revision_label = strdup(result->revision_label ? result->revision_label : "latest");
    if (!reconcile->metadata || !reconcile->revision_label || (result->token && !reconcile->token))
        return error_out_of_memory();
    return NULL;
}

static void count_request(const struct reconcile *reconcile, bool success)
{
    const char *labels[] = {reconcile->source->spec->generator_type, success ? "true" : "false"};

    metrics_add(reconcile->options->metrics, &metric_source_request_total, labels, 1);
    metrics_observe(reconcile->options->metrics, &metric_source_request_duration_seconds, labels,
                    reconcile_phase_seconds(reconcile));
}

static void generated(void *context, struct error *error, struct generator_result *result)
{
    struct reconcile *reconcile = context;

    if (!error)
        error = take_result(reconcile, result);
    count_request(reconcile, !error);
    reconcile_resume(reconcile, error);
}

struct step phase_fetch(struct reconcile *reconcile)
{
    if (reconcile->repair)
        return step_next();
    if (reconcile->returned)
        return step_outcome(reconcile);

    struct generator_call call = {
        .source = reconcile->source,
        .token = trusted_token(reconcile),
        .timeout_ms = reconcile->source->spec->timeout_ms,
    };
    return step_started(
        lua_generate(reconcile->options->lua, &call, generated, reconcile, &reconcile->operation));
}
