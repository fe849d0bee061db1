/*
 * The table of primitives, and the record of a call. Ids are the core's own, never used twice in a
 * call, and found by looking into the call that the frame came for: a host cannot name another
 * call's things.
 */
#include "primitives/primitives.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "primitives/call.h"

#define PROTOCOL "Protocol"

static const struct {
    const char *name;
    primitive_function start;
} table[] = {
    {"http.request", primitive_http_request},
    {"secrets.get", primitive_secrets_get},
    {"secrets.sensitive", primitive_secrets_sensitive},
    {"secrets.text", primitive_secrets_text},
    {"blob.read", primitive_blob_read},
    {"time.now", primitive_time_now},
    {"time.sleep", primitive_time_sleep},
};

struct error *call_protocol_error(const char *what)
{
    return error_new(ERROR_INTERNAL, PROTOCOL, "the host broke the protocol: %s", what);
}

enum error_kind policy_denial_kind(const struct policy_answer *answer)
{
    return answer->unanswered ? ERROR_TRANSIENT : ERROR_CONFIGURATION;
}

/* Adds the origin of a URL that the manifest names; what is no URL is the module's to complain
 * about. */
static bool add_origin(struct primitive_call *call, const char *text)
{
    struct url url = URL_INIT;
    struct error *error = text ? url_parse(text, NULL, &url) : NULL;
    bool ok = true;

    if (text && !error) {
        char **origins = reallocarray(call->origins, call->origin_count + 1, sizeof(char *));

        ok = origins != NULL;
        if (origins) {
            call->origins = origins;
            origins[call->origin_count++] = TAKE(url.origin);
        }
    }
    error_free(error);
    url_free(&url);
    return ok;
}

/* The origins that the source's section names: `url`, and those in `allow_origins`. */
static bool add_origins(struct primitive_call *call)
{
    const json_t *config = call->source->spec->generator_config;
    bool ok = add_origin(call, json_get_string(config, "url"));
    size_t index;
    json_t *item;

    json_array_foreach(json_object_get(config, "allow_origins"), index, item)
    {
        ok = ok && add_origin(call, json_string_value(item));
    }
    return ok;
}

struct primitive_call *primitive_call_new(const struct primitive_services *services,
                                          struct source *source, const char *module,
                                          int64_t deadline_ms)
{
    struct primitive_call *call = calloc(1, sizeof(*call));

    if (!call)
        return NULL;
    call->services = services;
    call->source = source_ref(source);
    call->deadline_ms = deadline_ms;
    call->subject = (struct log_subject){source->namespace_name, source->name, NULL};
    call->module = strdup(module);
    if (call->module && add_origins(call))
        return call;
    primitive_call_free(call);
    return NULL;
}

static void drop_state(struct primitive_call *call)
{
    void (*free_state)(void *state) = call->free_state;
    void *state = call->state;

    call->state = NULL;
    call->free_state = NULL;
    if (free_state)
        free_state(state);
}

void primitive_call_free(struct primitive_call *call)
{
    if (!call)
        return;
    operation_cancel(&call->operation);
    drop_state(call);
    for (size_t i = 0; i < call->blob_count; i++)
        blob_unref(call->blobs[i].blob);
    for (size_t i = 0; i < call->secret_count; i++) {
        explicit_bzero(call->secrets[i].text, call->secrets[i].length);
        free(call->secrets[i].text);
        free(call->secrets[i].name);
        free(call->secrets[i].key);
    }
    for (size_t i = 0; i < call->origin_count; i++)
        free(call->origins[i]);
    free(call->blobs);
    free(call->secrets);
    free(call->origins);
    free(call->module);
    source_unref(call->source);
    free(call);
}

struct error *primitive_start(struct primitive_call *call, const char *name,
                              const json_t *arguments, const char *bytes, size_t length,
                              primitive_answered answered, void *context)
{
    if (call->answered)
        return call_protocol_error("a second primitive while one is in flight");
    if (!json_is_object(arguments))
        return call_protocol_error("arguments that are no object");
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(table[i].name, name) != 0)
            continue;
        call->answered = answered;
        call->context = context;
        struct error *error = table[i].start(call, arguments, bytes, length);
        if (!error || strcmp(error->reason, PROTOCOL) == 0)
            return error;
        drop_state(call);
        return call_answer_later(call, error, NULL, NULL, 0);
    }
    return call_protocol_error("an unknown primitive");
}

void call_answer(struct primitive_call *call, struct error *error, const json_t *value,
                 const void *bytes, size_t length)
{
    primitive_answered answered = call->answered;

    call->answered = NULL;
    call->operation = NULL;
    drop_state(call);
    answered(call->context, error, value, bytes, length);
}

struct later {
    struct operation operation;
    uv_timer_t timer;
    struct primitive_call *call;
    struct error *error;
    json_t *value;
    struct buffer bytes;
};

static void later_closed(uv_handle_t *handle)
{
    struct later *later = handle->data;

    error_free(later->error);
    json_decref(later->value);
    buffer_free(&later->bytes);
    free(later);
}

static void later_cancel(struct operation *operation)
{
    struct later *later = (struct later *)operation;

    uv_close((uv_handle_t *)&later->timer, later_closed);
}

static void later_fired(uv_timer_t *timer)
{
    struct later *later = timer->data;

    uv_close((uv_handle_t *)timer, later_closed);
    call_answer(later->call, TAKE(later->error), later->value, buffer_string(&later->bytes),
                later->bytes.length);
}

struct error *call_answer_later(struct primitive_call *call, struct error *error, json_t *value,
                                const void *bytes, size_t length)
{
    struct later *later = calloc(1, sizeof(*later));

    if (!later || (!error && !value)) {
        free(later);
        error_free(error);
        json_decref(value);
        return error_out_of_memory();
    }
    later->operation.cancel = later_cancel;
    later->call = call;
    later->error = error;
    later->value = value;
    if (length > 0)
        buffer_append(&later->bytes, bytes, length);
    if (later->bytes.failed && !error)
        later->error = error_out_of_memory();
    later->timer.data = later;
    uv_timer_init(call->services->loop, &later->timer);
    uv_timer_start(&later->timer, later_fired, 0, 0);
    call->operation = &later->operation;
    return NULL;
}

static struct error *too_many(const char *what)
{
    return error_new(ERROR_TRANSIENT, "MemoryLimit", "a call may hold 1024 %s at most", what);
}

struct error *call_add_blob(struct primitive_call *call, struct blob *blob, uint64_t *id)
{
    struct call_blob *blobs = call->blob_count < CALL_BLOBS_MAX
                                  ? reallocarray(call->blobs, call->blob_count + 1, sizeof(*blobs))
                                  : NULL;

    if (!blobs) {
        blob_unref(blob);
        return call->blob_count < CALL_BLOBS_MAX ? error_out_of_memory() : too_many("blobs");
    }
    call->blobs = blobs;
    *id = ++call->last_id;
    blobs[call->blob_count++] = (struct call_blob){*id, blob};
    return NULL;
}

struct blob *primitive_call_blob(struct primitive_call *call, uint64_t id)
{
    for (size_t i = 0; i < call->blob_count; i++) {
        if (call->blobs[i].id == id)
            return blob_ref(call->blobs[i].blob);
    }
    return NULL;
}

struct error *call_add_secret(struct primitive_call *call, const char *name, const char *key,
                              const void *text, size_t length, uint64_t *id)
{
    struct call_secret *secrets =
        call->secret_count < CALL_SECRETS_MAX
            ? reallocarray(call->secrets, call->secret_count + 1, sizeof(*secrets))
            : NULL;

    if (!secrets)
        return call->secret_count < CALL_SECRETS_MAX ? error_out_of_memory() : too_many("secrets");
    call->secrets = secrets;
    *id = ++call->last_id;
    struct call_secret *secret = &secrets[call->secret_count];
    *secret = (struct call_secret){
        .id = *id,
        .text = malloc(length + 1),
        .length = length,
        .name = name ? strdup(name) : NULL,
        .key = key ? strdup(key) : NULL,
    };
    if (!secret->text || (name && !secret->name) || (key && !secret->key)) {
        free(secret->text);
        free(secret->name);
        free(secret->key);
        return error_out_of_memory();
    }
    memcpy(secret->text, text, length);
    secret->text[length] = '\0';
    call->secret_count++;
    return NULL;
}

const struct call_secret *call_find_secret(const struct primitive_call *call, uint64_t id)
{
    for (size_t i = 0; i < call->secret_count; i++) {
        if (call->secrets[i].id == id)
            return &call->secrets[i];
    }
    return NULL;
}

static bool resolve_part(const struct primitive_call *call, const json_t *part, struct buffer *text,
                         bool *sensitive)
{
    if (json_is_string(part)) {
        buffer_append(text, json_string_value(part), json_string_length(part));
        return true;
    }
    const struct call_secret *secret =
        call_find_secret(call, (uint64_t)json_get_integer(part, "id", 0));
    if (!secret)
        return false;
    buffer_append(text, secret->text, secret->length);
    *sensitive = true;
    return true;
}

bool call_resolve_text(const struct primitive_call *call, const json_t *value, struct buffer *text,
                       bool *sensitive)
{
    const json_t *parts = json_object_get(value, "secret");
    size_t index;
    json_t *part;

    if (json_is_string(value))
        return resolve_part(call, value, text, sensitive);
    if (!json_is_array(parts))
        return false;
    json_array_foreach(parts, index, part)
    {
        if (!resolve_part(call, part, text, sensitive))
            return false;
    }
    return true;
}

json_t *call_source_json(const struct primitive_call *call)
{
    return json_pack("{s:s, s:s, s:O}", "namespace", call->source->namespace_name, "name",
                     call->source->name, "labels", call->source->labels);
}

/* Short texts, such as "a", would mask half of a message and tell nothing that can be used. */
#define MASKED_LENGTH_MIN 4

static const struct call_secret *secret_at(const struct primitive_call *call, const char *text)
{
    const struct call_secret *longest = NULL;

    for (size_t i = 0; i < call->secret_count; i++) {
        const struct call_secret *secret = &call->secrets[i];

        if (secret->length >= MASKED_LENGTH_MIN &&
            strncmp(text, secret->text, secret->length) == 0 &&
            (!longest || secret->length > longest->length))
            longest = secret;
    }
    return longest;
}

char *primitive_call_mask(const struct primitive_call *call, const char *text)
{
    struct buffer masked = BUFFER_INIT;

    while (*text) {
        const struct call_secret *secret = secret_at(call, text);

        if (secret)
            buffer_append_string(&masked, "***");
        else
            buffer_append_byte(&masked, *text);
        text += secret ? secret->length : 1;
    }
    return buffer_steal(&masked);
}
