/*
 * The reconciler: listens to the catalog, keeps the queue, and runs a reconcile for each source
 * whose turn it is. See reconcile.h.
 */
#include "reconcile/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "reconcile/phase.h"
#include "reconcile/queue.h"

#define WAKE_SPREAD_MS 10 /* for each source */
#define WAKE_SPREAD_MAX_MS 60000

struct reconciler {
    struct reconciler_options options;
    struct queue *queue;
    struct reconcile *running; /* a doubly linked list */
    bool started;
    uv_timer_t *grace;
    uv_idle_t *idle;
    void (*stopped)(void *context);
    void *stopped_context;
};

static void handle_closed(uv_handle_t *handle)
{
    free(handle);
}

static void link_running(struct reconciler *reconciler, struct reconcile *reconcile)
{
    reconcile->next = reconciler->running;
    if (reconcile->next)
        reconcile->next->previous = reconcile;
    reconciler->running = reconcile;
}

static void unlink_running(struct reconciler *reconciler, struct reconcile *reconcile)
{
    if (reconcile->previous)
        reconcile->previous->next = reconcile->next;
    else
        reconciler->running = reconcile->next;
    if (reconcile->next)
        reconcile->next->previous = reconcile->previous;
}

static void tell_stopped(struct reconciler *reconciler)
{
    void (*stopped)(void *context) = reconciler->stopped;

    uv_timer_stop(reconciler->grace);
    reconciler->stopped = NULL;
    stopped(reconciler->stopped_context);
}

static void on_idle(uv_idle_t *idle)
{
    struct reconciler *reconciler = idle->data;

    uv_idle_stop(idle);
    if (reconciler->stopped)
        tell_stopped(reconciler);
    else if (reconciler->options.once && reconciler->options.idle)
        reconciler->options.idle(reconciler->options.context);
}

/* Whoever waits for the end is told on the loop's next turn, so that it may free what called it. */
static void tell_if_idle(struct reconciler *reconciler)
{
    bool finished =
        reconciler->options.once && reconciler->started && queue_length(reconciler->queue) == 0;

    if (!reconciler->running && (reconciler->stopped || finished))
        uv_idle_start(reconciler->idle, on_idle);
}

static void count_active(const struct reconcile *reconcile, double change)
{
    metrics_add(reconcile->options->metrics, &metric_active_reconciliations,
                (const char *[]){reconcile->namespace_name, reconcile->name}, change);
}

static void tell_outcome(const struct reconciler_options *options,
                         const struct reconcile *reconcile)
{
    if (reconcile->unreported && !reconcile->reported) {
        if (options->unreported)
            options->unreported(options->context, reconcile->namespace_name, reconcile->name,
                                reconcile->unreported);
    } else if (reconcile->source && reconcile->status && !reconcile->source->deleting &&
               options->reconciled) {
        options->reconciled(options->context, reconcile->source, reconcile->status);
    }
}

static void reconcile_ended(void *context, struct reconcile *reconcile)
{
    struct reconciler *reconciler = context;
    const struct reconciler_options *options = &reconciler->options;
    bool again = reconcile->conflict && !reconciler->stopped;

    unlink_running(reconciler, reconcile);
    count_active(reconcile, -1);
    if (reconcile->released) /* the last that is told of it */
        metrics_forget(options->metrics, reconcile->namespace_name, reconcile->name);
    if (options->once && !again)
        reconcile->requeue_ms = -1;
    if (!again)
        tell_outcome(options, reconcile);
    queue_done(reconciler->queue, reconcile->namespace_name, reconcile->name,
               reconcile->requeue_ms);
    reconcile_free(reconcile);
    tell_if_idle(reconciler);
}

static void run(void *context, const char *namespace_name, const char *name, bool due)
{
    struct reconciler *reconciler = context;
    struct reconcile *reconcile =
        reconcile_new(&reconciler->options, namespace_name, name, due, reconcile_ended, reconciler);

    if (!reconcile) {
        log_error(reconciler->options.log, &(struct log_subject){namespace_name, name, NULL}, NULL,
                  "out of memory; trying again", NULL);
        queue_done(reconciler->queue, namespace_name, name, reconciler->options.backoff.base_ms);
        return;
    }
    link_running(reconciler, reconcile);
    count_active(reconcile, 1);
    reconcile_enter(reconcile);
}

static void enqueue(struct reconciler *reconciler, const char *namespace_name, const char *name)
{
    struct error *error = queue_add(reconciler->queue, namespace_name, name, 0);

    if (error)
        log_error(reconciler->options.log, &(struct log_subject){namespace_name, name, NULL}, error,
                  "source cannot be queued", NULL);
    error_free(error);
}

/* Whatever runs for a source that is being deleted has lost its purpose. */
static void cancel_purposeless(struct reconciler *reconciler, const char *namespace_name,
                               const char *name)
{
    struct reconcile *reconcile = reconciler->running;

    while (reconcile && (strcmp(reconcile->namespace_name, namespace_name) != 0 ||
                         strcmp(reconcile->name, name) != 0))
        reconcile = reconcile->next;
    if (!reconcile || (reconcile->source && reconcile->source->deleting))
        return;
    unlink_running(reconciler, reconcile);
    count_active(reconcile, -1);
    queue_done(reconciler->queue, namespace_name, name, 0);
    reconcile_free(reconcile);
}

void reconciler_source_changed(void *context, const char *namespace_name, const char *name,
                               bool deleting)
{
    struct reconciler *reconciler = context;

    if (reconciler->options.once && reconciler->started)
        return; /* each once: what changes now is the next run's */
    if (deleting)
        cancel_purposeless(reconciler, namespace_name, name);
    enqueue(reconciler, namespace_name, name);
}

void reconciler_source_gone(void *context, const char *namespace_name, const char *name)
{
    struct reconciler *reconciler = context;

    if (!reconciler->options.once)
        queue_forget(reconciler->queue, namespace_name, name);
}

static void free_handle(void *handle)
{
    if (handle)
        uv_close(handle, handle_closed);
}

struct reconciler *reconciler_new(const struct reconciler_options *options)
{
    struct reconciler *reconciler = calloc(1, sizeof(*reconciler));

    if (!reconciler)
        return NULL;
    reconciler->options = *options;
    reconciler->queue =
        queue_new(options->loop, options->clock, options->concurrency, run, reconciler);
    reconciler->grace = calloc(1, sizeof(uv_timer_t));
    reconciler->idle = calloc(1, sizeof(uv_idle_t));
    if (!reconciler->queue || !reconciler->grace || !reconciler->idle) {
        queue_free(reconciler->queue);
        free(reconciler->grace);
        free(reconciler->idle);
        free(reconciler);
        return NULL;
    }
    queue_stop(reconciler->queue); /* until the start */
    uv_timer_init(options->loop, reconciler->grace);
    uv_idle_init(options->loop, reconciler->idle);
    reconciler->grace->data = reconciler;
    reconciler->idle->data = reconciler;
    return reconciler;
}

void reconciler_start(struct reconciler *reconciler)
{
    reconciler->started = true;
    queue_resume(reconciler->queue);
    tell_if_idle(reconciler);
}

void reconciler_wake_all(struct reconciler *reconciler)
{
    const struct backoff *backoff = &reconciler->options.backoff;
    int64_t spread = (int64_t)queue_length(reconciler->queue) * WAKE_SPREAD_MS;

    queue_wake_all(reconciler->queue, spread < WAKE_SPREAD_MAX_MS ? spread : WAKE_SPREAD_MAX_MS,
                   backoff->random, backoff->random_context);
}

static void cancel_running(struct reconciler *reconciler)
{
    while (reconciler->running) {
        struct reconcile *reconcile = reconciler->running;

        unlink_running(reconciler, reconcile);
        queue_done(reconciler->queue, reconcile->namespace_name, reconcile->name, -1);
        reconcile_free(reconcile);
    }
}

static void grace_over(uv_timer_t *timer)
{
    struct reconciler *reconciler = timer->data;

    cancel_running(reconciler);
    tell_stopped(reconciler);
}

struct error *reconciler_stop(struct reconciler *reconciler, int64_t grace_ms,
                              void (*stopped)(void *context), void *context)
{
    queue_stop(reconciler->queue);
    reconciler->stopped = stopped;
    reconciler->stopped_context = context;
    int failed = uv_timer_start(reconciler->grace, grace_over, (uint64_t)grace_ms, 0);
    if (failed)
        return error_new(ERROR_INTERNAL, "TimerFailed", "cannot wait for the end: %s",
                         uv_strerror(failed));
    tell_if_idle(reconciler);
    return NULL;
}

void reconciler_free(struct reconciler *reconciler)
{
    if (!reconciler)
        return;
    cancel_running(reconciler);
    queue_free(reconciler->queue);
    free_handle(reconciler->grace);
    free_handle(reconciler->idle);
    free(reconciler);
}
