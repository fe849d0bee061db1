/*
 * One request with its attempts:
 *
 *     waiting -> running -> ended
 *        ^          | may pass, and there is time
 *        |          v
 *        '------ pausing
 *
 * The one idea: the deadline is one moment, fixed at the start. An attempt gets no more time than
 * is left, and a pause that would outlast it is not begun: then the last answer is the answer.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "kube/client_state.h"
#include "kube/status.h"

#define PAUSE_FIRST_MS 250
#define PAUSE_MAX_MS 10000

enum stage { STAGE_WAITING, STAGE_RUNNING, STAGE_PAUSING, STAGE_ENDED };

struct call {
    struct operation operation; /* first */
    TAILQ_ENTRY(call) link;     /* while waiting, unless unfenced */
    struct kube_client *client;
    kube_done done;
    void *context;
    char *method;
    char *url;
    char *accept;
    char *content_type;
    struct blob *body;
    bool unfenced;
    bool once;
    int64_t timeout_ms;
    int64_t deadline_ms; /* on the monotonic clock */
    enum stage stage;
    uv_timer_t timer; /* while waiting, the deadline; while pausing, its end */
    struct operation *pending;
    struct channel *channel; /* while running */
    unsigned failures;
    bool token_renewed;
};

static void wait_for_place(struct call *call);

static void call_free(struct call *call)
{
    free(call->method);
    free(call->url);
    free(call->accept);
    free(call->content_type);
    if (call->body)
        blob_unref(call->body);
    free(call);
}

CLEANUP_DEFINE(call, struct call *, call_free)

static void on_timer_closed(uv_handle_t *handle)
{
    struct call *call = handle->data;
    struct kube_client *client = call->client;

    call_free(call);
    client_gone(client);
}

/* Gives back what the stage holds. */
static void leave_stage(struct call *call)
{
    struct kube_client *client = call->client;

    uv_timer_stop(&call->timer);
    if (call->stage == STAGE_WAITING && !call->unfenced)
        TAILQ_REMOVE(&client->waiting, call, link);
    if (call->stage != STAGE_RUNNING)
        return;
    operation_cancel(&call->pending);
    if (call->channel)
        channel_release(TAKE(call->channel));
    if (!call->unfenced) {
        client->running--;
        client_turn_soon(client);
    }
}

static void end(struct call *call)
{
    leave_stage(call);
    call->stage = STAGE_ENDED;
    uv_close((uv_handle_t *)&call->timer, on_timer_closed);
}

static void cancel(struct operation *operation)
{
    end((struct call *)operation);
}

static void fail(struct call *call, struct error *error)
{
    end(call);
    call->done(call->context, error, NULL);
}

static int64_t time_left(const struct call *call)
{
    return call->deadline_ms - clock_monotonic_ms(call->client->options.clock);
}

static void on_pause_over(uv_timer_t *timer)
{
    wait_for_place(timer->data);
}

/* Twice as long each time, somewhere in its upper half, so that what failed together does not come
 * back together. What the server asks for is a least time. */
static int64_t pause_of(struct call *call, int64_t asked_ms)
{
    const struct kube_client_options *options = &call->client->options;
    int64_t pause = PAUSE_FIRST_MS;
    uint64_t random = options->random ? options->random(options->random_context) : 0;

    for (unsigned i = 0; i < call->failures && pause < PAUSE_MAX_MS; i++)
        pause *= 2;
    if (pause > PAUSE_MAX_MS)
        pause = PAUSE_MAX_MS;
    call->failures++;
    pause = pause / 2 + (int64_t)(random % (uint64_t)(pause / 2 + 1));
    return asked_ms > 0 ? asked_ms + pause / 2 : pause;
}

/* Whether there will be another attempt; it is on its way then. */
static bool try_again(struct call *call, int64_t asked_ms)
{
    int64_t pause = call->once ? 0 : pause_of(call, asked_ms);

    if (call->once || pause >= time_left(call))
        return false;
    leave_stage(call);
    call->stage = STAGE_PAUSING;
    uv_timer_start(&call->timer, on_pause_over, (uint64_t)pause, 0);
    return true;
}

static bool renew_token(struct call *call)
{
    struct kube_client *client = call->client;

    if (!client->own_config->token_file || call->token_renewed)
        return false;
    call->token_renewed = true;
    token_doubt(&client->token);
    leave_stage(call);
    wait_for_place(call);
    return true;
}

static void on_failed(struct call *call, struct error *error)
{
    if (error->kind == ERROR_TRANSIENT && try_again(call, 0)) {
        log_debug(call->client->options.log, NULL, "request to the Kubernetes API is tried again",
                  "error", error->message, NULL);
        error_free(error);
        return;
    }
    fail(call, error);
}

static void respond(struct call *call, struct kube_response *response)
{
    _cleanup_(json) json_t *object = response->object;

    if (response->reason == KUBE_UNAUTHORIZED && renew_token(call))
        return;
    if (status_may_pass(response) && try_again(call, response->retry_after_ms)) {
        _cleanup_(error) struct error *why = kube_response_error(response, call->url);

        log_debug(call->client->options.log, NULL, "request to the Kubernetes API is tried again",
                  "error", why->message, NULL);
        return;
    }
    end(call);
    call->done(call->context, NULL, response);
}

static void on_answer(void *context, struct error *error, const struct http_response *answer)
{
    struct call *call = context;
    struct kube_client *client = call->client;
    struct kube_response response = {0};

    call->pending = NULL;
    if (answer) {
        call->channel->proven = true;
        error = status_read(answer, client->options.clock, &response);
        if (error)
            error = error_wrap(error, "%s %s", call->method, answer->url);
    } else if (call->channel->proven || strcmp(error->reason, "Timeout") == 0) {
        channel_retire(&client->channel, call->channel);
    }
    if (error)
        on_failed(call, error);
    else
        respond(call, &response);
}

static struct error *attempt(struct call *call)
{
    struct kube_client *client = call->client;
    struct http_header headers[KUBE_HEADERS_MAX];
    struct http_request request;
    int64_t left = time_left(call);
    struct error *error =
        client_prepare(client, call->accept, call->content_type, headers, &request);

    if (error)
        return error;
    request.method = call->method;
    request.url = call->url;
    request.body = call->body;
    request.timeout_ms = call->timeout_ms < left ? call->timeout_ms : left;
    if (request.timeout_ms < 1)
        request.timeout_ms = 1;
    error = channel_hold(&client->channel, &client->http, &call->channel);
    if (error)
        return error;
    return http_client_send(call->channel->http, &request, on_answer, call, &call->pending);
}

static bool may_send(const struct call *call)
{
    const struct kube_client_options *options = &call->client->options;
    bool write = strcmp(call->method, "GET") != 0 && strcmp(call->method, "HEAD") != 0;

    return !write || call->unfenced || !options->may_write ||
           options->may_write(options->fence_context);
}

static struct error *not_leader(const struct call *call)
{
    return error_new(ERROR_INTERNAL, "NotLeader",
                     "%s %s: not sent, because this process does not lead any more", call->method,
                     call->url + strlen(call->client->own_config->server));
}

void call_run(struct call *call)
{
    struct error *error;

    uv_timer_stop(&call->timer);
    call->stage = STAGE_RUNNING;
    if (!call->unfenced)
        call->client->running++;
    if (!may_send(call)) {
        fail(call, not_leader(call));
        return;
    }
    error = attempt(call);
    if (error)
        on_failed(call, error);
}

struct call *call_next(struct kube_client *client)
{
    struct call *call = TAILQ_FIRST(&client->waiting);

    if (call)
        TAILQ_REMOVE(&client->waiting, call, link);
    return call;
}

static void on_waited_in_vain(uv_timer_t *timer)
{
    struct call *call = timer->data;

    fail(call, error_new(ERROR_TRANSIENT, "Timeout",
                         "%s %s: no place among the %d requests in flight to the Kubernetes API",
                         call->method, call->url, KUBE_REQUESTS_MAX));
}

static void on_own_turn(uv_timer_t *timer)
{
    call_run(timer->data);
}

static void wait_for_place(struct call *call)
{
    int64_t left = time_left(call);

    call->stage = STAGE_WAITING;
    if (call->unfenced) {
        uv_timer_start(&call->timer, on_own_turn, 0, 0);
        return;
    }
    TAILQ_INSERT_TAIL(&call->client->waiting, call, link);
    uv_timer_start(&call->timer, on_waited_in_vain, left > 1 ? (uint64_t)left : 1, 0);
    client_turn_soon(call->client);
}

static bool copy_text(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return !from || *to;
}

static struct error *write_body(struct call *call, const json_t *body)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    struct error *error;

    if (!body)
        return NULL;
    json_write(&text, body);
    error = buffer_error(&text);
    if (error)
        return error;
    return blob_from_bytes(call->client->options.blobs, text.bytes, text.length, &call->body);
}

static struct error *fill(struct call *call, const struct kube_request *request)
{
    struct kube_client *client = call->client;
    int64_t patience = request->patience_ms == 0 ? KUBE_PATIENCE_MS : request->patience_ms;

    call->operation.cancel = cancel;
    call->unfenced = request->unfenced;
    call->once = patience < 0;
    call->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : KUBE_TIMEOUT_MS;
    call->deadline_ms =
        clock_monotonic_ms(client->options.clock) + (call->once ? call->timeout_ms : patience);
    call->url = format_string("%s%s", client->own_config->server, request->path);
    if (!call->url || !copy_text(&call->method, request->method) ||
        !copy_text(&call->accept, request->accept) ||
        !copy_text(&call->content_type, request->content_type))
        return error_out_of_memory();
    return write_body(call, request->body);
}

struct error *kube_client_send(struct kube_client *client, const struct kube_request *request,
                               kube_done done, void *context, struct operation **operation)
{
    _cleanup_(call) struct call *call = calloc(1, sizeof(*call));
    struct error *error;

    if (!call)
        return error_out_of_memory();
    call->client = client;
    call->done = done;
    call->context = context;
    error = fill(call, request);
    if (error)
        return error;
    uv_timer_init(client->options.loop, &call->timer);
    call->timer.data = call;
    client->alive++;
    *operation = &call->operation;
    wait_for_place(TAKE(call));
    return NULL;
}
