/* See status.h. Reading is forgiving (a status is our own, but people edit files), writing is
 * exact. */
#include "source/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

struct source_status *source_status_new(void)
{
    struct source_status *status = calloc(1, sizeof(*status));

    if (status)
        status->observed_generation = -1;
    return status;
}

void artifact_record_free(struct artifact_record *record)
{
    if (!record)
        return;
    free(record->path);
    free(record->url);
    free(record->revision);
    free(record->digest);
    json_decref(record->metadata);
    free(record);
}

void source_status_free(struct source_status *status)
{
    if (!status)
        return;
    condition_list_free(&status->conditions);
    artifact_record_free(status->artifact);
    free(status->last_handled_etag);
    free(status->inputs_digest);
    free(status->last_handled_reconcile_at);
    free(status->last_handled_force_at);
    free(status->last_handled_artifact_reconcile_at);
    free(status->retry_inputs_digest);
    free(status);
}

/* Copies a text that may be missing; false without memory. */
static bool copy_text(const char *from, char **to)
{
    *to = from ? strdup(from) : NULL;
    return !from || *to;
}

struct artifact_record *artifact_record_copy(const struct artifact_record *record)
{
    struct artifact_record *copy = calloc(1, sizeof(*copy));

    if (!copy)
        return NULL;
    copy->size = record->size;
    copy->last_update_ms = record->last_update_ms;
    copy->metadata = json_incref(record->metadata);
    if (copy_text(record->path, &copy->path) && copy_text(record->url, &copy->url) &&
        copy_text(record->revision, &copy->revision) && copy_text(record->digest, &copy->digest))
        return copy;
    artifact_record_free(copy);
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool artifact_record_equal(const struct artifact_record *a, const struct artifact_record *b)
{
    bool same_metadata = a->metadata && b->metadata ? json_equal(a->metadata, b->metadata)
                                                    : a->metadata == b->metadata;

    return same_metadata && same_text(a->path, b->path) && same_text(a->url, b->url) &&
           same_text(a->revision, b->revision) && same_text(a->digest, b->digest) &&
           a->size == b->size && a->last_update_ms == b->last_update_ms;
}

static int set_time(json_t *object, const char *key, int64_t wall_ms)
{
    char text[TIME_TEXT_SIZE];

    if (wall_ms == 0)
        return 0;
    time_format(wall_ms, text);
    return json_set_string(object, key, text);
}

json_t *artifact_record_to_json(const struct artifact_record *record)
{
    json_t *object = json_object();

    if (json_set_string(object, "path", record->path) ||
        json_set_string(object, "url", record->url) ||
        json_set_string(object, "revision", record->revision) ||
        json_set_string(object, "digest", record->digest) ||
        json_object_set_new(object, "size", json_integer((json_int_t)record->size)) ||
        set_time(object, "lastUpdateTime", record->last_update_ms) ||
        (record->metadata && json_object_set(object, "metadata", record->metadata))) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* Keeps the members that are strings. */
static json_t *strings_of(const json_t *object)
{
    json_t *strings = NULL;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        if (!json_is_string(value))
            continue;
        if (!strings)
            strings = json_object();
        if (json_object_set(strings, key, value))
            break;
    }
    return strings;
}

static int64_t read_time(const json_t *object, const char *key)
{
    const char *text = json_get_string(object, key);
    int64_t wall_ms;

    return text && time_parse(text, &wall_ms) ? wall_ms : 0;
}

/* NULL where there is no revision: then nothing was published. */
static struct error *record_parse(const json_t *json, struct artifact_record **record)
{
    *record = NULL;
    if (!json_get_string(json, "revision"))
        return NULL;
    struct artifact_record *parsed = calloc(1, sizeof(*parsed));
    if (!parsed)
        return error_out_of_memory();
    int64_t size = json_get_integer(json, "size", 0);
    parsed->size = size > 0 ? (uint64_t)size : 0;
    parsed->last_update_ms = read_time(json, "lastUpdateTime");
    parsed->metadata = strings_of(json_object_get(json, "metadata"));
    if (!copy_text(json_get_string(json, "path"), &parsed->path) ||
        !copy_text(json_get_string(json, "url"), &parsed->url) ||
        !copy_text(json_get_string(json, "revision"), &parsed->revision) ||
        !copy_text(json_get_string(json, "digest"), &parsed->digest)) {
        artifact_record_free(parsed);
        return error_out_of_memory();
    }
    *record = parsed;
    return NULL;
}

static struct error *fill(const json_t *json, struct source_status *status)
{
    const json_t *retry = json_object_get(json, "retry");
    struct error *error =
        condition_list_from_json(json_object_get(json, "conditions"), &status->conditions);

    if (!error)
        error = record_parse(json_object_get(json, "artifact"), &status->artifact);
    if (error)
        return error;
    int64_t count = json_get_integer(retry, "count", 0);
    status->retry_count = count > 0 && count < UINT32_MAX ? (unsigned)count : 0;
    status->retry_not_before_ms = read_time(retry, "notBefore");
    status->observed_generation = json_get_integer(json, "observedGeneration", -1);
    if (!copy_text(json_get_string(json, "lastHandledETag"), &status->last_handled_etag) ||
        !copy_text(json_get_string(json, "inputsDigest"), &status->inputs_digest) ||
        !copy_text(json_get_string(json, "lastHandledReconcileAt"),
                   &status->last_handled_reconcile_at) ||
        !copy_text(json_get_string(json, "lastHandledForceAt"), &status->last_handled_force_at) ||
        !copy_text(json_get_string(json, "lastHandledArtifactReconcileAt"),
                   &status->last_handled_artifact_reconcile_at) ||
        !copy_text(json_get_string(retry, "inputsDigest"), &status->retry_inputs_digest))
        return error_out_of_memory();
    return NULL;
}

struct error *source_status_parse(const json_t *json, struct source_status **status)
{
    *status = source_status_new();
    if (!*status)
        return error_out_of_memory();
    struct error *error = fill(json, *status);
    if (error)
        source_status_free(TAKE(*status));
    return error;
}

struct source_status *source_status_copy(const struct source_status *status)
{
    struct source_status *copy = source_status_new();
    struct error *error = copy ? condition_list_copy(&status->conditions, &copy->conditions) : NULL;

    if (!copy)
        return NULL;
    copy->observed_generation = status->observed_generation;
    copy->retry_count = status->retry_count;
    copy->retry_not_before_ms = status->retry_not_before_ms;
    copy->artifact = status->artifact ? artifact_record_copy(status->artifact) : NULL;
    if (!error && (!status->artifact || copy->artifact) &&
        copy_text(status->last_handled_etag, &copy->last_handled_etag) &&
        copy_text(status->inputs_digest, &copy->inputs_digest) &&
        copy_text(status->last_handled_reconcile_at, &copy->last_handled_reconcile_at) &&
        copy_text(status->last_handled_force_at, &copy->last_handled_force_at) &&
        copy_text(status->last_handled_artifact_reconcile_at,
                  &copy->last_handled_artifact_reconcile_at) &&
        copy_text(status->retry_inputs_digest, &copy->retry_inputs_digest))
        return copy;
    error_free(error);
    source_status_free(copy);
    return NULL;
}

/* {count, notBefore, inputsDigest}; whole seconds are rounded up, so that nothing is tried early
 * after a restart.
 */
static int set_retry(json_t *object, const struct source_status *status)
{
    json_t *retry;

    if (status->retry_count == 0 && status->retry_not_before_ms <= 0 &&
        !status->retry_inputs_digest)
        return 0;
    retry = json_pack("{s:I}", "count", (json_int_t)status->retry_count);
    if (!retry || json_set_string(retry, "inputsDigest", status->retry_inputs_digest) ||
        (status->retry_not_before_ms > 0 &&
         set_time(retry, "notBefore", status->retry_not_before_ms + 999))) {
        json_decref(retry);
        return -1;
    }
    return json_object_set_new(object, "retry", retry);
}

json_t *source_status_to_json(const struct source_status *status)
{
    json_t *object = json_object();

    if (json_object_set_new(object, "observedGeneration",
                            json_integer((json_int_t)status->observed_generation)) ||
        json_object_set_new(object, "conditions", condition_list_to_json(&status->conditions)) ||
        (status->artifact &&
         json_object_set_new(object, "artifact", artifact_record_to_json(status->artifact))) ||
        json_set_string(object, "lastHandledETag", status->last_handled_etag) ||
        json_set_string(object, "inputsDigest", status->inputs_digest) ||
        json_set_string(object, "lastHandledReconcileAt", status->last_handled_reconcile_at) ||
        json_set_string(object, "lastHandledForceAt", status->last_handled_force_at) ||
        json_set_string(object, "lastHandledArtifactReconcileAt",
                        status->last_handled_artifact_reconcile_at) ||
        set_retry(object, status)) {
        json_decref(object);
        return NULL;
    }
    return object;
}
