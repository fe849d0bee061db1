/*
 * The door of the Kubernetes catalog: what it follows, whom that wakes, and reads. See kube.h;
 * writes are in kube_status.c and kube_child.c.
 */
#include "catalog/kube.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/json.h"
#include "catalog/child.h"
#include "catalog/kube_catalog.h"

const struct kube_resource kube_sources = {"/apis/" SOURCE_API_VERSION, "externalsources"};
const struct kube_resource kube_children = {"/apis/" CHILD_API_VERSION, "externalartifacts"};
const struct kube_resource kube_config_maps = {"/api/v1", "configmaps"};
const struct kube_resource kube_secrets = {"/api/v1", "secrets"};

static struct kube_catalog *kube_of(struct catalog *catalog)
{
    return (struct kube_catalog *)catalog;
}

static struct error *kube_start(struct catalog *catalog, const struct catalog_listener *listener)
{
    struct kube_catalog *kube = kube_of(catalog);
    struct reflector *const reflectors[] = {kube->sources, kube->children, kube->lua,
                                            kube->config_maps, kube->secrets};

    kube->listener = *listener;
    for (size_t i = 0; i < sizeof(reflectors) / sizeof(reflectors[0]); i++) {
        struct error *error = reflectors[i] ? reflector_start(reflectors[i]) : NULL;

        if (error)
            return error;
    }
    return NULL;
}

static struct error *copy_child_facts(const struct kube_catalog *kube, struct source *source)
{
    _cleanup_(json) json_t *child = kube_find(kube->children, source->namespace_name, source->name);
    const struct artifact_record *record = source->status->artifact;
    const char *requested =
        json_get_string(json_object_get(json_object_get(child, "metadata"), "annotations"),
                        ANNOTATION_REQUESTED_AT);

    source->artifact_differs =
        record && (!child || child_owner(child, source) != CHILD_OURS ||
                   !child_object_matches(child, source) || !child_status_matches(child, record));
    source->artifact_requested_at = requested ? strdup(requested) : NULL;
    return requested && !source->artifact_requested_at ? error_out_of_memory() : NULL;
}

static void read_source(struct kube_operation *operation)
{
    struct kube_catalog *kube = operation->kube;
    _cleanup_(json) json_t *object =
        kube_find(kube->sources, operation->names[1], operation->names[2]);
    struct source *source = NULL;
    struct error *error = object ? source_parse(object, &source, NULL) : NULL;

    if (source)
        error = copy_child_facts(kube, source);
    if (error) {
        source_unref(source);
        kube_operation_fail(operation, error);
        return;
    }
    operation->done.source(operation->context, NULL, source);
    kube_operation_free(operation);
}

static struct kube_operation *reading(struct catalog *catalog, const char *kind,
                                      const char *namespace_name, const char *name, void *context)
{
    struct kube_operation *operation = kube_operation_new(kube_of(catalog), NULL, context);

    if (!operation)
        return NULL;
    operation->names[0] = strdup(kind);
    operation->names[1] = strdup(namespace_name);
    operation->names[2] = strdup(name);
    if (operation->names[0] && operation->names[1] && operation->names[2])
        return operation;
    kube_operation_free(operation);
    return NULL;
}

static struct error *kube_get(struct catalog *catalog, const char *namespace_name, const char *name,
                              catalog_source_done done, void *context, struct operation **operation)
{
    struct kube_operation *made = reading(catalog, SOURCE_KIND, namespace_name, name, context);

    if (!made)
        return error_out_of_memory();
    made->shape = DONE_SOURCE;
    made->done.source = done;
    return kube_operation_begin(made, read_source, operation);
}

/* A ConfigMap's data is text; Secrets' and binaryData are base64 as they are. */
static int add_texts(json_t *data, const json_t *texts)
{
    const char *key;
    json_t *text;

    json_object_foreach((json_t *)texts, key, text)
    {
        _cleanup_(buffer) struct buffer encoded = BUFFER_INIT;

        base64_encode(&encoded, json_string_value(text), json_string_length(text));
        if (encoded.failed || json_set_string(data, key, buffer_string(&encoded)))
            return -1;
    }
    return 0;
}

static json_t *data_of(const struct kube_operation *operation, const json_t *object)
{
    bool secret = strcmp(operation->names[0], "Secret") == 0;
    const json_t *encoded = json_object_get(object, secret ? "data" : "binaryData");
    json_t *data = encoded ? json_copy((json_t *)encoded) : json_object();

    if (data && !secret && add_texts(data, json_object_get(object, "data")))
        json_decref(TAKE(data));
    return data;
}

static void object_answered(struct kube_operation *operation, const struct kube_response *response)
{
    const json_t *metadata = json_object_get(response->object, "metadata");

    if (response->reason == KUBE_NOT_FOUND) {
        operation->done.object(operation->context, NULL, NULL);
        kube_operation_free(operation);
        return;
    }
    if (response->reason != KUBE_OK) {
        _cleanup_(free) char *what = format_string("cannot read %s %s/%s", operation->names[0],
                                                   operation->names[1], operation->names[2]);

        kube_operation_fail(operation,
                            kube_response_error(response, what ? what : "cannot read an object"));
        return;
    }
    _cleanup_(json) json_t *data = data_of(operation, response->object);
    struct catalog_object object = {json_get_string(metadata, "uid"),
                                    json_get_string(metadata, "resourceVersion"), data};
    if (!data || !object.uid || !object.resource_version) {
        kube_operation_fail(operation, error_out_of_memory());
        return;
    }
    operation->done.object(operation->context, NULL, &object);
    kube_operation_free(operation);
}

static void read_object(struct kube_operation *operation)
{
    bool secret = strcmp(operation->names[0], "Secret") == 0;
    _cleanup_(free) char *path = kube_path(secret ? &kube_secrets : &kube_config_maps,
                                           operation->names[1], operation->names[2], NULL);
    struct kube_request request = {.method = "GET", .path = path};

    kube_operation_send(operation, &request, object_answered);
}

static struct error *kube_get_object(struct catalog *catalog, const char *kind,
                                     const char *namespace_name, const char *name,
                                     catalog_object_done done, void *context,
                                     struct operation **operation)
{
    struct kube_operation *made = reading(catalog, kind, namespace_name, name, context);

    if (!made)
        return error_out_of_memory();
    made->shape = DONE_OBJECT;
    made->done.object = done;
    return kube_operation_begin(made, read_object, operation);
}

static void notify(const struct kube_catalog *kube, const struct source *source,
                   const struct catalog_event *event)
{
    _cleanup_(json) json_t *child = kube_find(kube->children, source->namespace_name, source->name);
    const json_t *metadata = json_object_get(child, "metadata");
    const char *uid = json_get_string(metadata, "uid");
    struct notification notification = {
        .about = {CHILD_API_VERSION, CHILD_KIND, source->namespace_name, source->name,
                  uid ? uid : ""},
        .error = event->severity == CATALOG_WARNING,
        .reason = event->reason,
        .message = event->message,
        .revision = event->revision,
        .annotations = json_object_get(metadata, "annotations"),
    };

    notifier_tell(kube->options.notifier, &notification);
}

static void kube_event(struct catalog *catalog, const struct source *source,
                       const struct catalog_event *event)
{
    const struct kube_catalog *kube = kube_of(catalog);
    struct event told = {
        .about = {SOURCE_API_VERSION, SOURCE_KIND, source->namespace_name, source->name,
                  source->uid},
        .warning = event->severity == CATALOG_WARNING,
        .reason = event->reason,
        .action = "Reconcile",
        .note = event->message,
    };

    events_tell(kube->options.events, &told);
    if (kube->options.notifier)
        notify(kube, source, event);
}

static const struct catalog_module *kube_list_modules(struct catalog *catalog, size_t *count)
{
    struct kube_catalog *kube = kube_of(catalog);

    kube_modules_read(kube->modules, kube->lua, kube->options.log);
    return kube_modules_list(kube->modules, count);
}

static void kube_module_refused(struct catalog *catalog, const char *origin,
                                const struct error *error)
{
    const struct kube_catalog *kube = kube_of(catalog);
    struct event event = {
        .warning = true, .reason = error->reason, .action = "Load", .note = error->message};

    if (kube_modules_reference(kube->modules, origin, &event.about))
        events_tell(kube->options.events, &event);
}

static void kube_free(struct catalog *catalog)
{
    struct kube_catalog *kube = kube_of(catalog);

    reflector_free(kube->sources);
    reflector_free(kube->children);
    reflector_free(kube->lua);
    reflector_free(kube->config_maps);
    reflector_free(kube->secrets);
    kube_modules_free(kube->modules);
    free((char *)kube->options.namespace_name);
    free((char *)kube->options.label_selector);
    free((char *)kube->options.configs_label_selector);
    free(kube);
}

static const struct catalog_ops kube_ops = {
    .name = "kube",
    .start = kube_start,
    .get = kube_get,
    .get_object = kube_get_object,
    .declare = kube_declare,
    .publish = kube_publish,
    .withdraw = kube_withdraw,
    .patch_status = kube_patch_status,
    .patch_finalizer = kube_patch_finalizer,
    .event = kube_event,
    .modules = kube_list_modules,
    .module_refused = kube_module_refused,
    .free = kube_free,
};

static bool copy_texts(struct kube_catalog_options *options)
{
    const char **texts[] = {&options->namespace_name, &options->label_selector,
                            &options->configs_label_selector};
    bool copied = true;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *text = *texts[i];

        *texts[i] = text ? strdup(text) : NULL;
        copied = copied && (!text || *texts[i]);
    }
    return copied;
}

struct catalog *kube_catalog_new(const struct kube_catalog_options *options)
{
    struct kube_catalog *kube = calloc(1, sizeof(*kube));

    if (!kube)
        return NULL;
    kube->catalog.ops = &kube_ops;
    kube->options = *options;
    kube->modules = kube_modules_new();
    if (copy_texts(&kube->options) && kube->modules && kube_follow(kube))
        return &kube->catalog;
    kube_free(&kube->catalog);
    return NULL;
}
