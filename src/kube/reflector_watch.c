/*
 * The watch of a reflector: one JSON object a line, from the version that we are at.
 *
 * A stream that says nothing for longer than bookmarks are apart is cut, because its connection may
 * be half open, and taken up again on another one. If that is silent too, the server may have lost
 * its latest past (an etcd restored from a backup) and wait for a version that is long in coming:
 * then only a list helps.
 *
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "kube/api_json.h"
#include "kube/reflector_state.h"

#define TIMEOUT_MIN_S 300
#define TIMEOUT_SPREAD_S 301 /* 300 to 600, so that the watches of many do not end together */
#define TOO_SHORT_MS 1000    /* a watch that ends sooner, having told nothing, has failed */
#define LONG_MS 10000        /* one that lasted so long had begun well */

static void line_came(void *context, const char *text, size_t length);
static void stream_ended(void *context, struct error *error, const struct kube_response *response);

/* Ends the watch, if it has not ended by itself. */
static void stop(struct reflector *reflector)
{
    uv_timer_stop(&reflector->timer);
    operation_cancel(&reflector->operation);
}

static void on_silence(uv_timer_t *timer)
{
    struct reflector *reflector = timer->data;

    stop(reflector);
    log_info(reflector->options.log, NULL, "watch is silent, taking it up on another connection",
             "collection", reflector->path, NULL);
    reflector->silences++;
    reflector_go(reflector, reflector->silences > 1 ? REFLECTOR_LIST : REFLECTOR_WATCH);
}

static void listen_on(struct reflector *reflector)
{
    uv_timer_start(&reflector->timer, on_silence, (uint64_t)reflector->options.silence_ms, 0);
}

struct error *reflector_watch_begin(struct reflector *reflector)
{
    const struct reflector_options *options = &reflector->options;
    _cleanup_(buffer) struct buffer path = BUFFER_INIT;
    uint64_t draw = options->random(options->random_context);

    buffer_appendf(&path, "%s?watch=true&allowWatchBookmarks=true&timeoutSeconds=%u%s",
                   reflector->path, TIMEOUT_MIN_S + (unsigned)(draw % TIMEOUT_SPREAD_S),
                   reflector->selector);
    buffer_append_string(&path, "&resourceVersion=");
    reflector_escape(&path, reflector->store.version);
    struct error *error = buffer_error(&path);
    if (error)
        return error;
    reflector->watch_heard = false;
    reflector->watch_since_ms = clock_monotonic_ms(options->clock);
    error = kube_client_watch(options->client, buffer_string(&path),
                              options->metadata_only ? KUBE_METADATA_WATCH : KUBE_JSON, line_came,
                              stream_ended, reflector, &reflector->operation);
    if (!error)
        listen_on(reflector);
    return error;
}

/* The watch has told something that makes sense. */
static void heard(struct reflector *reflector)
{
    reflector->watch_heard = true;
    reflector->silences = 0;
    reflector_recovered(reflector);
    reflector_sweep_soon(reflector);
    listen_on(reflector);
}

/* The watch cannot go on by itself (takes `error`). A server that says so twice in a row is asked
 * for a list, which mends everything. */
static void give_up(struct reflector *reflector, struct error *error)
{
    bool again = reflector->failures > 0;

    stop(reflector);
    reflector_fail(reflector, again ? REFLECTOR_LIST : REFLECTOR_WATCH, error);
}

/* An ERROR event: a Status inside a stream that had begun well. */
static void status_came(struct reflector *reflector, const json_t *status)
{
    enum kube_reason reason = kube_status_reason(status, 0);
    const char *message = json_get_string(status, "message");
    struct error *error = error_new(ERROR_TRANSIENT, "APIServerError", "watch: %s",
                                    message ? message : "an error without message");

    if (reason != KUBE_EXPIRED && reason != KUBE_VERSION_TOO_LARGE) {
        give_up(reflector, error);
        return;
    }
    stop(reflector);
    reflector_start_over(reflector, error);
}

static void bookmark_came(struct reflector *reflector, const json_t *object)
{
    const char *version = json_get_string(json_object_get(object, "metadata"), "resourceVersion");
    bool behind = false;
    struct error *error =
        version ? reflector_store_bookmark(&reflector->store, version, &behind)
                : error_new(ERROR_TRANSIENT, "InvalidObject", "a bookmark without resourceVersion");

    if (behind)
        error = error_new(ERROR_TRANSIENT, "Expired",
                          "watch: the API is at version %s and was at %s before", version,
                          reflector->store.version);
    if (!error) {
        heard(reflector);
        return;
    }
    stop(reflector);
    reflector_start_over(reflector, error);
}

static struct error *event_came(struct reflector *reflector, const char *type, const json_t *object)
{
    enum reflector_event event = REFLECTOR_EVENT_SET;

    if (strcmp(type, "DELETED") == 0)
        event = REFLECTOR_EVENT_DELETED;
    else if (strcmp(type, "ADDED") != 0 && strcmp(type, "MODIFIED") != 0)
        return error_new(ERROR_TRANSIENT, "InvalidObject", "an event of unknown type \"%.32s\"",
                         type);
    struct error *error = reflector_store_event(&reflector->store, event, object);
    if (!error)
        heard(reflector);
    return error;
}

static void line_came(void *context, const char *text, size_t length)
{
    struct reflector *reflector = context;
    _cleanup_(json) json_t *line = NULL;
    struct error *error = api_json_parse(text, length, &line);
    const char *type = json_get_string(line, "type");
    const json_t *object = json_object_get(line, "object");

    if (!error && type && strcmp(type, "ERROR") == 0) {
        status_came(reflector, object);
        return;
    }
    if (!error && type && strcmp(type, "BOOKMARK") == 0) {
        bookmark_came(reflector, object);
        return;
    }
    if (!error)
        error = type ? event_came(reflector, type, object)
                     : error_new(ERROR_TRANSIENT, "InvalidObject", "an event without type");
    if (!error)
        return;
    /* What it wanted to tell is lost, and would be on every watch from here: only a list has it. */
    stop(reflector);
    reflector_fail(reflector, REFLECTOR_LIST, error_wrap(error, "watch"));
}

/* How long the watch has lasted tells whether it had begun well. */
static bool lasted(const struct reflector *reflector, int64_t at_least_ms)
{
    return clock_monotonic_ms(reflector->options.clock) - reflector->watch_since_ms >= at_least_ms;
}

static void stream_ended(void *context, struct error *error, const struct kube_response *response)
{
    struct reflector *reflector = context;

    reflector->operation = NULL;
    uv_timer_stop(&reflector->timer);
    if (lasted(reflector, LONG_MS))
        reflector_recovered(reflector);
    if (error) {
        reflector_fail(reflector, REFLECTOR_WATCH, error);
        return;
    }
    if (response->reason == KUBE_OK) {
        if (reflector->watch_heard || lasted(reflector, TOO_SHORT_MS))
            reflector_go(reflector, REFLECTOR_WATCH);
        else
            reflector_fail(reflector, REFLECTOR_WATCH,
                           error_new(ERROR_TRANSIENT, "FetchFailed",
                                     "the API ended the watch at once, having told nothing"));
        return;
    }
    error = kube_response_error(response, "watch");
    if (response->reason == KUBE_EXPIRED || response->reason == KUBE_VERSION_TOO_LARGE)
        reflector_start_over(reflector, error);
    else if (response->reason == KUBE_THROTTLED)
        reflector_fail(reflector, REFLECTOR_WATCH, error);
    else
        give_up(reflector, error);
}
