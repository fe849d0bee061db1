/*
 * One reconcile: the walk down the table of phases. This file knows how steps follow each other,
 * and nothing of what they do.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buffer.h"
#include "reconcile/phase.h"

#define CONFLICT_RETRY_MS 100
#define UNREPORTED_RETRY_MS 5000 /* and as much again by chance */

/* A random UUID (RFC 9562, version 4), as Flux's controllers log it. */
static void make_id(char id[RECONCILE_ID_SIZE])
{
    unsigned char bytes[16] = {0};

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        memset(bytes, 0, sizeof(bytes)); /* an id is for reading logs; a poor one does no harm */
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    for (size_t i = 0, at = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            id[at++] = '-';
        at += (size_t)snprintf(id + at, 3, "%02x", bytes[i]);
    }
}

struct reconcile *reconcile_new(const struct reconciler_options *options,
                                const char *namespace_name, const char *name, bool due,
                                void (*ended)(void *context, struct reconcile *reconcile),
                                void *context)
{
    struct reconcile *reconcile = calloc(1, sizeof(*reconcile));

    if (!reconcile)
        return NULL;
    reconcile->options = options;
    reconcile->ended = ended;
    reconcile->context = context;
    reconcile->namespace_name = strdup(namespace_name);
    reconcile->name = strdup(name);
    reconcile->progress_timer = calloc(1, sizeof(uv_timer_t));
    if (!reconcile->namespace_name || !reconcile->name || !reconcile->progress_timer) {
        free(TAKE(reconcile->progress_timer));
        reconcile_free(reconcile);
        return NULL;
    }
    uv_timer_init(options->loop, reconcile->progress_timer);
    reconcile->progress_timer->data = reconcile;
    make_id(reconcile->id);
    reconcile->subject =
        (struct log_subject){reconcile->namespace_name, reconcile->name, reconcile->id};
    reconcile->due = due;
    reconcile->started_ms = clock_monotonic_ms(options->clock);
    reconcile->requeue_ms = -1;
    return reconcile;
}

static void timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void reconcile_free(struct reconcile *reconcile)
{
    operation_cancel(&reconcile->operation);
    operation_cancel(&reconcile->progress_write);
    if (reconcile->progress_timer)
        uv_close((uv_handle_t *)reconcile->progress_timer, timer_closed);
    if (reconcile->source)
        source_unref(reconcile->source);
    source_status_free(reconcile->status);
    artifact_record_free(reconcile->record);
    error_free(reconcile->error);
    error_free(reconcile->failure);
    error_free(reconcile->unreported);
    payload_free(reconcile->payload);
    if (reconcile->packed)
        blob_unref(reconcile->packed);
    sha256_free(reconcile->inputs);
    json_decref(reconcile->objects);
    json_decref(reconcile->metadata);
    stored_forget(reconcile);
    free(reconcile->previous_path);
    free(reconcile->failure_log);
    free(reconcile->token);
    free(reconcile->revision_label);
    free(reconcile->resource_version);
    free(reconcile->namespace_name);
    free(reconcile->name);
    free(reconcile);
}

struct error *reconcile_fence(const struct reconcile *reconcile)
{
    const struct reconciler_options *options = reconcile->options;

    if (!options->may_write || options->may_write(options->context))
        return NULL;
    return error_new(ERROR_INTERNAL, "NotLeader", "this replica does not hold the lease any more");
}

double reconcile_phase_seconds(const struct reconcile *reconcile)
{
    int64_t now = clock_monotonic_ms(reconcile->options->clock);

    return (double)(now - reconcile->phase_started_ms) / 1000.0;
}

static void enter(struct reconcile *reconcile, size_t phase)
{
    progress_end(reconcile);
    reconcile->phase = phase;
    reconcile->phase_started_ms = clock_monotonic_ms(reconcile->options->clock);
    reconcile->returned = false;
    reconcile->cursor = 0;
}

/* The catalog is away for all sources at once; they must not all come back at once. */
static int64_t unreported_retry_ms(const struct reconciler_options *options)
{
    uint64_t draw = options->backoff.random(options->backoff.random_context);

    return UNREPORTED_RETRY_MS + (int64_t)(draw % UNREPORTED_RETRY_MS);
}

static bool reportable(const struct reconcile *reconcile, const struct error *error)
{
    if (!reconcile->status || reconcile->repair || reconcile->phase >= phase_report)
        return false;
    return error->kind != ERROR_TRANSIENT || !phases[reconcile->phase].of_catalog;
}

/* Puts the place of the field at fault before the message, where manifests have places. */
static struct error *name_place(const struct reconcile *reconcile, struct error *error)
{
    if (!error->field || !reconcile->source)
        return error;
    _cleanup_(free) char *place =
        catalog_locate(reconcile->options->catalog, reconcile->source, error->field, false);
    return place ? error_wrap(error, "%s", place) : error;
}

/* A failure before the report is reported; one of the report itself can only be logged and tried
 * again. */
static bool take_failure(struct reconcile *reconcile, struct error *error)
{
    if (error->kind == ERROR_CONFLICT) {
        log_debug(reconcile->options->log, &reconcile->subject,
                  "the object changed meanwhile; reconciling again", "error", error->message, NULL);
        error_free(error);
        reconcile->conflict = true;
        reconcile->requeue_ms = CONFLICT_RETRY_MS;
        return false;
    }
    if (!reportable(reconcile, error)) {
        log_error(reconcile->options->log, &reconcile->subject, error,
                  "the catalog failed; trying again", "phase", phases[reconcile->phase].name, NULL);
        reconcile->unreported = error;
        reconcile->requeue_ms = unreported_retry_ms(reconcile->options);
        return false;
    }
    reconcile->failure = name_place(reconcile, error);
    return true;
}

static void advance(struct reconcile *reconcile)
{
    for (;;) {
        const struct phase *phase = &phases[reconcile->phase];
        struct step step = phase->step(reconcile);

        reconcile->returned = false;
        if (step.kind == STEP_WAIT) {
            if (phase->condition)
                progress_begin(reconcile);
            return;
        }
        if (step.kind == STEP_FAILED && take_failure(reconcile, step.error)) {
            enter(reconcile, phase_report);
            continue;
        }
        if (step.kind == STEP_REPORT) {
            enter(reconcile, phase_report);
            continue;
        }
        if (step.kind == STEP_NEXT && reconcile->phase + 1 < phase_count) {
            enter(reconcile, reconcile->phase + 1);
            continue;
        }
        progress_end(reconcile);
        reconcile->ended(reconcile->context, reconcile);
        return;
    }
}

void reconcile_enter(struct reconcile *reconcile)
{
    enter(reconcile, 0);
    advance(reconcile);
}

void reconcile_resume(struct reconcile *reconcile, struct error *error)
{
    reconcile->operation = NULL;
    reconcile->error = error;
    reconcile->returned = true;
    advance(reconcile);
}

void reconcile_completed(void *context, struct error *error)
{
    reconcile_resume(context, error);
}
