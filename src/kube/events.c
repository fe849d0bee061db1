/*
 * The one idea: what waits to be written are series, not events. A repeat only counts up, so that a
 * flood of the same costs nothing; each series is in the queue at most once and has at most one
 * write in flight, and what is written is what is known when its turn comes.
 */
#include "kube/events.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "kube/event_series.h"
#include "kube/flush.h"

#define QUEUE_MAX 1000
#define IN_FLIGHT_MAX 4
#define SERIES_MAX 8192
#define BUDGETS_MAX 16384
#define SWEEP_MS 60000

TAILQ_HEAD(series_list, event_series);

struct events {
    struct events_options options; /* its strings are ours */
    struct recent *series;
    struct recent *budgets;
    struct series_list waiting;
    struct series_list in_flight;
    size_t waiting_count;
    size_t in_flight_count;
    uint64_t number; /* of names given */
    uv_timer_t sweep;
    int64_t swept_ms;
    struct flush flush;
    unsigned open_timers;
    bool freeing;

    uint64_t overflowed; /* events that nobody will read, since they were last logged */
    uint64_t over_budget;
    uint64_t refused;
    struct error *refusal; /* the last one */
};

static int64_t now_ms(const struct events *events)
{
    return clock_monotonic_ms(events->options.clock);
}

static struct event_origin origin_now(const struct events *events)
{
    return (struct event_origin){events->options.controller, events->options.instance,
                                 clock_wall_ms(events->options.clock)};
}

/* One line for all that was dropped. */
static void log_losses(struct events *events)
{
    char overflowed[24];
    char over_budget[24];
    char refused[24];

    if (events->overflowed + events->over_budget + events->refused == 0)
        return;
    snprintf(overflowed, sizeof(overflowed), "%" PRIu64, events->overflowed);
    snprintf(over_budget, sizeof(over_budget), "%" PRIu64, events->over_budget);
    snprintf(refused, sizeof(refused), "%" PRIu64, events->refused);
    log_error(events->options.log, NULL, events->refusal, "Kubernetes Events dropped", "overflowed",
              overflowed, "overBudget", over_budget, "refused", refused, NULL);
    events->overflowed = 0;
    events->over_budget = 0;
    events->refused = 0;
    error_free(TAKE(events->refusal));
}

static void wait_in_queue(struct event_series *series);

/* The map has no room for it any more, or no time. What it still has to say is written first. */
static void forget_series(struct recent_entry *entry)
{
    struct event_series *series = (struct event_series *)entry;

    series->forgotten = true;
    if (series->waiting || series->operation)
        return;
    if (series->count > series->written && !series->events->freeing)
        wait_in_queue(series);
    else
        event_series_free(series);
}

static void forget_budget(struct recent_entry *entry)
{
    free(entry);
}

static void leave_queue(struct event_series *series)
{
    TAILQ_REMOVE(&series->events->waiting, series, order);
    series->events->waiting_count--;
    series->waiting = false;
}

/* The series is over: out of the map, if it is still there, and freed. */
static void end_series(struct event_series *series)
{
    if (!series->forgotten)
        recent_remove(series->events->series, &series->recent);
    event_series_free(series);
}

/* A series that the API knows is not lost without a place in the queue, only late. */
static bool can_be_late(const struct event_series *series)
{
    return series->written > 0 && !series->forgotten;
}

/* The oldest gives way. */
static void make_room(struct events *events)
{
    struct event_series *oldest = TAILQ_FIRST(&events->waiting);

    leave_queue(oldest);
    if (can_be_late(oldest))
        return;
    events->overflowed++;
    end_series(oldest);
}

static void wait_in_queue(struct event_series *series)
{
    struct events *events = series->events;

    if (events->waiting_count >= QUEUE_MAX && can_be_late(series))
        return;
    if (events->waiting_count >= QUEUE_MAX)
        make_room(events);
    TAILQ_INSERT_TAIL(&events->waiting, series, order);
    events->waiting_count++;
    series->waiting = true;
}

static void wait_if_due(struct recent_entry *entry)
{
    struct event_series *series = (struct event_series *)entry;

    if (!series->waiting && !series->operation && event_series_due(series, now_ms(series->events)))
        wait_in_queue(series);
}

static void pump(struct events *events);

static void end_flush_if_idle(struct events *events)
{
    if (events->waiting_count == 0 && events->in_flight_count == 0)
        flush_done(&events->flush);
}

/* Takes `error`. A namespace that is going or gone needs no Events. */
static void refuse(struct events *events, struct error *error, const struct kube_response *response)
{
    bool gone =
        response && (response->reason == KUBE_TERMINATING || response->reason == KUBE_NOT_FOUND);

    if (!error && response)
        error = kube_response_error(response, "write an Event");
    if (gone) {
        error_free(error);
        return;
    }
    events->refused++;
    error_free(events->refusal);
    events->refusal = error;
}

/* What is left to do with a series after its write: nothing, once more, or to give it up. */
static void settle(struct event_series *series, bool known)
{
    bool dirty = series->count > series->written;

    if (!known || (series->forgotten && !dirty))
        end_series(series);
    else
        wait_if_due(&series->recent);
}

static void on_written(void *context, struct error *error, const struct kube_response *response)
{
    struct event_series *series = context;
    struct events *events = series->events;
    bool patched = series->written > 0;
    enum kube_reason reason = response ? response->reason : KUBE_OTHER;

    series->operation = NULL;
    TAILQ_REMOVE(&events->in_flight, series, order);
    events->in_flight_count--;
    if (reason == KUBE_OK || (reason == KUBE_ALREADY_EXISTS && !patched)) {
        /* A create that "already exists" is our own, whose answer was lost. */
        series->written = series->sending;
        series->written_ms = now_ms(events);
        settle(series, true);
    } else if (reason == KUBE_NOT_FOUND && patched) {
        series->written = 0; /* it has expired: begin anew */
        settle(series, true);
    } else {
        refuse(events, error, response);
        series->written_ms = now_ms(events);
        /* A patch that failed is due again with a later repeat, and not at once. */
        if (patched && !series->forgotten)
            series->written = series->written > 1 ? series->written : 2;
        settle(series, patched && !series->forgotten);
    }
    pump(events);
    end_flush_if_idle(events);
}

static struct error *send_series(struct event_series *series)
{
    struct events *events = series->events;
    const struct event_origin origin = origin_now(events);
    bool create = series->written == 0;

    if (create && !event_series_rename(series, &origin, ++events->number))
        return error_out_of_memory();
    _cleanup_(json) json_t *body =
        create ? event_series_object(series) : event_series_patch(series);
    _cleanup_(free) char *path =
        create ? strdup(series->path) : format_string("%s/%s", series->path, series->name);
    const struct kube_request request = {
        .method = create ? "POST" : "PATCH",
        .path = path,
        .content_type = create ? KUBE_JSON : KUBE_MERGE_PATCH,
        .body = body,
    };

    if (!body || !path)
        return error_out_of_memory();
    series->sending = series->count;
    return kube_client_send(events->options.client, &request, on_written, series,
                            &series->operation);
}

static void pump(struct events *events)
{
    while (events->in_flight_count < IN_FLIGHT_MAX && events->waiting_count > 0) {
        struct event_series *series = TAILQ_FIRST(&events->waiting);
        struct error *error;

        leave_queue(series);
        error = send_series(series);
        if (error) {
            refuse(events, error, NULL);
            end_series(series);
            continue;
        }
        TAILQ_INSERT_TAIL(&events->in_flight, series, order);
        events->in_flight_count++;
    }
}

/* Writes what has become due, forgets what is old. */
static void sweep(struct events *events)
{
    int64_t now = now_ms(events);

    events->swept_ms = now;
    recent_each(events->series, wait_if_due);
    recent_expire(events->series, now - EVENT_MEMORY_MS);
    recent_expire(events->budgets, now - EVENT_BUDGET_MS);
    pump(events);
    log_losses(events);
}

static void on_sweep(uv_timer_t *timer)
{
    sweep(timer->data);
}

static bool within_budget(struct events *events, const struct event *event)
{
    int64_t now = now_ms(events);
    char key[RECENT_KEY_SIZE];
    struct event_budget *budget;

    event_object_key(event, key);
    budget = (struct event_budget *)recent_find(events->budgets, key);
    if (!budget) {
        budget = calloc(1, sizeof(*budget));
        if (!budget)
            return false;
        budget->credit_ms = EVENT_BUDGET_MS;
        recent_add(events->budgets, &budget->recent, key, now);
    }
    bool granted = event_budget_take(budget, now);
    recent_use(events->budgets, &budget->recent, now);
    return granted;
}

static void tell_first(struct events *events, const struct event *event, const char *key)
{
    const struct event_origin origin = origin_now(events);
    struct event_series *series;

    if (!within_budget(events, event)) {
        events->over_budget++;
        return;
    }
    series = event_series_new(event, &origin);
    if (!series) {
        refuse(events, error_out_of_memory(), NULL);
        return;
    }
    series->events = events;
    recent_add(events->series, &series->recent, key, now_ms(events));
    wait_in_queue(series);
}

void events_tell(struct events *events, const struct event *event)
{
    int64_t now = now_ms(events);
    char key[RECENT_KEY_SIZE];
    struct event_series *series;

    if (now - events->swept_ms >= SWEEP_MS)
        sweep(events);
    event_series_key(event, key);
    series = (struct event_series *)recent_find(events->series, key);
    if (series) {
        recent_use(events->series, &series->recent, now);
        series->count += series->count < INT32_MAX;
        series->told_wall_ms = clock_wall_ms(events->options.clock);
        wait_if_due(&series->recent);
    } else {
        tell_first(events, event, key);
    }
    pump(events);
}

static void wait_if_unwritten(struct recent_entry *entry)
{
    struct event_series *series = (struct event_series *)entry;

    if (!series->waiting && !series->operation && series->count > series->written)
        wait_in_queue(series);
}

void events_flush(struct events *events, int64_t timeout_ms, void (*flushed)(void *context),
                  void *context)
{
    recent_each(events->series, wait_if_unwritten);
    pump(events);
    bool idle = events->waiting_count == 0 && events->in_flight_count == 0;
    flush_begin(&events->flush, idle ? 0 : timeout_ms, flushed, context);
}

static void events_destroy(struct events *events)
{
    recent_free(events->series);
    recent_free(events->budgets);
    error_free(events->refusal);
    free((char *)events->options.controller);
    free((char *)events->options.instance);
    free(events);
}

struct events *events_new(const struct events_options *options)
{
    struct events *events = calloc(1, sizeof(*events));

    if (!events)
        return NULL;
    TAILQ_INIT(&events->waiting);
    TAILQ_INIT(&events->in_flight);
    events->options = *options;
    events->options.controller = strdup(options->controller);
    events->options.instance = strdup(options->instance);
    events->series = recent_new(SERIES_MAX, forget_series);
    events->budgets = recent_new(BUDGETS_MAX, forget_budget);
    if (!events->options.controller || !events->options.instance || !events->series ||
        !events->budgets) {
        events_destroy(events);
        return NULL;
    }
    events->swept_ms = now_ms(events);
    uv_timer_init(options->loop, &events->sweep);
    events->sweep.data = events;
    uv_timer_start(&events->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    uv_unref((uv_handle_t *)&events->sweep);
    flush_init(&events->flush, options->loop, events);
    events->open_timers = 2;
    return events;
}

static void on_closed(uv_handle_t *handle)
{
    struct events *events = handle->data;

    if (--events->open_timers == 0)
        events_destroy(events);
}

/* Ends the series of one list: those in the map are freed with it. */
static void drop_list(struct series_list *list)
{
    struct event_series *series;

    while ((series = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, series, order);
        operation_cancel(&series->operation);
        series->waiting = false;
        if (series->forgotten)
            event_series_free(series);
    }
}

void events_free(struct events *events)
{
    if (!events)
        return;
    events->freeing = true;
    drop_list(&events->in_flight);
    drop_list(&events->waiting);
    log_losses(events);
    uv_close((uv_handle_t *)&events->sweep, on_closed);
    uv_close((uv_handle_t *)&events->flush.timer, on_closed);
}
