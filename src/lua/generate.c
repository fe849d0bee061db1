/*
 * Calls into generators: the request that goes to the host, the primitives that it asks for
 * meanwhile, and the result, checked as what it is: a message from a process that runs other
 * people's code.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lua/generation.h"
#include "lua/text.h"

#define RETRY_AFTER_MAX_SECONDS 86400.0
#define LABEL_MAX 200

struct generate {
    struct host_request request; /* first: see generation.h */
    struct operation operation;
    struct lua_runtime *runtime;
    struct source *source;
    char *token;
    struct primitive_call *primitives;
    bool allow_empty;
    generator_done done;
    void *context;
};

static struct generate *generate_of(struct host_request *request)
{
    return (struct generate *)request;
}

static void generate_free(struct generate *generate)
{
    lua_host_end(&generate->request);
    primitive_call_free(generate->primitives);
    source_unref(generate->source);
    free(generate->token);
    free(generate);
}

static void generate_cancel(struct operation *operation)
{
    struct generate *generate =
        (struct generate *)((char *)operation - offsetof(struct generate, operation));

    lua_host_cancel(&generate->request);
    generate_free(generate);
}

/* "generator 'http': …", with secrets masked. */
static struct error *word_error(const struct generate *generate, struct error *error)
{
    _cleanup_(free) char *masked = primitive_call_mask(generate->primitives, error->message);
    _cleanup_(free) char *section = NULL;
    struct error *worded;

    if (!masked)
        return error;
    /* A module that says no more means its section. */
    if (error->kind == ERROR_CONFIGURATION)
        section = format_string("spec.generator.%s", generate->source->spec->generator_type);
    /* What is about a field of the manifest, or about an upstream, needs no more words. */
    if (strcmp(error->reason, "InvalidSpec") == 0)
        worded = error_new(error->kind, error->reason, "%s", masked);
    else
        worded = error_new(error->kind, error->reason, "generator '%s': %s",
                           generate->source->spec->generator_type, masked);
    worded->retry_after_ms = error->retry_after_ms;
    worded = error_about_field(worded, error->field ? error->field : section);
    error_free(error);
    return worded;
}

static void finish(struct generate *generate, struct error *error, struct generator_result *result)
{
    lua_host_end(&generate->request);
    if (error)
        error = word_error(generate, error);
    generate->done(generate->context, error, result);
    generate_free(generate);
}

static void generate_failed(struct host_request *request, struct error *error)
{
    finish(generate_of(request), error, NULL);
}

static json_t *request_json(const struct generate *generate)
{
    const struct source *source = generate->source;

    return json_pack("{s:s, s:I, s:{s:s, s:O, s:s*, s:{s:s, s:s, s:O, s:I}}}", "op", "call", "call",
                     (json_int_t)generate->request.id, "request", "type",
                     source->spec->generator_type, "config", source->spec->generator_config,
                     "last_modified", generate->token, "source", "namespace",
                     source->namespace_name, "name", source->name, "labels", source->labels,
                     "generation", (json_int_t)source->generation);
}

/* Sent again after the death of a host, a call begins anew: with none of the old one's blobs. */
static struct error *generate_send(struct host_request *request)
{
    struct generate *generate = generate_of(request);
    _cleanup_(json) json_t *json = request_json(generate);

    primitive_call_free(generate->primitives);
    generate->primitives =
        primitive_call_new(&generate->runtime->services, generate->source,
                           generate->source->spec->generator_type, request->deadline_ms);
    if (!json || !generate->primitives)
        return error_out_of_memory();
    return lua_host_send(request->host, json, NULL, 0);
}

static json_t *error_json(const struct error *error)
{
    return json_pack("{s:s, s:s, s:s, s:f}", "reason", error->reason, "kind",
                     error_kind_name(error->kind), "message", error->message, "retry_after",
                     (double)error->retry_after_ms / 1000.0);
}

static void primitive_done(void *context, struct error *error, const json_t *value,
                           const void *bytes, size_t length)
{
    struct generate *generate = context;
    struct host_request *request = &generate->request;

    if (!request->sent) {
        error_free(error); /* the host that asked has died; the call begins anew */
        return;
    }
    _cleanup_(json) json_t *json =
        error ? json_pack("{s:s, s:I, s:o}", "op", "reply", "call", (json_int_t)request->id,
                          "error", error_json(error))
              : json_pack("{s:s, s:I, s:O}", "op", "reply", "call", (json_int_t)request->id,
                          "value", value);

    error_free(error);
    error = json ? lua_host_send(request->host, json, bytes, length) : error_out_of_memory();
    if (error) {
        lua_host_cancel(request);
        finish(generate, error, NULL);
    }
}

static struct error *protocol(const char *what)
{
    return error_new(ERROR_INTERNAL, "Protocol", "%s", what);
}

static struct error *take_primitive(struct generate *generate, struct channel_frame *frame)
{
    const char *name = json_get_string(frame->json, "name");

    if (!name)
        return protocol("a primitive without a name");
    return primitive_start(generate->primitives, name, json_object_get(frame->json, "arguments"),
                           frame->bytes, frame->length, primitive_done, generate);
}

/* The error that a module or a primitive raised. Lua may raise three kinds. */
static struct error *raised_error(const json_t *json)
{
    const char *kind_name = json_get_string(json, "kind");
    const char *reason = json_get_string(json, "reason");
    const char *message = json_get_string(json, "message");
    double retry_after = json_number_value(json_object_get(json, "retry_after"));
    enum error_kind kind = ERROR_TRANSIENT;
    struct buffer clean = BUFFER_INIT;

    if (kind_name && strcmp(kind_name, "configuration") == 0)
        kind = ERROR_CONFIGURATION;
    if (kind_name && strcmp(kind_name, "upstream") == 0)
        kind = ERROR_UPSTREAM;
    text_clean(&clean, message ? message : "", message ? strlen(message) : 0, TEXT_MESSAGE_MAX);
    struct error *error = error_new(
        kind, reason && error_reason_valid(reason, strlen(reason)) ? reason : "GeneratorFailed",
        "%s", buffer_string(&clean));
    buffer_free(&clean);
    if (retry_after > 0 && retry_after < RETRY_AFTER_MAX_SECONDS)
        error->retry_after_ms = (int64_t)(retry_after * 1000.0);
    else if (retry_after >= RETRY_AFTER_MAX_SECONDS)
        error->retry_after_ms = (int64_t)(RETRY_AFTER_MAX_SECONDS * 1000.0);
    return kind == ERROR_CONFIGURATION ? error_about_field(error, json_get_string(json, "path"))
                                       : error;
}

/* The content that {blob} or {at, length} stands for. */
static struct error *content_of(struct generate *generate, const json_t *content,
                                const struct channel_frame *frame, struct blob **blob)
{
    const json_t *id = json_object_get(content, "blob");
    int64_t at = json_get_integer(content, "at", -1);
    int64_t length = json_get_integer(content, "length", -1);

    if (json_is_integer(id)) {
        *blob = primitive_call_blob(generate->primitives, (uint64_t)json_integer_value(id));
        return *blob ? NULL : protocol("a result of a blob that the call does not hold");
    }
    if (at < 0 || length < 0 || (uint64_t)at > frame->length ||
        (uint64_t)length > frame->length - (uint64_t)at)
        return protocol("a result outside its frame");
    return blob_from_bytes(generate->runtime->options.blobs, frame->bytes + at, (size_t)length,
                           blob);
}

static struct error *take_files(struct generate *generate, const json_t *files,
                                const struct channel_frame *frame, struct payload **payload)
{
    size_t index;
    json_t *file;

    *payload = payload_new_files();
    if (!*payload)
        return error_out_of_memory();
    json_array_foreach(files, index, file)
    {
        const json_t *path = json_object_get(file, "path");
        struct blob *blob = NULL;
        struct error *error = json_is_string(path) ? content_of(generate, file, frame, &blob)
                                                   : protocol("a file without a path");
        if (!error)
            error = payload_add(*payload, json_string_value(path), json_string_length(path), blob);
        if (error)
            return error;
    }
    return NULL;
}

static struct error *take_data(struct generate *generate, const json_t *data,
                               const struct channel_frame *frame, struct payload **payload)
{
    const json_t *files = json_object_get(data, "files");
    struct blob *blob = NULL;

    *payload = NULL;
    if (json_is_array(files))
        return take_files(generate, files, frame, payload);
    struct error *error = content_of(generate, data, frame, &blob);
    if (error)
        return error;
    *payload = payload_new_single(blob);
    return *payload ? NULL : error_out_of_memory();
}

static bool strings_only(const json_t *object)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        if (!json_is_string(value))
            return false;
    }
    return true;
}

static bool label_valid(const char *label)
{
    size_t length = strlen(label);

    return length > 0 && length <= LABEL_MAX &&
           strspn(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-") ==
               length;
}

static struct error *empty_result(void)
{
    return error_new(ERROR_UPSTREAM, "EmptyResult",
                     "upstream gave nothing, and an empty artifact makes Flux prune everything; "
                     "set spec.allowEmpty: true if it is meant");
}

static struct error *take_result(struct generate *generate, const json_t *value,
                                 const struct channel_frame *frame, struct generator_result *result)
{
    const json_t *metadata = json_object_get(value, "metadata");

    result->not_modified = json_get_boolean(value, "not_modified", false);
    if (result->not_modified)
        return generate->token ? NULL
                               : error_new(ERROR_TRANSIENT, "InvalidResult",
                                           "it said 'not modified' without having been given a "
                                           "token");
    struct error *error = take_data(generate, json_object_get(value, "data"), frame, &result->data);
    if (error)
        return error;
    if (payload_empty(result->data) && !generate->allow_empty)
        return empty_result();
    result->token = json_get_string(value, "last_modified");
    result->revision_label = json_get_string(value, "revision_label");
    if (result->revision_label && !label_valid(result->revision_label))
        return error_new(ERROR_TRANSIENT, "InvalidResult",
                         "revision_label may have letters, digits and ._/- only");
    result->metadata = json_is_object(metadata) ? metadata : NULL;
    return strings_only(metadata) ? NULL : protocol("metadata that are no strings");
}

static struct error *take_return(struct generate *generate, struct channel_frame *frame)
{
    const json_t *value = json_object_get(frame->json, "value");
    struct generator_result result = {0};
    struct error *error = take_result(generate, value, frame, &result);

    if (error && strcmp(error->reason, "Protocol") == 0) {
        payload_free(result.data);
        return error;
    }
    if (error)
        payload_free(TAKE(result.data));
    finish(generate, error, error ? NULL : &result);
    payload_free(result.data);
    return NULL;
}

static struct error *generate_received(struct host_request *request, const char *op,
                                       struct channel_frame *frame)
{
    struct generate *generate = generate_of(request);
    const char *level = json_get_string(frame->json, "level");

    if (strcmp(op, "primitive") == 0)
        return take_primitive(generate, frame);
    if (strcmp(op, "return") == 0)
        return take_return(generate, frame);
    if (strcmp(op, "error") == 0) {
        finish(generate, raised_error(json_object_get(frame->json, "error")), NULL);
        return NULL;
    }
    if (strcmp(op, "log") != 0 || !level)
        return protocol("an unknown op");
    struct buffer clean = BUFFER_INIT;
    text_clean(&clean, frame->bytes, frame->length, TEXT_MESSAGE_MAX);
    primitive_call_log(generate->primitives, level, buffer_string(&clean));
    buffer_free(&clean);
    return NULL;
}

/* Known before anything is sent: the message is the same as the factory's. */
static struct error *check_type(const struct lua_host *host, const char *type)
{
    _cleanup_(buffer) struct buffer types = BUFFER_INIT;
    size_t index;
    json_t *known;

    json_array_foreach(host->types, index, known)
    {
        if (json_is_string(known) && strcmp(json_string_value(known), type) == 0)
            return NULL;
        buffer_appendf(&types, "%s%s", index ? ", " : "", json_string_value(known));
    }
    return error_about_field(error_new(ERROR_CONFIGURATION, "InvalidSpec",
                                       "spec.generator.type: found '%s'; accepted: %s", type,
                                       buffer_string(&types)),
                             "spec.generator.type");
}

struct error *lua_generate(struct lua_runtime *runtime, const struct generator_call *call,
                           generator_done done, void *context, struct operation **operation)
{
    int64_t timeout = call->timeout_ms > 0 ? call->timeout_ms : runtime->options.http_timeout_ms;
    struct lua_host *host = runtime->current ? &runtime->current->generator : NULL;
    struct error *error = host
                              ? check_type(host, call->source->spec->generator_type)
                              : error_new(ERROR_TRANSIENT, "NotReady", "no modules are loaded yet");
    struct generate *generate = error ? NULL : calloc(1, sizeof(*generate));

    if (error)
        return error;
    if (!generate)
        return error_out_of_memory();
    generate->request.send = generate_send;
    generate->request.received = generate_received;
    generate->request.failed = generate_failed;
    generate->request.deadline_ms = clock_monotonic_ms(runtime->options.clock) + timeout;
    generate->operation.cancel = generate_cancel;
    generate->runtime = runtime;
    generate->source = source_ref((struct source *)call->source);
    generate->token = call->token ? strdup(call->token) : NULL;
    generate->allow_empty = call->source->spec->allow_empty;
    generate->done = done;
    generate->context = context;
    error = call->token && !generate->token ? error_out_of_memory()
                                            : lua_host_begin(host, &generate->request);
    if (error) {
        generate_free(generate);
        return error;
    }
    *operation = &generate->operation;
    return NULL;
}
