/*
 * The ExternalArtifact in the cluster: declared, published and withdrawn.
 *
 * A forced apply would silently seize an object that somebody else owns, so we look first: at what
 * the reflector holds, which is every ExternalArtifact there is; where only one shard's are
 * followed, with a request. One that seems not to be there is applied without force, so that
 * another that came in between shows as a conflict. What says already what it should is not
 * written. Every write names the version that was looked at: one that was on its way while another
 * replica took over the lease must not overwrite what that one published.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "catalog/child.h"
#include "catalog/kube_catalog.h"

static void look(struct kube_operation *operation);

static const char *uid_of(const json_t *object)
{
    return json_get_string(json_object_get(object, "metadata"), "uid");
}

static const char *version_of(const json_t *object)
{
    return json_get_string(json_object_get(object, "metadata"), "resourceVersion");
}

static char *path_of(const struct kube_operation *operation, const char *subresource)
{
    const struct source *source = operation->source;

    return kube_path(&kube_children, source->namespace_name, source->name, subresource);
}

static void fail(struct kube_operation *operation, const struct kube_response *response)
{
    kube_operation_fail(operation,
                        kube_response_error(response, "cannot write the ExternalArtifact"));
}

static void look_again(struct kube_operation *operation, const struct kube_response *response)
{
    if (!kube_operation_try_again(operation, look))
        fail(operation, response);
}

static struct error *name_conflict(const struct source *source)
{
    return error_new(
        ERROR_CONFIGURATION, "NameConflict",
        "there is an ExternalArtifact %s/%s that belongs to another owner; rename this "
        "source or delete that ExternalArtifact",
        source->namespace_name, source->name);
}

/* Our apply is no read, and yet its answer may be the first that shows a Receiver's request. */
static void keep(struct kube_operation *operation, const json_t *object)
{
    const json_t *annotations = json_object_get(json_object_get(object, "metadata"), "annotations");
    const char *requested = json_get_string(annotations, ANNOTATION_REQUESTED_AT);
    const char *known = operation->source->artifact_requested_at;

    kube_put(operation->kube, operation->kube->children, object);
    if (requested && (!known || strcmp(requested, known) != 0))
        operation->moved = true;
}

/* Takes the answer of a write: true where it succeeded, else what follows has begun. `lost`: it
 * lost to somebody else's. */
static bool written(struct kube_operation *operation, const struct kube_response *response,
                    bool lost)
{
    if (response->reason == KUBE_OK)
        keep(operation, response->object);
    else if (lost)
        look_again(operation, response);
    else
        fail(operation, response);
    return response->reason == KUBE_OK;
}

/* It vanished or changed in between. */
static bool is_another(const struct kube_response *response)
{
    return response->reason == KUBE_NOT_FOUND || response->reason == KUBE_CONFLICT;
}

static void cleaned(struct kube_operation *operation, const struct kube_response *response)
{
    if (written(operation, response, is_another(response)))
        kube_operation_succeed(operation);
}

/* Members of the artifact that another manager owns, such as the metadata of an earlier one,
 * survive our apply: they are patched away. */
static void clean_status(struct kube_operation *operation, const json_t *existing)
{
    const json_t *found = json_object_get(json_object_get(existing, "status"), "artifact");
    _cleanup_(json) json_t *artifact = artifact_record_to_json(operation->record);
    _cleanup_(json) json_t *body =
        json_pack("{s:{s:s}, s:{s:o}}", "metadata", "resourceVersion", version_of(existing),
                  "status", "artifact", artifact ? json_merge_patch(found, artifact) : NULL);
    _cleanup_(free) char *path = path_of(operation, "status");
    _cleanup_(free) char *query = path ? format_string("%s?fieldManager=" MANAGED_BY, path) : NULL;
    struct kube_request request = {.method = "PATCH",
                                   .path = body ? query : NULL,
                                   .content_type = KUBE_MERGE_PATCH,
                                   .body = body};

    kube_operation_send(operation, &request, cleaned);
}

static void status_applied(struct kube_operation *operation, const struct kube_response *response)
{
    if (!written(operation, response, is_another(response)))
        return;
    if (child_status_matches(response->object, operation->record))
        kube_operation_succeed(operation);
    else
        clean_status(operation, response->object);
}

/* `existing` is the whole object as it is now. */
static void apply_status(struct kube_operation *operation, const json_t *existing)
{
    const struct source *source = operation->source;
    const struct clock *clock = operation->kube->options.clock;

    if (!operation->record || child_status_matches(existing, operation->record)) {
        kube_operation_succeed(operation);
        return;
    }
    _cleanup_(json) json_t *body =
        json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:o}", "apiVersion", CHILD_API_VERSION, "kind",
                  CHILD_KIND, "metadata", "namespace", source->namespace_name, "name", source->name,
                  "resourceVersion", version_of(existing), "status",
                  child_status(source, operation->record, existing, clock_wall_ms(clock)));
    _cleanup_(free) char *path = path_of(operation, "status");
    _cleanup_(free) char *query =
        path ? format_string("%s?fieldManager=" MANAGED_BY "&force=true", path) : NULL;
    struct kube_request request = {
        .method = "PATCH", .path = body ? query : NULL, .content_type = KUBE_APPLY, .body = body};

    kube_operation_send(operation, &request, status_applied);
}

static void applied(struct kube_operation *operation, const struct kube_response *response)
{
    bool lost = response->reason == KUBE_MANAGER_CONFLICT || response->reason == KUBE_CONFLICT;

    if (written(operation, response, lost))
        apply_status(operation, response->object);
}

/* By force where we looked at one that exists. */
static void apply(struct kube_operation *operation, const json_t *existing)
{
    _cleanup_(json) json_t *body = child_object(operation->source);
    _cleanup_(free) char *path = path_of(operation, NULL);
    _cleanup_(free) char *query = path ? format_string("%s?fieldManager=" MANAGED_BY "&force=%s",
                                                       path, existing ? "true" : "false")
                                       : NULL;

    if (existing &&
        json_set_string(json_object_get(body, "metadata"), "resourceVersion", version_of(existing)))
        json_decref(TAKE(body));
    struct kube_request request = {
        .method = "PATCH", .path = body ? query : NULL, .content_type = KUBE_APPLY, .body = body};

    kube_operation_send(operation, &request, applied);
}

static void remove_child(struct kube_operation *operation, const json_t *existing,
                         void (*answered)(struct kube_operation *operation,
                                          const struct kube_response *response))
{
    _cleanup_(json) json_t *body =
        json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "DeleteOptions",
                  "preconditions", "uid", uid_of(existing));
    _cleanup_(free) char *path = path_of(operation, NULL);
    struct kube_request request = {
        .method = "DELETE", .path = body ? path : NULL, .content_type = KUBE_JSON, .body = body};

    kube_operation_send(operation, &request, answered);
}

static void predecessor_deleted(struct kube_operation *operation,
                                const struct kube_response *response)
{
    if (response->reason != KUBE_OK && response->reason != KUBE_NOT_FOUND &&
        response->reason != KUBE_CONFLICT)
        fail(operation, response);
    else
        look_again(operation, response);
}

static void decide(struct kube_operation *operation, const json_t *existing)
{
    const struct source *source = operation->source;

    if (!existing) {
        apply(operation, NULL);
        return;
    }
    switch (child_owner(existing, source)) {
    case CHILD_FOREIGN:
        kube_operation_fail(operation, name_conflict(source));
        return;
    case CHILD_PREDECESSOR:
        remove_child(operation, existing, predecessor_deleted);
        return;
    case CHILD_OURS:
        if (child_object_matches(existing, source))
            apply_status(operation, existing);
        else
            apply(operation, existing);
        return;
    }
}

static void looked(struct kube_operation *operation, const struct kube_response *response)
{
    if (response->reason != KUBE_OK && response->reason != KUBE_NOT_FOUND)
        fail(operation, response);
    else
        decide(operation, response->reason == KUBE_OK ? response->object : NULL);
}

static void look_at_server(struct kube_operation *operation,
                           void (*answered)(struct kube_operation *operation,
                                            const struct kube_response *response))
{
    _cleanup_(free) char *path = path_of(operation, NULL);
    struct kube_request request = {.method = "GET", .path = path};

    kube_operation_send(operation, &request, answered);
}

static void look(struct kube_operation *operation)
{
    const struct source *source = operation->source;
    _cleanup_(json) json_t *existing =
        kube_find(operation->kube->children, source->namespace_name, source->name);

    if (operation->tries > 0 || (!existing && operation->kube->partial))
        look_at_server(operation, looked);
    else
        decide(operation, existing);
}

static struct error *start(struct catalog *catalog, const struct source *source,
                           const struct artifact_record *record,
                           void (*first)(struct kube_operation *operation), catalog_done done,
                           void *context, struct operation **operation)
{
    struct kube_operation *made =
        kube_operation_new((struct kube_catalog *)catalog, (struct source *)source, context);

    if (!made)
        return error_out_of_memory();
    made->shape = DONE_PLAIN;
    made->done.plain = done;
    made->record = record ? artifact_record_copy(record) : NULL;
    if (record && !made->record) {
        kube_operation_free(made);
        return error_out_of_memory();
    }
    return kube_operation_begin(made, first, operation);
}

struct error *kube_declare(struct catalog *catalog, const struct source *source, catalog_done done,
                           void *context, struct operation **operation)
{
    return start(catalog, source, NULL, look, done, context, operation);
}

struct error *kube_publish(struct catalog *catalog, const struct source *source,
                           const struct artifact_record *record, catalog_done done, void *context,
                           struct operation **operation)
{
    return start(catalog, source, record, look, done, context, operation);
}

static void withdrawn(struct kube_operation *operation, const struct kube_response *response)
{
    /* A conflict: it was replaced meanwhile, by one that is not ours to remove. */
    if (response->reason == KUBE_OK || response->reason == KUBE_NOT_FOUND ||
        response->reason == KUBE_CONFLICT || response->reason == KUBE_TERMINATING)
        kube_operation_succeed(operation);
    else
        fail(operation, response);
}

static void withdraw_existing(struct kube_operation *operation, const json_t *existing)
{
    if (!existing || child_owner(existing, operation->source) == CHILD_FOREIGN)
        kube_operation_succeed(operation);
    else
        remove_child(operation, existing, withdrawn);
}

static void looked_to_withdraw(struct kube_operation *operation,
                               const struct kube_response *response)
{
    if (response->reason == KUBE_OK || response->reason == KUBE_NOT_FOUND)
        withdraw_existing(operation, response->reason == KUBE_OK ? response->object : NULL);
    else
        fail(operation, response);
}

static void withdraw(struct kube_operation *operation)
{
    const struct source *source = operation->source;
    _cleanup_(json) json_t *existing =
        kube_find(operation->kube->children, source->namespace_name, source->name);

    if (!existing && operation->kube->partial)
        look_at_server(operation, looked_to_withdraw);
    else
        withdraw_existing(operation, existing);
}

struct error *kube_withdraw(struct catalog *catalog, const struct source *source, catalog_done done,
                            void *context, struct operation **operation)
{
    return start(catalog, source, NULL, withdraw, done, context, operation);
}
