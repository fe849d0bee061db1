/*
 * A watch: one answer that goes on, a line an event. The one idea: bytes are cut into lines where
 * they come, whatever the pieces, and the receiver may end it in the middle of a piece.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "kube/client_state.h"
#include "kube/status.h"

#define EVENT_MAX ((size_t)8 << 20)
#define WATCH_MS                                                                    \
    INT64_C(7200000) /* far longer than any timeoutSeconds; silence ends it earlier \
                      */

struct watch {
    struct operation operation; /* first */
    struct kube_client *client;
    void (*line)(void *context, const char *text, size_t length);
    kube_done done;
    void *context;
    struct operation *pending;
    struct buffer rest; /* of a line that goes on in the next piece */
    bool too_long;
    bool ended;
    uv_timer_t
        closing; /* memory goes in the loop's closing phase: a callback may be on the stack */
};

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    struct kube_client *client = watch->client;

    buffer_free(&watch->rest);
    free(watch);
    client_gone(client);
}

static void end(struct watch *watch)
{
    watch->ended = true;
    operation_cancel(&watch->pending);
    uv_close((uv_handle_t *)&watch->closing, on_closed);
}

static void cancel(struct operation *operation)
{
    end((struct watch *)operation);
}

/* Appends to the line that is going on; false where it gets too long. */
static bool keep(struct watch *watch, const char *bytes, size_t length)
{
    if (length > EVENT_MAX - watch->rest.length) {
        watch->too_long = true;
        return false;
    }
    buffer_append(&watch->rest, bytes, length);
    return !watch->rest.failed;
}

static bool on_bytes(void *context, const void *bytes, size_t length)
{
    struct watch *watch = context;
    const char *at = bytes;

    while (length > 0 && !watch->ended) {
        const char *newline = memchr(at, '\n', length);
        size_t piece = newline ? (size_t)(newline - at) : length;

        if (!newline || watch->rest.length > 0) {
            if (!keep(watch, at, piece))
                return false;
        }
        if (newline && watch->rest.length > 0) {
            /* Taken out first: the receiver sees no state of ours that is half done. */
            struct buffer line = watch->rest;

            watch->rest = (struct buffer)BUFFER_INIT;
            watch->line(watch->context, line.bytes, line.length);
            buffer_free(&line);
        } else if (newline && piece > 0) {
            watch->line(watch->context, at, piece);
        }
        piece += newline ? 1 : 0;
        at += piece;
        length -= piece;
    }
    return !watch->ended;
}

static struct error *explain(const struct watch *watch, struct error *error)
{
    if (!watch->too_long)
        return error;
    error_free(error);
    return error_new(ERROR_TRANSIENT, "APIServerError",
                     "the API server sent an event of more than %zu bytes", EVENT_MAX);
}

static void on_answer(void *context, struct error *error, const struct http_response *answer)
{
    struct watch *watch = context;
    kube_done done = watch->done;
    struct kube_response response = {.code = 200, .reason = KUBE_OK, .message = ""};

    watch->pending = NULL;
    if (answer && (answer->status < 200 || answer->status > 299))
        error = status_read(answer, watch->client->options.clock, &response);
    else if (answer)
        response.code = answer->status;
    if (error)
        error = explain(watch, error);
    if (!error && response.reason == KUBE_UNAUTHORIZED)
        token_doubt(&watch->client->token);
    end(watch);
    done(watch->context, error, error ? NULL : &response);
    json_decref(response.object);
}

static struct error *start(struct watch *watch, const char *path, const char *accept)
{
    struct kube_client *client = watch->client;
    _cleanup_(free) char *url = format_string("%s%s", client->own_config->server, path);
    struct http_header headers[KUBE_HEADERS_MAX];
    struct http_request request;
    struct error *error = client_prepare(client, accept, NULL, headers, &request);

    if (error)
        return error;
    if (!url)
        return error_out_of_memory();
    request.method = "GET";
    request.url = url;
    request.timeout_ms = WATCH_MS;
    request.max_body = UINT64_MAX;
    request.on_body = on_bytes;
    request.fresh_connection = true;
    return http_client_send(client->watches, &request, on_answer, watch, &watch->pending);
}

struct error *kube_client_watch(struct kube_client *client, const char *path, const char *accept,
                                void (*line)(void *context, const char *text, size_t length),
                                kube_done done, void *context, struct operation **operation)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    struct error *error;

    if (!watch)
        return error_out_of_memory();
    watch->operation.cancel = cancel;
    watch->client = client;
    watch->line = line;
    watch->done = done;
    watch->context = context;
    error = start(watch, path, accept);
    if (error) {
        free(watch);
        return error;
    }
    uv_timer_init(client->options.loop, &watch->closing);
    watch->closing.data = watch;
    client->alive++;
    *operation = &watch->operation;
    return NULL;
}
