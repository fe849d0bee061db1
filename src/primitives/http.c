/*
 * http.request: the upstream request of a generator.
 *
 * What the module asks for goes through the core's client; secrets become text only here, on their
 * way out, and only for the origins that the source's own section names. The policies are asked for
 * each hop.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "primitives/call.h"

#define CONNECT_TIMEOUT_MS 10000
#define REDIRECTS_MAX 10
#define HEADERS_MAX 200

struct fetch {
    struct primitive_call *call;
    struct egress egress;
    struct http_header *headers;
    size_t header_count;
    struct buffer ca, certificate, key; /* PEM */
    struct blob *body;
};

static void wipe(struct buffer *buffer)
{
    if (buffer->bytes)
        explicit_bzero(buffer->bytes, buffer->length);
    buffer_free(buffer);
}

static void fetch_free(void *state)
{
    struct fetch *fetch = state;

    for (size_t i = 0; i < fetch->header_count; i++) {
        char *value = (char *)fetch->headers[i].value;

        if (value)
            explicit_bzero(value, strlen(value));
        free(value);
        free((char *)fetch->headers[i].name);
    }
    free(fetch->headers);
    wipe(&fetch->ca);
    wipe(&fetch->certificate);
    wipe(&fetch->key);
    if (fetch->body)
        blob_unref(fetch->body);
    free(fetch);
}

/* The policy's answer in the client's terms, which names the hop in what it says of a failure. */
struct question {
    struct operation operation;
    struct operation *asking;
    egress_decided decided;
    void *context;
};

static void question_cancel(struct operation *operation)
{
    struct question *question = (struct question *)operation;

    operation_cancel(&question->asking);
    free(question);
}

static void policy_decided(void *context, const struct policy_answer *answer)
{
    struct question *question = context;
    egress_decided decided = question->decided;
    void *decided_context = question->context;
    struct error *denied = NULL;

    if (!answer->allowed)
        denied = error_new(policy_denial_kind(answer), "EgressDenied", "denied by policy: %s",
                           answer->reason);
    free(question);
    decided(decided_context, denied, answer->refused, answer->refused_count);
}

static json_t *request_for_policy(const struct fetch *fetch, const struct egress_request *request)
{
    return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:i, s:b}", "source",
                     call_source_json(fetch->call), "module", fetch->call->module, "method",
                     request->method, "url", request->url, "scheme", request->scheme, "host",
                     request->host, "port", (int)request->port, "redirect", request->redirect);
}

static struct error *ask_egress(void *context, const struct egress_request *request,
                                egress_decided decided, void *decided_context,
                                struct operation **operation)
{
    struct fetch *fetch = context;
    const struct primitive_services *services = fetch->call->services;
    struct question *question = calloc(1, sizeof(*question));
    _cleanup_(json) json_t *json = request_for_policy(fetch, request);

    if (!question || !json) {
        free(question);
        return error_out_of_memory();
    }
    question->operation.cancel = question_cancel;
    question->decided = decided;
    question->context = decided_context;
    struct error *error = services->ask_policy(services->policy_context, "egress", json,
                                               policy_decided, question, &question->asking);
    if (error) {
        free(question);
        return error;
    }
    *operation = &question->operation;
    return NULL;
}

/* {basic: [username, password]} (RFC 7617). */
static bool resolve_basic(const struct primitive_call *call, const json_t *pair,
                          struct buffer *value, bool *sensitive)
{
    struct buffer plain = BUFFER_INIT;
    bool ok = call_resolve_text(call, json_array_get(pair, 0), &plain, sensitive);

    buffer_append_byte(&plain, ':');
    ok = ok && call_resolve_text(call, json_array_get(pair, 1), &plain, sensitive);
    buffer_append_string(value, "Basic ");
    base64_encode(value, buffer_string(&plain), plain.length);
    value->failed |= plain.failed;
    wipe(&plain);
    *sensitive = true;
    return ok;
}

static struct error *add_header(struct fetch *fetch, const json_t *header)
{
    const char *name = json_string_value(json_array_get(header, 0));
    const json_t *value = json_array_get(header, 1);
    const json_t *basic = json_object_get(value, "basic");
    struct buffer text = BUFFER_INIT;
    bool sensitive = false;

    if (!name || !(basic ? resolve_basic(fetch->call, basic, &text, &sensitive)
                         : call_resolve_text(fetch->call, value, &text, &sensitive))) {
        wipe(&text);
        return call_protocol_error("a header that is none");
    }
    if (strlen(buffer_string(&text)) != text.length) {
        wipe(&text);
        return error_new(ERROR_CONFIGURATION, "InvalidHeader",
                         "header '%s': its value has a NUL byte", name);
    }
    struct http_header *added = &fetch->headers[fetch->header_count++];
    added->name = strdup(name);
    added->value = buffer_steal(&text);
    added->sensitive = sensitive;
    return added->name && added->value ? NULL : error_out_of_memory();
}

static struct error *add_headers(struct fetch *fetch, const json_t *arguments)
{
    const json_t *headers = json_object_get(arguments, "headers");
    size_t count = json_array_size(headers);
    struct error *error = NULL;

    if (count > HEADERS_MAX)
        return error_new(ERROR_CONFIGURATION, "InvalidHeader", "more than %d headers", HEADERS_MAX);
    fetch->headers = calloc(count ? count : 1, sizeof(struct http_header));
    if (!fetch->headers)
        return error_out_of_memory();
    for (size_t i = 0; !error && i < count; i++)
        error = add_header(fetch, json_array_get(headers, i));
    return error;
}

static struct error *add_pem(struct fetch *fetch, const json_t *arguments, const char *name,
                             struct buffer *pem)
{
    const json_t *value = json_object_get(arguments, name);
    bool sensitive = false;

    if (!value || json_is_null(value))
        return NULL;
    if (!call_resolve_text(fetch->call, value, pem, &sensitive))
        return call_protocol_error("TLS material that is no text");
    return buffer_error(pem);
}

static struct error *add_body(struct fetch *fetch, const json_t *arguments, const char *bytes,
                              size_t length)
{
    struct primitive_call *call = fetch->call;
    const json_t *id = json_object_get(arguments, "blob");

    if (json_is_integer(id)) {
        fetch->body = primitive_call_blob(call, (uint64_t)json_integer_value(id));
        return fetch->body ? NULL : call_protocol_error("a blob that the call does not hold");
    }
    if (!json_get_boolean(arguments, "body", false))
        return NULL;
    return blob_from_bytes(call->services->blobs, bytes, length, &fetch->body);
}

static struct error *fill(struct fetch *fetch, const json_t *arguments, const char *bytes,
                          size_t length)
{
    struct error *error = add_headers(fetch, arguments);

    if (!error)
        error = add_pem(fetch, arguments, "ca", &fetch->ca);
    if (!error)
        error = add_pem(fetch, arguments, "certificate", &fetch->certificate);
    if (!error)
        error = add_pem(fetch, arguments, "key", &fetch->key);
    return error ? error : add_body(fetch, arguments, bytes, length);
}

/* What Retry-After asks for, in seconds; 0 where it asks for nothing. */
static double retry_after(const struct primitive_call *call, const struct http_response *response)
{
    return (double)http_response_retry_after_ms(response, call->services->clock) / 1000.0;
}

/* Header values are bytes; what is no UTF-8 is left out, for messages are JSON. */
static json_t *headers_json(const struct http_response *response)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < response->header_count; i++) {
        json_t *value = json_string(response->headers[i].value);

        if (value &&
            json_array_append_new(list, json_pack("[s, o]", response->headers[i].name, value)))
            json_decref(TAKE(list));
    }
    return list;
}

static struct error *make_answer(struct primitive_call *call, const struct http_response *response,
                                 json_t **value)
{
    _cleanup_(free) char *shown = url_for_people(response->url);
    json_t *headers = headers_json(response);
    uint64_t id = 0;
    struct error *error;

    if (!shown || !headers) {
        json_decref(headers);
        return error_out_of_memory();
    }
    error = call_add_blob(call, blob_ref(response->body), &id);
    if (error) {
        json_decref(headers);
        return error;
    }
    *value = json_pack("{s:i, s:s, s:s, s:o, s:I, s:I, s:f}", "status", (int)response->status,
                       "url", response->url, "shown", shown, "headers", headers, "blob",
                       (json_int_t)id, "length", (json_int_t)blob_length(response->body),
                       "retry_after", retry_after(call, response));
    return *value ? NULL : error_out_of_memory();
}

static void fetched(void *context, struct error *error, const struct http_response *response)
{
    struct fetch *fetch = context;
    struct primitive_call *call = fetch->call;
    _cleanup_(json) json_t *value = NULL;

    if (!error)
        error = make_answer(call, response, &value);
    call_answer(call, error, value, NULL, 0);
}

/* What is left of the call's time, or less if the module says so. */
static int64_t timeout_of(const struct primitive_call *call, const json_t *arguments)
{
    int64_t left = call->deadline_ms - clock_monotonic_ms(call->services->clock);
    double asked = json_number_value(json_object_get(arguments, "timeout")) * 1000.0;

    if (asked > 0 && asked < (double)left)
        left = (int64_t)asked;
    return left > 0 ? left : 1;
}

static struct error *send_request(struct fetch *fetch, const json_t *arguments)
{
    struct primitive_call *call = fetch->call;
    const struct primitive_services *services = call->services;
    const char *method = json_get_string(arguments, "method");
    const char *url = json_get_string(arguments, "url");
    struct http_request request = {
        .method = method,
        .url = url,
        .headers = fetch->headers,
        .header_count = fetch->header_count,
        .body = fetch->body,
        .tls =
            {
                .ca_bundle = fetch->ca.length ? buffer_string(&fetch->ca) : NULL,
                .client_certificate =
                    fetch->certificate.length ? buffer_string(&fetch->certificate) : NULL,
                .client_key = fetch->key.length ? buffer_string(&fetch->key) : NULL,
                .insecure_skip_verify = json_get_boolean(arguments, "insecure_skip_verify", false),
            },
        .trusted_origins = (const char *const *)call->origins,
        .trusted_origin_count = call->origin_count,
        .timeout_ms = timeout_of(call, arguments),
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .max_body = services->max_body,
        .max_redirects = REDIRECTS_MAX,
        .egress = &fetch->egress,
    };

    if (!method || !url)
        return call_protocol_error("http.request without a method or URL");
    return http_client_send(services->http, &request, fetched, fetch, &call->operation);
}

struct error *primitive_http_request(struct primitive_call *call, const json_t *arguments,
                                     const char *bytes, size_t length)
{
    struct fetch *fetch = calloc(1, sizeof(*fetch));

    if (!fetch)
        return error_out_of_memory();
    fetch->call = call;
    fetch->egress = (struct egress){ask_egress, fetch};
    call->state = fetch;
    call->free_state = fetch_free;
    struct error *error = fill(fetch, arguments, bytes, length);
    return error ? error : send_request(fetch, arguments);
}
