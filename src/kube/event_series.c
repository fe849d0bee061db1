/* https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ */
#include "kube/event_series.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "kube/wire.h"

#define WORD_MAX 128 /* bytes of reason, action and instance */
#define NOTE_MAX 1024
#define NAME_MAX_BYTES 253
#define SUFFIX 17 /* ".HEX" behind the object's name */

void event_object_key(const struct event *event, char key[RECENT_KEY_SIZE])
{
    const struct kube_reference *about = &event->about;
    const char *const strings[] = {about->api_version, about->kind, about->namespace_name,
                                   about->name, about->uid};

    recent_key(strings, sizeof(strings) / sizeof(*strings), key);
}

void event_series_key(const struct event *event, char key[RECENT_KEY_SIZE])
{
    char object[RECENT_KEY_SIZE];
    const char *const strings[] = {object, event->warning ? "w" : "n", event->reason, event->note};

    event_object_key(event, object);
    recent_key(strings, sizeof(strings) / sizeof(*strings), key);
}

void event_series_free(struct event_series *series)
{
    if (!series)
        return;
    free(series->path);
    free(series->object);
    free(series->name);
    free(series->text);
    free(series);
}

CLEANUP_DEFINE(event_series, struct event_series *, event_series_free)

static const char *namespace_of(const struct kube_reference *about)
{
    return about->namespace_name && *about->namespace_name ? about->namespace_name : "default";
}

static int set_reference(json_t *object, const struct kube_reference *about)
{
    _cleanup_(json) json_t *regarding = json_object();

    if (json_set_string(regarding, "apiVersion", about->api_version) ||
        json_set_string(regarding, "kind", about->kind) ||
        json_set_string(regarding, "namespace", about->namespace_name) ||
        json_set_string(regarding, "name", about->name) ||
        json_set_string(regarding, "uid", about->uid))
        return -1;
    return json_object_set(object, "regarding", regarding);
}

static char *write_text(const struct event *event, const struct event_origin *origin)
{
    _cleanup_(free) char *reason = wire_text(event->reason, WORD_MAX, SIZE_MAX);
    _cleanup_(free) char *action = wire_text(event->action, WORD_MAX, SIZE_MAX);
    _cleanup_(free) char *note = wire_text(event->note, NOTE_MAX, SIZE_MAX);
    _cleanup_(free) char *instance = wire_text(origin->instance, WORD_MAX, SIZE_MAX);
    char time[TIME_TEXT_SIZE];

    micro_time_format(origin->wall_ms, time);
    _cleanup_(json) json_t *object = json_pack(
        "{s:s, s:s, s:{s:s}, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "apiVersion", "events.k8s.io/v1",
        "kind", "Event", "metadata", "namespace", namespace_of(&event->about), "eventTime", time,
        "type", event->warning ? "Warning" : "Normal", "reason", reason, "action", action, "note",
        note, "reportingController", origin->controller, "reportingInstance", instance);
    if (!object || set_reference(object, &event->about))
        return NULL;
    return json_dumps(object, JSON_COMPACT);
}

struct event_series *event_series_new(const struct event *event, const struct event_origin *origin)
{
    static const struct kube_resource events = {"/apis/events.k8s.io/v1", "events"};
    _cleanup_(event_series) struct event_series *series = calloc(1, sizeof(*series));

    if (!series)
        return NULL;
    series->path = kube_path(&events, namespace_of(&event->about), NULL, NULL);
    series->object = strdup(event->about.name ? event->about.name : "");
    series->text = write_text(event, origin);
    if (!series->path || !series->object || !series->text)
        return NULL;
    series->count = 1;
    series->told_wall_ms = origin->wall_ms;
    return TAKE(series);
}

bool event_series_rename(struct event_series *series, const struct event_origin *origin,
                         uint64_t number)
{
    size_t length = strnlen(series->object, NAME_MAX_BYTES - SUFFIX);
    char when[64];
    char hex[RECENT_KEY_SIZE];

    /* A part of a name must not end in a dot or a dash. */
    while (length > 0 && !isalnum((unsigned char)series->object[length - 1]))
        length--;
    snprintf(when, sizeof(when), "%" PRId64 " %" PRIu64, origin->wall_ms, number);
    const char *const strings[] = {origin->instance, when, series->text};
    recent_key(strings, sizeof(strings) / sizeof(*strings), hex);
    free(series->name);
    series->name =
        format_string("%.*s%s%.16s", (int)length, series->object, length ? "." : "", hex);
    return series->name != NULL;
}

bool event_series_due(const struct event_series *series, int64_t now_ms)
{
    if (series->written == 0)
        return true;
    return series->count > series->written && (series->written == 1 || series->forgotten ||
                                               now_ms - series->written_ms >= EVENT_REPEAT_MS);
}

static json_t *series_member(const struct event_series *series)
{
    char time[TIME_TEXT_SIZE];

    micro_time_format(series->told_wall_ms, time);
    return json_pack("{s:I, s:s}", "count", (json_int_t)series->count, "lastObservedTime", time);
}

json_t *event_series_object(const struct event_series *series)
{
    _cleanup_(json) json_t *object = json_loads(series->text, 0, NULL);

    if (json_set_string(json_object_get(object, "metadata"), "name", series->name))
        return NULL;
    if (series->count > 1 && json_object_set_new(object, "series", series_member(series)))
        return NULL;
    return TAKE(object);
}

json_t *event_series_patch(const struct event_series *series)
{
    return json_pack("{s:o}", "series", series_member(series));
}

bool event_budget_take(struct event_budget *budget, int64_t now_ms)
{
    budget->credit_ms += now_ms - budget->recent.used_ms;
    if (budget->credit_ms > EVENT_BUDGET_MS)
        budget->credit_ms = EVENT_BUDGET_MS;
    if (budget->credit_ms < EVENT_BUDGET_STEP_MS)
        return false;
    budget->credit_ms -= EVENT_BUDGET_STEP_MS;
    return true;
}
