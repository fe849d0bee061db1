/*
 * Secrets: secrets.get makes handles of a Secret's keys, secrets.sensitive one of an upstream
 * value, and secrets.text, the only way by which a text enters Lua, asks the policies for every
 * secret in it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "primitives/call.h"

struct reading {
    char *name;
    char *key; /* NULL: all of them */
};

static void reading_free(void *state)
{
    struct reading *reading = state;

    free(reading->name);
    free(reading->key);
    free(reading);
}

static struct error *missing_secret(const struct primitive_call *call, const char *name)
{
    return error_new(ERROR_CONFIGURATION, "InvalidSpec",
                     "Secret %s/%s: not found; spec.generator.%s refers to it",
                     call->source->namespace_name, name, call->source->spec->generator_type);
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static struct error *missing_key(const struct primitive_call *call, const struct reading *reading,
                                 const json_t *data)
{
    _cleanup_(buffer) struct buffer keys = BUFFER_INIT;
    size_t count = json_object_size(data);
    _cleanup_(free) const char **names = calloc(count ? count : 1, sizeof(char *));
    size_t filled = 0;
    const char *key;
    json_t *value;

    if (!names)
        return error_out_of_memory();
    json_object_foreach((json_t *)data, key, value)
    {
        names[filled++] = key;
    }
    qsort(names, filled, sizeof(char *), compare_texts);
    for (size_t i = 0; i < filled; i++)
        buffer_appendf(&keys, "%s%s", i ? ", " : "", names[i]);
    return error_new(
        ERROR_CONFIGURATION, "InvalidSpec",
        "Secret %s/%s: has no key '%s', which spec.generator.%s refers to; its keys: %s",
        call->source->namespace_name, reading->name, reading->key,
        call->source->spec->generator_type, filled ? buffer_string(&keys) : "none");
}

static struct error *add_key(struct primitive_call *call, const char *name, const char *key,
                             const json_t *encoded, json_t *ids)
{
    struct buffer text = BUFFER_INIT;
    uint64_t id = 0;
    struct error *error = NULL;

    if (!base64_decode(&text, json_string_value(encoded), json_string_length(encoded)))
        error = error_new(ERROR_CONFIGURATION, "InvalidSpec", "Secret %s/%s: key '%s' is no base64",
                          call->source->namespace_name, name, key);
    if (!error)
        error = call_add_secret(call, name, key, buffer_string(&text), text.length, &id);
    if (!error && json_object_set_new(ids, key, json_integer((json_int_t)id)))
        error = error_out_of_memory();
    if (text.bytes)
        explicit_bzero(text.bytes, text.length);
    buffer_free(&text);
    return error;
}

static struct error *add_keys(struct primitive_call *call, const struct reading *reading,
                              const json_t *data, json_t *ids)
{
    struct error *error = NULL;
    const char *key;
    json_t *value;

    if (reading->key) {
        const json_t *only = json_object_get(data, reading->key);

        return only ? add_key(call, reading->name, reading->key, only, ids)
                    : missing_key(call, reading, data);
    }
    json_object_foreach((json_t *)data, key, value)
    {
        if (!error)
            error = add_key(call, reading->name, key, value, ids);
    }
    return error;
}

static void secret_read(void *context, struct error *error, const struct catalog_object *object)
{
    struct primitive_call *call = context;
    const struct reading *reading = call->state;
    _cleanup_(json) json_t *ids = json_object();

    if (!error && !object)
        error = missing_secret(call, reading->name);
    if (!error)
        error = ids ? add_keys(call, reading, object->data, ids) : error_out_of_memory();
    _cleanup_(json) json_t *value = error ? NULL : json_pack("{s:O}", "keys", ids);
    if (!error && !value)
        error = error_out_of_memory();
    call_answer(call, error, value, NULL, 0);
}

struct error *primitive_secrets_get(struct primitive_call *call, const json_t *arguments,
                                    const char *bytes, size_t length)
{
    const char *name = json_get_string(arguments, "name");
    const char *key = json_get_string(arguments, "key");
    struct reading *reading;

    (void)bytes;
    (void)length;
    if (!name)
        return call_protocol_error("secrets.get without a name");
    reading = calloc(1, sizeof(*reading));
    if (!reading)
        return error_out_of_memory();
    call->state = reading;
    call->free_state = reading_free;
    reading->name = strdup(name);
    reading->key = key ? strdup(key) : NULL;
    if (!reading->name || (key && !reading->key))
        return error_out_of_memory();
    return catalog_get_object(call->services->catalog, "Secret", call->source->namespace_name, name,
                              secret_read, call, &call->operation);
}

struct error *primitive_secrets_sensitive(struct primitive_call *call, const json_t *arguments,
                                          const char *bytes, size_t length)
{
    uint64_t id = 0;
    struct error *error = call_add_secret(call, NULL, NULL, bytes, length, &id);

    (void)arguments;
    return call_answer_later(call, error, error ? NULL : json_pack("{s:I}", "id", (json_int_t)id),
                             NULL, 0);
}

/* The texts of a handle's parts are asked for one by one. */
struct disclosure {
    json_t *handle;
    size_t index; /* of the next part to ask about */
};

static void disclosure_free(void *state)
{
    struct disclosure *disclosure = state;

    json_decref(disclosure->handle);
    free(disclosure);
}

static const struct call_secret *secret_of_part(const struct primitive_call *call,
                                                const json_t *part)
{
    return call_find_secret(call, (uint64_t)json_get_integer(part, "id", 0));
}

static void disclose(struct primitive_call *call)
{
    const struct disclosure *disclosure = call->state;
    _cleanup_(json) json_t *value = json_object();
    struct buffer text = BUFFER_INIT;
    bool sensitive = false;
    struct error *error = NULL;

    if (!value || !call_resolve_text(call, disclosure->handle, &text, &sensitive) || text.failed)
        error = error_out_of_memory();
    call_answer(call, error, value, buffer_string(&text), text.length);
    if (text.bytes)
        explicit_bzero(text.bytes, text.length);
    buffer_free(&text);
}

/* Asks about the next secret of the handle; *asked is false if there is none left. */
static struct error *ask_next(struct primitive_call *call, bool *asked);

static void disclosure_decided(void *context, const struct policy_answer *answer)
{
    struct primitive_call *call = context;
    bool asked = true;
    struct error *error;

    call->operation = NULL;
    if (answer->allowed)
        error = ask_next(call, &asked);
    else
        error = error_new(policy_denial_kind(answer), "SecretDenied",
                          "handle:text() in module '%s': %s; a policy of the type 'secrets' must "
                          "allow it",
                          call->module, answer->reason);
    if (error)
        call_answer(call, error, NULL, NULL, 0);
    else if (!asked)
        disclose(call);
}

static struct error *ask_next(struct primitive_call *call, bool *asked)
{
    struct disclosure *disclosure = call->state;
    const json_t *parts = json_object_get(disclosure->handle, "secret");
    const struct call_secret *secret = NULL;

    while (!secret && disclosure->index < json_array_size(parts))
        secret = secret_of_part(call, json_array_get(parts, disclosure->index++));
    *asked = secret != NULL;
    if (!secret)
        return NULL;
    _cleanup_(json) json_t *request = json_pack(
        "{s:o, s:s, s:s, s:s}", "source", call_source_json(call), "module", call->module, "secret",
        secret->name ? secret->name : "", "key", secret->key ? secret->key : "");
    if (!request)
        return error_out_of_memory();
    return call->services->ask_policy(call->services->policy_context, "secrets", request,
                                      disclosure_decided, call, &call->operation);
}

struct error *primitive_secrets_text(struct primitive_call *call, const json_t *arguments,
                                     const char *bytes, size_t length)
{
    struct disclosure *disclosure;
    bool asked = false;

    (void)bytes;
    (void)length;
    if (!json_is_array(json_object_get(arguments, "secret")))
        return call_protocol_error("secrets.text without a handle");
    disclosure = calloc(1, sizeof(*disclosure));
    if (!disclosure)
        return error_out_of_memory();
    disclosure->handle = json_incref((json_t *)arguments);
    call->state = disclosure;
    call->free_state = disclosure_free;
    struct error *error = ask_next(call, &asked);
    return error || asked ? error : call_protocol_error("a handle without a secret");
}
