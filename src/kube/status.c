/*
 * Answers. The one idea: what an answer means is read from metav1.Status (its causes, then its
 * reason), and from the HTTP code only where a proxy or an older server left those out.
 * https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#response-status-kind
 */
#include "kube/status.h"

#include <string.h>

#include "base/json.h"
#include "kube/api_json.h"

#define MESSAGE_MAX 2048 /* bytes of a Status' message in an error */
#define RETRY_SECONDS_MAX 86400
#define READ_CHUNK ((size_t)64 << 10)

struct word {
    const char *text;
    enum kube_reason reason;
};

static bool look_up(const struct word *words, size_t count, const char *text,
                    enum kube_reason *reason)
{
    for (size_t i = 0; text && i < count; i++) {
        if (strcmp(words[i].text, text) == 0) {
            *reason = words[i].reason;
            return true;
        }
    }
    return false;
}

static bool reason_of_causes(const json_t *status, enum kube_reason *reason)
{
    static const struct word words[] = {
        {"FieldManagerConflict", KUBE_MANAGER_CONFLICT},
        {"NamespaceTerminating", KUBE_TERMINATING},
        {"ResourceVersionTooLarge", KUBE_VERSION_TOO_LARGE},
    };
    const json_t *causes = json_object_get(json_object_get(status, "details"), "causes");
    const json_t *cause;
    size_t index;

    json_array_foreach(causes, index, cause)
    {
        if (look_up(words, sizeof(words) / sizeof(words[0]), json_get_string(cause, "reason"),
                    reason))
            return true;
    }
    return false;
}

static bool reason_of_word(const json_t *status, enum kube_reason *reason)
{
    static const struct word words[] = {
        {"NotFound", KUBE_NOT_FOUND},
        {"Conflict", KUBE_CONFLICT},
        {"AlreadyExists", KUBE_ALREADY_EXISTS},
        {"Expired", KUBE_EXPIRED},
        {"Gone", KUBE_EXPIRED},
        {"Invalid", KUBE_INVALID},
        {"BadRequest", KUBE_BAD_REQUEST},
        {"Unauthorized", KUBE_UNAUTHORIZED},
        {"Forbidden", KUBE_FORBIDDEN},
        {"TooManyRequests", KUBE_THROTTLED},
        {"ServerTimeout", KUBE_UNAVAILABLE},
        {"Timeout", KUBE_UNAVAILABLE},
        {"ServiceUnavailable", KUBE_UNAVAILABLE},
        {"InternalError", KUBE_UNAVAILABLE},
    };

    return look_up(words, sizeof(words) / sizeof(words[0]), json_get_string(status, "reason"),
                   reason);
}

static enum kube_reason reason_of_code(unsigned code)
{
    switch (code) {
    case 400:
        return KUBE_BAD_REQUEST;
    case 401:
        return KUBE_UNAUTHORIZED;
    case 403:
        return KUBE_FORBIDDEN;
    case 404:
        return KUBE_NOT_FOUND;
    case 409:
        return KUBE_CONFLICT;
    case 410:
        return KUBE_EXPIRED;
    case 422:
        return KUBE_INVALID;
    case 429:
        return KUBE_THROTTLED;
    case 501:
    case 505:
        return KUBE_OTHER;
    default:
        return code >= 500 && code < 600 ? KUBE_UNAVAILABLE : KUBE_OTHER;
    }
}

enum kube_reason kube_status_reason(const json_t *status, unsigned code)
{
    const char *message = json_get_string(status, "message");
    const char *outcome = json_get_string(status, "status");
    enum kube_reason reason;

    if (code == 0) {
        int64_t stated = json_get_integer(status, "code", 0);

        code = stated > 0 && stated < 1000 ? (unsigned)stated : 0;
        if (code == 0 && outcome && strcmp(outcome, "Success") == 0)
            return KUBE_OK;
    }
    if (code >= 200 && code < 300)
        return KUBE_OK;
    /* Nothing but its message tells this one from a server in trouble, which would pass. */
    if (code == 500 && message && strstr(message, "field not declared in schema"))
        return KUBE_INVALID;
    if (reason_of_causes(status, &reason) || reason_of_word(status, &reason))
        return reason;
    return reason_of_code(code);
}

bool status_may_pass(const struct kube_response *response)
{
    return response->reason == KUBE_THROTTLED || response->reason == KUBE_UNAVAILABLE;
}

/* For json_load_callback: the next bytes of a blob that lies in a file. */
struct reading {
    const struct blob *blob;
    uint64_t offset;
    char bytes[READ_CHUNK];
    size_t begin;
    size_t end;
    struct error *error;
};

static size_t read_more(void *bytes, size_t length, void *context)
{
    struct reading *reading = context;

    if (reading->begin == reading->end) {
        reading->begin = 0;
        reading->end = 0;
        reading->error = blob_read(reading->blob, reading->offset, reading->bytes,
                                   sizeof(reading->bytes), &reading->end);
        if (reading->error)
            return (size_t)-1;
        reading->offset += reading->end;
    }
    if (length > reading->end - reading->begin)
        length = reading->end - reading->begin;
    memcpy(bytes, reading->bytes + reading->begin, length);
    reading->begin += length;
    return length;
}

static struct error *no_json(const char *why)
{
    return error_new(ERROR_TRANSIENT, "APIServerError", "the API server's answer is no JSON: %s",
                     why);
}

/* One object that jansson refuses must not hide the others of its list. */
static struct error *mend(const struct blob *blob, json_t **object)
{
    _cleanup_(free) char *text = NULL;
    size_t length = 0;
    struct error *error = blob_read_all(blob, (size_t)blob_length(blob), &text, &length);

    if (!error)
        error = api_json_mend(text, length, object);
    if (!error || error->kind != ERROR_CONFIGURATION)
        return error;
    _cleanup_(error) struct error *cause = error;
    return no_json(cause->message);
}

static struct error *parse(const struct blob *blob, json_t **object)
{
    const void *memory = blob_memory(blob);
    struct error *error = NULL;
    json_error_t fault = {0};

    if (memory) {
        *object = json_loadb(memory, (size_t)blob_length(blob), API_JSON_FLAGS, &fault);
    } else {
        _cleanup_(free) struct reading *reading = calloc(1, sizeof(*reading));

        if (!reading)
            return error_out_of_memory();
        reading->blob = blob;
        *object = json_load_callback(read_more, reading, API_JSON_FLAGS, &fault);
        error = TAKE(reading->error);
    }
    if (*object || error)
        return error;
    if (api_json_mendable(&fault))
        return mend(blob, object);
    if (json_error_code(&fault) == json_error_out_of_memory)
        return error_out_of_memory();
    _cleanup_(free) char *why =
        format_string("line %d column %d: %s", fault.line, fault.column, fault.text);
    return why ? no_json(why) : error_out_of_memory();
}

static bool is_json(const struct http_response *answer)
{
    const char *type = http_response_header(answer, "content-type");
    size_t length = strlen(KUBE_JSON);

    return type && strncasecmp(type, KUBE_JSON, length) == 0 &&
           (type[length] == '\0' || type[length] == ';' || type[length] == ' ');
}

static int64_t retry_after(const struct http_response *answer, const struct clock *clock,
                           const json_t *status)
{
    int64_t asked = http_response_retry_after_ms(answer, clock);
    int64_t seconds = json_get_integer(json_object_get(status, "details"), "retryAfterSeconds", 0);

    if (asked == 0 && seconds > 0)
        asked = (seconds < RETRY_SECONDS_MAX ? seconds : RETRY_SECONDS_MAX) * 1000;
    return asked;
}

struct error *status_read(const struct http_response *answer, const struct clock *clock,
                          struct kube_response *response)
{
    bool success = answer->status >= 200 && answer->status < 300;
    _cleanup_(json) json_t *object = NULL;
    struct error *error = NULL;
    const char *message;

    if (answer->body && is_json(answer))
        error = parse(answer->body, &object);
    if (success && !error && !json_is_object(object))
        error = error_new(ERROR_TRANSIENT, "APIServerError",
                          "the API server answered %u without a JSON object", answer->status);
    if (error && success)
        return error;
    error_free(error);
    message = success ? NULL : json_get_string(object, "message");
    *response = (struct kube_response){
        .code = answer->status,
        .reason = kube_status_reason(object, answer->status),
        .message = message ? message : "",
        .retry_after_ms = retry_after(answer, clock, success ? NULL : object),
    };
    response->object = TAKE(object);
    return NULL;
}

static enum error_kind kind_of(enum kube_reason reason)
{
    switch (reason) {
    case KUBE_CONFLICT:
    case KUBE_ALREADY_EXISTS:
        return ERROR_CONFLICT;
    case KUBE_NOT_FOUND:
    case KUBE_EXPIRED:
    case KUBE_VERSION_TOO_LARGE:
    case KUBE_TERMINATING:
    case KUBE_THROTTLED:
    case KUBE_UNAVAILABLE:
        return ERROR_TRANSIENT;
    default:
        return ERROR_INTERNAL;
    }
}

static const char *hint_of(enum kube_reason reason)
{
    switch (reason) {
    case KUBE_FORBIDDEN:
        return "; a Role or ClusterRole that allows this must be bound to the controller's "
               "service account";
    case KUBE_UNAUTHORIZED:
        return "; the API server does not accept our token or client certificate";
    default:
        return "";
    }
}

struct error *kube_response_error(const struct kube_response *response, const char *what)
{
    size_t length = strlen(response->message);
    struct error *error;

    if (length > MESSAGE_MAX) {
        length = MESSAGE_MAX;
        while (length > 0 && ((unsigned char)response->message[length] & 0xc0) == 0x80)
            length--;
    }
    if (length > 0)
        error = error_new(kind_of(response->reason), "APIServerError", "%s: %.*s%s%s", what,
                          (int)length, response->message, response->message[length] ? "…" : "",
                          hint_of(response->reason));
    else
        error = error_new(kind_of(response->reason), "APIServerError",
                          "%s: the API server answered %u without a reason%s", what, response->code,
                          hint_of(response->reason));
    if (error->kind == ERROR_TRANSIENT)
        error->retry_after_ms = response->retry_after_ms;
    return error;
}
