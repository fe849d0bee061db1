/*
 * Progress conditions: a phase that outlasts half a second shows itself in the status, with
 * Reconciling beside it. Most phases are over before, and then nothing is written but the outcome.
 */
#include <stdlib.h>
#include <string.h>

#include "reconcile/phase.h"
#include "source/condition.h"

#define PROGRESS_AFTER_MS 500

static const char *const progress_types[] = {CONDITION_FETCHING, CONDITION_EXECUTING_HOOKS,
                                             CONDITION_STORING};

static struct error *show_phase(struct reconcile *reconcile, const struct phase *phase)
{
    struct condition_list *list = &reconcile->status->conditions;
    int64_t now = clock_wall_ms(reconcile->options->clock);
    int64_t generation = reconcile->source->generation;
    struct error *error = NULL;

    for (size_t i = 0; i < sizeof(progress_types) / sizeof(progress_types[0]); i++) {
        if (strcmp(progress_types[i], phase->condition) != 0)
            condition_remove(list, progress_types[i]);
    }
    condition_remove(list, CONDITION_STALLED);
    condition_set(list, phase->condition, CONDITION_TRUE, "Progressing", phase->message, generation,
                  now, &error);
    if (!error)
        condition_set(list, CONDITION_RECONCILING, CONDITION_TRUE, "Progressing", phase->message,
                      generation, now, &error);
    if (!error && !condition_find(list, CONDITION_READY))
        condition_set(list, CONDITION_READY, CONDITION_UNKNOWN, "Progressing", phase->message,
                      generation, now, &error);
    return error;
}

static void progress_wrote(void *context, struct error *error, const char *resource_version)
{
    struct reconcile *reconcile = context;
    char *version = error ? NULL : strdup(resource_version);

    reconcile->progress_write = NULL;
    if (version) {
        free(reconcile->resource_version);
        reconcile->resource_version = version;
    }
    /* A conflict shows again, and is dealt with, when the outcome is written. */
    error_free(error);
    if (reconcile->awaits_progress)
        reconcile_resume(reconcile, NULL);
}

static void on_progress_timer(uv_timer_t *timer)
{
    struct reconcile *reconcile = timer->data;
    const struct phase *phase = &phases[reconcile->phase];

    if (!phase->condition || reconcile->progress_write)
        return;
    struct error *error = show_phase(reconcile, phase);
    if (!error)
        error = catalog_patch_status(reconcile->options->catalog, reconcile->source,
                                     reconcile->resource_version, reconcile->status, progress_wrote,
                                     reconcile, &reconcile->progress_write);
    if (error)
        log_error(reconcile->options->log, &reconcile->subject, error,
                  "cannot show progress in the status", NULL);
    else
        reconcile->progress_written = true;
    error_free(error);
}

void progress_begin(struct reconcile *reconcile)
{
    uv_timer_start(reconcile->progress_timer, on_progress_timer, PROGRESS_AFTER_MS, 0);
}

void progress_end(struct reconcile *reconcile)
{
    uv_timer_stop(reconcile->progress_timer);
}
