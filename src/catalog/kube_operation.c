/* Operations of the Kubernetes catalog: see kube_catalog.h. One owner each: the operation frees
 * itself when it ends or is cancelled. */
#include <stdlib.h>
#include <string.h>

#include "base/delay.h"
#include "base/json.h"
#include "catalog/kube_catalog.h"

#define TRIES_MAX 20
#define PAUSE_MS 20 /* times the number of tries, with jitter */

static void cancel(struct operation *operation)
{
    struct kube_operation *made = (struct kube_operation *)operation;

    operation_cancel(&made->running);
    kube_operation_free(made);
}

struct kube_operation *kube_operation_new(struct kube_catalog *kube, struct source *source,
                                          void *context)
{
    struct kube_operation *operation = calloc(1, sizeof(*operation));

    if (!operation)
        return NULL;
    operation->operation.cancel = cancel;
    operation->kube = kube;
    operation->source = source ? source_ref(source) : NULL;
    operation->context = context;
    return operation;
}

void kube_operation_free(struct kube_operation *operation)
{
    source_unref(operation->source);
    json_decref(operation->wanted);
    json_decref(operation->before);
    artifact_record_free(operation->record);
    for (size_t i = 0; i < 3; i++)
        free(operation->names[i]);
    free(operation);
}

static void on_pause_over(void *context)
{
    struct kube_operation *operation = context;

    operation->running = NULL;
    operation->paused(operation);
}

struct error *kube_operation_begin(struct kube_operation *operation,
                                   void (*paused)(struct kube_operation *operation),
                                   struct operation **out)
{
    operation->paused = paused;
    struct error *error = delay_start(operation->kube->options.loop, 0, on_pause_over, operation,
                                      &operation->running);
    if (error)
        kube_operation_free(operation);
    else
        *out = &operation->operation;
    return error;
}

void kube_operation_pause(struct kube_operation *operation, int64_t delay_ms,
                          void (*paused)(struct kube_operation *operation))
{
    operation->paused = paused;
    struct error *error = delay_start(operation->kube->options.loop, delay_ms, on_pause_over,
                                      operation, &operation->running);
    if (error)
        kube_operation_fail(operation, error);
}

bool kube_operation_try_again(struct kube_operation *operation,
                              void (*paused)(struct kube_operation *operation))
{
    const struct kube_catalog_options *options = &operation->kube->options;
    uint64_t draw = options->random(options->random_context);
    int64_t longest = (int64_t)PAUSE_MS * ++operation->tries;

    if (operation->tries > TRIES_MAX)
        return false;
    kube_operation_pause(operation, (int64_t)(draw % (uint64_t)longest), paused);
    return true;
}

static void on_answer(void *context, struct error *error, const struct kube_response *response)
{
    struct kube_operation *operation = context;

    operation->running = NULL;
    if (error)
        kube_operation_fail(operation, error);
    else
        operation->answered(operation, response);
}

void kube_operation_send(struct kube_operation *operation, const struct kube_request *request,
                         void (*answered)(struct kube_operation *operation,
                                          const struct kube_response *response))
{
    struct error *error;

    operation->answered = answered;
    error = request->path ? kube_client_send(operation->kube->options.client, request, on_answer,
                                             operation, &operation->running)
                          : error_out_of_memory();
    if (error)
        kube_operation_fail(operation, error);
}

/* Frees it after its end was told, and wakes whom it kept asleep: that may cancel what came of the
 * end, but not the operation any more. */
static void end(struct kube_operation *operation)
{
    struct kube_catalog *kube = operation->kube;
    _cleanup_(source) struct source *moved =
        operation->moved ? source_ref(operation->source) : NULL;

    kube_operation_free(operation);
    if (moved)
        kube_wake(kube, moved->namespace_name, moved->name);
}

void kube_operation_fail(struct kube_operation *operation, struct error *error)
{
    switch (operation->shape) {
    case DONE_SOURCE:
        operation->done.source(operation->context, error, NULL);
        break;
    case DONE_OBJECT:
        operation->done.object(operation->context, error, NULL);
        break;
    case DONE_PLAIN:
        operation->done.plain(operation->context, error);
        break;
    case DONE_VERSION:
        operation->done.version(operation->context, error, NULL);
        break;
    }
    end(operation);
}

void kube_operation_succeed(struct kube_operation *operation)
{
    operation->done.plain(operation->context, NULL);
    end(operation);
}

void kube_operation_succeed_with(struct kube_operation *operation, const char *resource_version)
{
    operation->done.version(operation->context, NULL, resource_version);
    end(operation);
}

json_t *kube_find(const struct reflector *reflector, const char *namespace_name, const char *name)
{
    const struct reflector_object *found = reflector_find(reflector, namespace_name, name);
    json_t *object = NULL;

    if (found)
        error_free(json_parse(found->text, found->length, &object));
    return object;
}

void kube_put(struct kube_catalog *kube, struct reflector *reflector, const json_t *object)
{
    kube->writing = true;
    struct error *error = reflector_put(reflector, object);
    kube->writing = false;
    if (error)
        log_error(kube->options.log, NULL, error, "an answer of the API server is not kept", NULL);
    error_free(error);
}

static uint64_t fingerprint_of(const struct reflector *reflector, const json_t *object)
{
    const json_t *metadata = json_object_get(object, "metadata");
    const char *namespace_name = json_get_string(metadata, "namespace");
    const char *name = json_get_string(metadata, "name");
    const struct reflector_object *found =
        namespace_name && name ? reflector_find(reflector, namespace_name, name) : NULL;

    return found ? found->fingerprint : 0;
}

bool kube_put_read(struct kube_catalog *kube, struct reflector *reflector, const json_t *object)
{
    uint64_t before = fingerprint_of(reflector, object);

    kube_put(kube, reflector, object);
    return fingerprint_of(reflector, object) != before;
}
