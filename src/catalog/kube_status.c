/*
 * Writes of the source itself: its status and our finalizer, as merge patches that name the
 * resourceVersion. A conflict means that somebody else wrote the object meanwhile: it is read
 * again, and if what we write is still ours to write (the same object, the same status as before),
 * the patch is made anew on top; else the reconcile has to look again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "catalog/kube_catalog.h"

static void patch(struct kube_operation *operation);

static struct error *moved_on(const struct source *source)
{
    return error_new(ERROR_CONFLICT, "Conflict", "%s/%s: the ExternalSource has changed meanwhile",
                     source->namespace_name, source->name);
}

static const json_t *status_of(const json_t *object)
{
    return json_object_get(object, "status");
}

static const char *metadata_text(const json_t *object, const char *key)
{
    return json_get_string(json_object_get(object, "metadata"), key);
}

static void read_again(struct kube_operation *operation, const struct kube_response *response)
{
    const struct source *source = operation->source;
    const char *uid = response->reason == KUBE_OK ? metadata_text(response->object, "uid") : NULL;

    if (response->reason != KUBE_OK && response->reason != KUBE_NOT_FOUND) {
        kube_operation_fail(operation, kube_response_error(response, "cannot read the source"));
        return;
    }
    if (!uid || strcmp(uid, source->uid) != 0) {
        kube_operation_fail(operation, moved_on(source));
        return;
    }
    if (kube_put_read(operation->kube, operation->kube->sources, response->object))
        operation->moved = true;
    patch(operation);
}

static void read_source(struct kube_operation *operation)
{
    _cleanup_(free) char *path =
        kube_path(&kube_sources, operation->source->namespace_name, operation->source->name, NULL);
    struct kube_request request = {.method = "GET", .path = path};

    kube_operation_send(operation, &request, read_again);
}

/* A source that lost its last finalizer is gone, and the answer shows it as it last was. */
static bool is_gone(const json_t *object)
{
    return metadata_text(object, "deletionTimestamp") &&
           json_array_size(json_object_get(json_object_get(object, "metadata"), "finalizers")) == 0;
}

static void patched(struct kube_operation *operation, const struct kube_response *response)
{
    const struct source *source = operation->source;
    struct kube_catalog *kube = operation->kube;

    if (response->reason == KUBE_CONFLICT) {
        if (!kube_operation_try_again(operation, read_source))
            kube_operation_fail(operation, moved_on(source));
        return;
    }
    if (response->reason == KUBE_NOT_FOUND && !operation->wanted && !operation->present) {
        kube_operation_succeed_with(operation, source->resource_version);
        return;
    }
    if (response->reason == KUBE_NOT_FOUND) {
        kube_operation_fail(operation, moved_on(source));
        return;
    }
    if (response->reason != KUBE_OK) {
        kube_operation_fail(operation, kube_response_error(response, "cannot write the source"));
        return;
    }
    if (is_gone(response->object))
        reflector_drop(kube->sources, source->namespace_name, source->name, source->uid);
    else
        kube_put(kube, kube->sources, response->object);
    kube_operation_succeed_with(operation, metadata_text(response->object, "resourceVersion"));
}

/* The finalizers of `object` with or without ours; NULL if they are so already. */
static json_t *finalizers(const json_t *object, bool present)
{
    const json_t *before = json_object_get(json_object_get(object, "metadata"), "finalizers");
    json_t *after = json_array();
    size_t index;
    json_t *name;

    json_array_foreach(before, index, name)
    {
        if (!json_is_string(name) || strcmp(json_string_value(name), SOURCE_FINALIZER) != 0)
            json_array_append(after, name);
    }
    if (present)
        json_array_append_new(after, json_string(SOURCE_FINALIZER));
    if (json_array_size(after) == json_array_size(before)) {
        json_decref(after);
        return NULL;
    }
    return after;
}

/* The patch's body; NULL where there is nothing to write. */
static json_t *body_of(const struct kube_operation *operation, const json_t *object)
{
    const char *version = metadata_text(object, "resourceVersion");

    if (!operation->wanted) {
        json_t *list = finalizers(object, operation->present);

        return list ? json_pack("{s:{s:s, s:o}}", "metadata", "resourceVersion", version,
                                "finalizers", list)
                    : NULL;
    }
    _cleanup_(json) json_t *nothing = json_object();
    const json_t *before = status_of(object) ? status_of(object) : nothing;
    json_t *changes = json_merge_patch(before, operation->wanted);
    if (json_object_size(changes) == 0) {
        json_decref(changes);
        return NULL;
    }
    return json_pack("{s:{s:s}, s:o}", "metadata", "resourceVersion", version, "status", changes);
}

/* Somebody else has written a status since our first try: what we would write is about another. */
static bool status_moved(struct kube_operation *operation, const json_t *object)
{
    const json_t *now = status_of(object) ? status_of(object) : json_null();

    if (operation->before)
        return !json_equal(operation->before, now);
    operation->before = json_incref((json_t *)now);
    return false;
}

static void patch(struct kube_operation *operation)
{
    const struct source *source = operation->source;
    _cleanup_(json) json_t *object =
        kube_find(operation->kube->sources, source->namespace_name, source->name);
    const char *uid = metadata_text(object, "uid");

    if (!uid || strcmp(uid, source->uid) != 0) {
        if (!operation->wanted && !operation->present)
            kube_operation_succeed_with(operation, source->resource_version);
        else
            kube_operation_fail(operation, moved_on(source));
        return;
    }
    if (operation->wanted && status_moved(operation, object)) {
        kube_operation_fail(operation, moved_on(source));
        return;
    }
    _cleanup_(json) json_t *body = body_of(operation, object);
    if (!body) {
        kube_operation_succeed_with(operation, metadata_text(object, "resourceVersion"));
        return;
    }
    _cleanup_(free) char *path = kube_path(&kube_sources, source->namespace_name, source->name,
                                           operation->wanted ? "status" : NULL);
    struct kube_request request = {
        .method = "PATCH", .path = path, .content_type = KUBE_MERGE_PATCH, .body = body};

    kube_operation_send(operation, &request, patched);
}

static struct error *start(struct catalog *catalog, const struct source *source, json_t *wanted,
                           bool present, catalog_version_done done, void *context,
                           struct operation **operation)
{
    struct kube_operation *made =
        kube_operation_new((struct kube_catalog *)catalog, (struct source *)source, context);

    if (!made) {
        json_decref(wanted);
        return error_out_of_memory();
    }
    made->wanted = wanted;
    made->present = present;
    made->shape = DONE_VERSION;
    made->done.version = done;
    return kube_operation_begin(made, patch, operation);
}

struct error *kube_patch_status(struct catalog *catalog, const struct source *source,
                                const char *resource_version, const struct source_status *status,
                                catalog_version_done done, void *context,
                                struct operation **operation)
{
    json_t *wanted = source_status_to_json(status);

    (void)resource_version; /* the reflector's, which our own writes have moved on too */
    return wanted ? start(catalog, source, wanted, false, done, context, operation)
                  : error_out_of_memory();
}

struct error *kube_patch_finalizer(struct catalog *catalog, const struct source *source,
                                   bool present, catalog_version_done done, void *context,
                                   struct operation **operation)
{
    return start(catalog, source, NULL, present, done, context, operation);
}
