/*
 * What a reflector does next: list, watch, or wait, and how long. See reflector.h.
 *
 * There is at any time one thing: a page or a watch in flight, or a wait. Every end of one comes to
 * reflector_go, reflector_fail or reflector_start_over, which begin the next; so nothing can stop
 * for good, and nothing can spin.
 */
#include "kube/reflector.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "kube/reflector_state.h"

#define WAIT_MIN_MS 1000
#define WAIT_MAX_MS 30000
#define COMPLAIN_AGAIN_MS 60000

void reflector_escape(struct buffer *buffer, const char *text)
{
    for (; *text; text++) {
        if (isalnum((unsigned char)*text) || strchr("-._~", *text))
            buffer_append_byte(buffer, *text);
        else
            buffer_appendf(buffer, "%%%02X", (unsigned char)*text);
    }
}

static void on_sweep(uv_prepare_t *handle)
{
    struct reflector *reflector = handle->data;

    uv_prepare_stop(handle);
    reflector_store_sweep(&reflector->store);
}

void reflector_sweep_soon(struct reflector *reflector)
{
    if (reflector->store.replaced)
        uv_prepare_start(&reflector->sweep, on_sweep);
}

/* Logs a failure (takes `error`), unless it is one that lasts and was logged a short while ago. */
static void complain(struct reflector *reflector, struct error *error)
{
    int64_t now = clock_monotonic_ms(reflector->options.clock);
    bool same = reflector->complaint && strcmp(reflector->complaint->message, error->message) == 0;

    if (same && now - reflector->complaint_ms < COMPLAIN_AGAIN_MS) {
        error_free(error);
        return;
    }
    log_error(reflector->options.log, NULL, error,
              "cannot follow a collection of the API, will go on trying", "collection",
              reflector->path, NULL);
    error_free(reflector->complaint);
    reflector->complaint = error;
    reflector->complaint_ms = now;
}

void reflector_recovered(struct reflector *reflector)
{
    reflector->failures = 0;
    if (!reflector->complaint)
        return;
    log_info(reflector->options.log, NULL, "following the collection again", "collection",
             reflector->path, NULL);
    error_free(TAKE(reflector->complaint));
}

/* Full jitter, so that those who lost the same server do not come back together. */
static uint64_t wait_ms(const struct reflector *reflector, int64_t at_least_ms)
{
    const struct reflector_options *options = &reflector->options;
    unsigned doublings = reflector->failures > 0 ? reflector->failures - 1 : 0;
    uint64_t ceiling = WAIT_MIN_MS;

    while (doublings-- > 0 && ceiling < WAIT_MAX_MS)
        ceiling *= 2;
    if (ceiling > WAIT_MAX_MS)
        ceiling = WAIT_MAX_MS;
    uint64_t draw = options->random(options->random_context) % ceiling + 1;
    return (at_least_ms > 0 ? (uint64_t)at_least_ms : 0) + draw;
}

static void on_wait_over(uv_timer_t *timer)
{
    struct reflector *reflector = timer->data;

    reflector_go(reflector, reflector->step);
}

void reflector_fail(struct reflector *reflector, enum reflector_step step, struct error *error)
{
    int64_t at_least = error->retry_after_ms;

    if (step == REFLECTOR_LIST || reflector->failures > 0) {
        complain(reflector, error);
    } else { /* connections break; what lasts is worth a complaint */
        log_info(reflector->options.log, NULL, "watch broke off, taking it up again", "collection",
                 reflector->path, "because", error->message, NULL);
        error_free(error);
    }
    reflector->step = step;
    reflector->failures++;
    uv_timer_start(&reflector->timer, on_wait_over, wait_ms(reflector, at_least), 0);
}

void reflector_go(struct reflector *reflector, enum reflector_step step)
{
    struct error *error =
        step == REFLECTOR_LIST ? reflector_list_begin(reflector) : reflector_watch_begin(reflector);

    if (error)
        reflector_fail(reflector, step, error);
}

void reflector_start_over(struct reflector *reflector, struct error *error)
{
    if (reflector->failures > 0) {
        reflector_fail(reflector, REFLECTOR_LIST, error);
        return;
    }
    log_info(reflector->options.log, NULL, "listing the collection again", "collection",
             reflector->path, "because", error->message, NULL);
    error_free(error);
    reflector->failures++; /* until something was heard, the next is to wait */
    reflector_go(reflector, REFLECTOR_LIST);
}

/* "&labelSelector=…", or "" where there is none. */
static char *selector_query(const char *selector)
{
    _cleanup_(buffer) struct buffer query = BUFFER_INIT;

    if (selector && *selector) {
        buffer_append_string(&query, "&labelSelector=");
        reflector_escape(&query, selector);
    }
    return buffer_steal(&query);
}

/* Frees what has no handle on the loop. */
static void free_state(struct reflector *reflector)
{
    reflector_store_free(&reflector->store);
    error_free(reflector->complaint);
    free(reflector->path);
    free(reflector->selector);
    free(reflector);
}

struct reflector *reflector_new(const struct reflector_options *options,
                                const struct reflector_listener *listener)
{
    struct reflector *reflector = calloc(1, sizeof(*reflector));

    if (!reflector)
        return NULL;
    reflector->options = *options;
    reflector->options.namespace_name = NULL;
    reflector->options.label_selector = NULL;
    reflector->options.resource = (struct kube_resource){NULL, NULL};
    if (reflector->options.silence_ms <= 0)
        reflector->options.silence_ms = REFLECTOR_SILENCE_MS;
    reflector->path = kube_path(&options->resource, options->namespace_name, NULL, NULL);
    reflector->selector = selector_query(options->label_selector);
    struct error *error = reflector_store_init(&reflector->store, listener, options->metadata_only);
    if (error || !reflector->path || !reflector->selector) {
        error_free(error);
        free_state(reflector);
        return NULL;
    }
    uv_timer_init(options->loop, &reflector->timer);
    uv_prepare_init(options->loop, &reflector->sweep);
    reflector->timer.data = reflector;
    reflector->sweep.data = reflector;
    reflector->handles = 2;
    return reflector;
}

struct error *reflector_start(struct reflector *reflector)
{
    return reflector_list_begin(reflector);
}

static void handle_closed(uv_handle_t *handle)
{
    struct reflector *reflector = handle->data;

    if (--reflector->handles == 0)
        free_state(reflector);
}

void reflector_free(struct reflector *reflector)
{
    if (!reflector)
        return;
    operation_cancel(&reflector->operation);
    uv_close((uv_handle_t *)&reflector->timer, handle_closed);
    uv_close((uv_handle_t *)&reflector->sweep, handle_closed);
}

bool reflector_synced(const struct reflector *reflector)
{
    return reflector->synced;
}

size_t reflector_count(const struct reflector *reflector)
{
    return reflector->store.table.count;
}

const struct reflector_object *reflector_find(const struct reflector *reflector,
                                              const char *namespace_name, const char *name)
{
    const struct held *held = held_table_find(&reflector->store.table, namespace_name, name);

    return held ? &held->object : NULL;
}

struct error *reflector_put(struct reflector *reflector, const json_t *object)
{
    struct error *error = reflector_store_put(&reflector->store, object);

    reflector_sweep_soon(reflector);
    return error;
}

void reflector_drop(struct reflector *reflector, const char *namespace_name, const char *name,
                    const char *uid)
{
    reflector_store_drop(&reflector->store, namespace_name, name, uid);
    reflector_sweep_soon(reflector);
}

void reflector_each(const struct reflector *reflector,
                    void (*visit)(void *context, const struct reflector_object *object),
                    void *context)
{
    const struct held_table *table = &reflector->store.table;

    for (size_t i = 0; i <= table->mask; i++) {
        for (const struct held *held = table->buckets[i]; held; held = held->next)
            visit(context, &held->object);
    }
}
