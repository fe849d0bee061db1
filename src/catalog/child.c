/* See child.h. */
#include "catalog/child.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/json.h"
#include "source/condition.h"

#define LABEL_MANAGED_BY "app.kubernetes.io/managed-by"

static json_t *owner_references(const struct source *source)
{
    return json_pack("[{s:s, s:s, s:s, s:s, s:b, s:b}]", "apiVersion", SOURCE_API_VERSION, "kind",
                     SOURCE_KIND, "name", source->name, "uid", source->uid, "controller", 1,
                     "blockOwnerDeletion", 1);
}

/* The shard's label too, so that a consumer's controller that is sharded alike finds it. */
static json_t *labels(const struct source *source)
{
    json_t *labels = json_pack("{s:s}", LABEL_MANAGED_BY, MANAGED_BY);
    const char *shard = json_get_string(source->labels, LABEL_SHARD);

    if (labels && json_set_string(labels, LABEL_SHARD, shard))
        json_decref(TAKE(labels));
    return labels;
}

static json_t *spec(const struct source *source)
{
    return json_pack("{s:{s:s, s:s, s:s, s:s}}", "sourceRef", "apiVersion", SOURCE_API_VERSION,
                     "kind", SOURCE_KIND, "name", source->name, "namespace",
                     source->namespace_name);
}

json_t *child_object(const struct source *source)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:o}, s:o}", "apiVersion", CHILD_API_VERSION,
                     "kind", CHILD_KIND, "metadata", "namespace", source->namespace_name, "name",
                     source->name, "labels", labels(source), "ownerReferences",
                     owner_references(source), "spec", spec(source));
}

static const json_t *metadata_of(const json_t *object, const char *key)
{
    return json_object_get(json_object_get(object, "metadata"), key);
}

static const json_t *ready_of(const json_t *existing)
{
    const json_t *conditions = json_object_get(json_object_get(existing, "status"), "conditions");
    size_t index;
    json_t *condition;

    json_array_foreach(conditions, index, condition)
    {
        const char *type = json_get_string(condition, "type");

        if (type && strcmp(type, CONDITION_READY) == 0)
            return condition;
    }
    return NULL;
}

static bool is_true(const json_t *condition)
{
    const char *status = json_get_string(condition, "status");

    return status && strcmp(status, "True") == 0;
}

static json_t *conditions(const struct source *source, const struct artifact_record *record,
                          int64_t now_ms)
{
    struct condition_list list = {NULL, 0};
    struct error *error = NULL;
    _cleanup_(free) char *message =
        format_string("stored artifact for revision '%s'", record->revision);
    json_t *json = NULL;

    if (!message)
        return NULL;
    condition_set(&list, CONDITION_READY, CONDITION_TRUE, "Succeeded", message, source->generation,
                  now_ms, &error);
    if (!error)
        json = condition_list_to_json(&list);
    error_free(error);
    condition_list_free(&list);
    return json;
}

json_t *child_status(const struct source *source, const struct artifact_record *record,
                     const json_t *existing, int64_t now_ms)
{
    const json_t *before = ready_of(existing);
    const char *since = is_true(before) ? json_get_string(before, "lastTransitionTime")
                                        : NULL; /* Ready all along */
    json_t *status = json_pack("{s:o, s:o}", "artifact", artifact_record_to_json(record),
                               "conditions", conditions(source, record, now_ms));
    json_t *ready = json_array_get(json_object_get(status, "conditions"), 0);

    if (status && json_set_string(ready, "lastTransitionTime", since))
        json_decref(TAKE(status));
    return status;
}

static bool has_labels(const json_t *existing, const json_t *wanted)
{
    const json_t *labels = metadata_of(existing, "labels");
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)wanted, key, value)
    {
        if (!json_equal(json_object_get(labels, key), value))
            return false;
    }
    return true;
}

/* Others may own it too, as long as we do. */
static bool has_owner(const json_t *existing, const json_t *wanted)
{
    size_t index;
    json_t *owner;

    json_array_foreach(metadata_of(existing, "ownerReferences"), index, owner)
    {
        if (json_equal(owner, json_array_get(wanted, 0)))
            return true;
    }
    return false;
}

bool child_object_matches(const json_t *existing, const struct source *source)
{
    _cleanup_(json) json_t *wanted = child_object(source);

    return wanted && has_labels(existing, metadata_of(wanted, "labels")) &&
           has_owner(existing, metadata_of(wanted, "ownerReferences")) &&
           json_equal(json_object_get(existing, "spec"), json_object_get(wanted, "spec"));
}

bool child_status_matches(const json_t *existing, const struct artifact_record *record)
{
    _cleanup_(json) json_t *artifact = artifact_record_to_json(record);

    return artifact && is_true(ready_of(existing)) &&
           json_equal(json_object_get(json_object_get(existing, "status"), "artifact"), artifact);
}

static const json_t *controller_of(const json_t *existing)
{
    size_t index;
    json_t *owner;

    json_array_foreach(metadata_of(existing, "ownerReferences"), index, owner)
    {
        if (json_get_boolean(owner, "controller", false))
            return owner;
    }
    return NULL;
}

static bool string_is(const json_t *object, const char *key, const char *text)
{
    const char *value = json_get_string(object, key);

    return value && strcmp(value, text) == 0;
}

/* A reference {apiVersion, kind, name} to the source. */
static bool names(const json_t *reference, const struct source *source)
{
    return string_is(reference, "apiVersion", SOURCE_API_VERSION) &&
           string_is(reference, "kind", SOURCE_KIND) && string_is(reference, "name", source->name);
}

enum child_owner child_owner(const json_t *existing, const struct source *source)
{
    const json_t *owner = controller_of(existing);
    const json_t *about = json_object_get(json_object_get(existing, "spec"), "sourceRef");

    if (owner)
        return string_is(owner, "uid", source->uid) ? CHILD_OURS
               : names(owner, source)               ? CHILD_PREDECESSOR
                                                    : CHILD_FOREIGN;
    return names(about, source) ? CHILD_OURS : CHILD_FOREIGN;
}
