/*
 * The outcome of an attempt, in the status: the one place where it is decided what a success or a
 * failure means for conditions, the observed generation, the next try and events. What says nothing
 * new is not written.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "reconcile/phase.h"
#include "source/condition.h"

/* Replaces *field unless there is no `value`. */
static struct error *copy_text(const char *value, char **field)
{
    if (!value)
        return NULL;
    free(*field);
    *field = strdup(value);
    return *field ? NULL : error_out_of_memory();
}

/* The attempt answers the request that it began with, also when it failed. */
static struct error *handle_requests(struct reconcile *reconcile)
{
    struct source_status *status = reconcile->status;
    const struct source *source = reconcile->source;
    struct error *error = copy_text(json_get_string(source->annotations, ANNOTATION_REQUESTED_AT),
                                    &status->last_handled_reconcile_at);

    if (!error)
        error = copy_text(json_get_string(source->annotations, ANNOTATION_FORCE_AT),
                          &status->last_handled_force_at);
    if (!error)
        error =
            copy_text(source->artifact_requested_at, &status->last_handled_artifact_reconcile_at);
    return error;
}

static void set_condition(struct reconcile *reconcile, const char *type,
                          enum condition_status status, const char *reason, const char *message,
                          struct error **error)
{
    if (!*error)
        condition_set(&reconcile->status->conditions, type, status, reason, message,
                      reconcile->source->generation, clock_wall_ms(reconcile->options->clock),
                      error);
}

static void remove_progress(struct condition_list *list)
{
    condition_remove(list, CONDITION_FETCHING);
    condition_remove(list, CONDITION_EXECUTING_HOOKS);
    condition_remove(list, CONDITION_STORING);
}

static void clear_retry(struct source_status *status)
{
    status->retry_count = 0;
    status->retry_not_before_ms = 0;
    free(TAKE(status->retry_inputs_digest));
}

static struct error *conclude_success(struct reconcile *reconcile)
{
    struct source_status *status = reconcile->status;
    _cleanup_(free) char *message =
        format_string("stored artifact for revision '%s'", status->artifact->revision);
    struct error *error = message ? NULL : error_out_of_memory();

    remove_progress(&status->conditions);
    condition_remove(&status->conditions, CONDITION_RECONCILING);
    condition_remove(&status->conditions, CONDITION_STALLED);
    set_condition(reconcile, CONDITION_READY, CONDITION_TRUE, "Succeeded", message, &error);
    status->observed_generation = reconcile->source->generation;
    clear_retry(status);
    return error;
}

/* Conditions' messages are cut at the end; what is served must not be what is cut. */
static char *failure_message(const struct reconcile *reconcile)
{
    const struct artifact_record *artifact = reconcile->status->artifact;
    const char *message = reconcile->failure->message;
    char since[TIME_TEXT_SIZE];

    if (!artifact || !artifact->revision)
        return strdup(message);
    time_format(artifact->last_update_ms, since);
    _cleanup_(free) char *serving =
        format_string("; serving %s since %s", artifact->revision, since);
    if (!serving)
        return NULL;
    size_t room =
        CONDITION_MESSAGE_MAX > strlen(serving) ? CONDITION_MESSAGE_MAX - strlen(serving) : 0;
    size_t length = strlen(message);
    if (length > room) {
        length = room;
        while (length > 0 && ((unsigned char)message[length] & 0xc0) == 0x80)
            length--;
    }
    return format_string("%.*s%s", (int)length, message, serving);
}

/* What must be otherwise for another attempt to make sense before its time. */
static struct error *note_inputs(struct reconcile *reconcile)
{
    char hex[SHA256_HEX_SIZE];
    struct error *error = attempt_digest(reconcile, hex);

    return error || !hex[0] ? error : copy_text(hex, &reconcile->status->retry_inputs_digest);
}

static struct error *conclude_failure(struct reconcile *reconcile)
{
    struct source_status *status = reconcile->status;
    const struct error *failure = reconcile->failure;
    bool stalled = failure->kind == ERROR_CONFIGURATION;
    unsigned attempts = status->retry_count + 1;
    _cleanup_(free) char *message = failure_message(reconcile);
    struct error *error = message ? NULL : error_out_of_memory();

    remove_progress(&status->conditions);
    clear_retry(status);
    if (!error)
        error = note_inputs(reconcile);
    set_condition(reconcile, CONDITION_READY, CONDITION_FALSE, failure->reason, message, &error);
    if (stalled) {
        condition_remove(&status->conditions, CONDITION_RECONCILING);
        set_condition(reconcile, CONDITION_STALLED, CONDITION_TRUE, failure->reason,
                      failure->message, &error);
        status->observed_generation = reconcile->source->generation;
        return error;
    }
    condition_remove(&status->conditions, CONDITION_STALLED);
    set_condition(reconcile, CONDITION_RECONCILING, CONDITION_TRUE, "ProgressingWithRetry",
                  failure->message, &error);
    status->retry_count = attempts;
    status->retry_not_before_ms =
        schedule_retry(&reconcile->options->backoff, failure, reconcile->source->spec, attempts,
                       clock_wall_ms(reconcile->options->clock));
    return error;
}

static bool same_outcome(const struct condition *before, const struct condition *after)
{
    return before && after && before->status == after->status &&
           strcmp(before->reason, after->reason) == 0 &&
           strcmp(before->message, after->message) == 0;
}

/* With the last lines that a failed hook logged: for whoever wrote it.
 *
 * Flux's notification-controller drops what it was told within five minutes, by its text: that an
 * artifact is served again must not read as that it was new. */
static char *event_message(const struct reconcile *reconcile, const struct condition *before,
                           const struct condition *after)
{
    if (reconcile->failure && reconcile->failure_log)
        return format_string("%s\n%s", after->message, reconcile->failure_log);
    if (reconcile->failure || reconcile->packed || !before || before->status != CONDITION_FALSE)
        return strdup(after->message);
    return format_string("recovered; %s", after->message);
}

/* An event for what is new: an artifact, a failure that was not there before, a recovery. */
static void tell_event(struct reconcile *reconcile)
{
    const struct source_status *status = reconcile->status;
    const struct condition *before =
        condition_find(&reconcile->source->status->conditions, CONDITION_READY);
    const struct condition *after = condition_find(&status->conditions, CONDITION_READY);
    _cleanup_(free) char *message = event_message(reconcile, before, after);
    struct catalog_event event = {
        .severity = reconcile->failure ? CATALOG_WARNING : CATALOG_NORMAL,
        .reason = after->reason,
        .message = message ? message : after->message,
        .revision = status->artifact ? status->artifact->revision : NULL,
    };

    if (same_outcome(before, after))
        return;
    if (!reconcile->failure && reconcile->packed)
        event.reason = "NewArtifact";
    catalog_event(reconcile->options->catalog, reconcile->source, &event);
}

static void record_metrics(const struct reconcile *reconcile)
{
    struct metrics *metrics = reconcile->options->metrics;
    const struct source_spec *spec = reconcile->source->spec;
    const char *object[] = {reconcile->namespace_name, reconcile->name,
                            spec ? spec->generator_type : "unknown",
                            reconcile->failure ? "false" : "true"};
    const char *gotk[] = {SOURCE_KIND, reconcile->name, reconcile->namespace_name};
    double seconds =
        (double)(clock_monotonic_ms(reconcile->options->clock) - reconcile->started_ms) / 1000.0;

    metrics_add(metrics, &metric_reconciliation_total, object, 1);
    metrics_observe(metrics, &metric_reconciliation_duration_seconds, object, seconds);
    metrics_observe(metrics, &metric_gotk_reconcile_duration_seconds, gotk, seconds);
    if (!reconcile->failure)
        metrics_set(metrics, &metric_last_success_timestamp_seconds, object,
                    (double)clock_wall_ms(reconcile->options->clock) / 1000.0);
}

static struct error *conclude(struct reconcile *reconcile)
{
    if (reconcile->repair)
        return NULL; /* the last outcome stands */
    struct error *error =
        reconcile->failure ? conclude_failure(reconcile) : conclude_success(reconcile);

    return error ? error : handle_requests(reconcile);
}

/* Told once the status stands, so that a conflict, after which all is done again, tells nothing
 * twice. */
static void tell(struct reconcile *reconcile)
{
    if (reconcile->repair) {
        log_info(reconcile->options->log, &reconcile->subject, "the ExternalArtifact was put right",
                 "revision", reconcile->status->artifact->revision, NULL);
        return;
    }
    if (reconcile->failure)
        log_error(reconcile->options->log, &reconcile->subject, reconcile->failure,
                  "reconciliation failed", NULL);
    else
        log_info(reconcile->options->log, &reconcile->subject, "reconciliation succeeded",
                 "revision", reconcile->status->artifact->revision, "upstream",
                 reconcile->not_modified ? "not modified" : "fetched", NULL);
    record_metrics(reconcile);
    tell_event(reconcile);
}

static bool says_something_new(const struct reconcile *reconcile)
{
    _cleanup_(json) json_t *before = source_status_to_json(reconcile->source->status);
    _cleanup_(json) json_t *after = source_status_to_json(reconcile->status);

    return reconcile->progress_written || !before || !after || !json_equal(before, after);
}

static void reported(void *context, struct error *error, const char *resource_version)
{
    (void)resource_version;
    reconcile_resume(context, error);
}

/* What comes after the report: collection if something new is current, or again what was before a
 * process was killed, else the end. */
static struct step after_report(struct reconcile *reconcile)
{
    int64_t now = clock_wall_ms(reconcile->options->clock);
    int64_t next = schedule_next(reconcile->source, reconcile->status, now);

    tell(reconcile);
    reconcile->reported = true;
    reconcile->requeue_ms = next > now ? next - now : 0;
    return !reconcile->failure && (reconcile->packed || reconcile->repair) ? step_next()
                                                                           : step_done();
}

struct step phase_report_status(struct reconcile *reconcile)
{
    struct error *error = TAKE(reconcile->error);

    if (error)
        return step_failed(error);
    if (reconcile->returned && !reconcile->awaits_progress)
        return after_report(reconcile);
    reconcile->awaits_progress = reconcile->progress_write != NULL;
    if (reconcile->awaits_progress)
        return step_started(NULL);

    error = conclude(reconcile);
    if (error)
        return step_failed(error);
    if (!says_something_new(reconcile))
        return after_report(reconcile);
    return step_started(catalog_patch_status(reconcile->options->catalog, reconcile->source,
                                             reconcile->resource_version, reconcile->status,
                                             reported, reconcile, &reconcile->operation));
}
