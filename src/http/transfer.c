/*
 * One request through its hops. The one idea: a redirect is a new request. Each hop asks the
 * policy, resolves the name and builds its header lines anew, so nothing that was decided for one
 * hop leaks into the next:
 *
 *     queued -> asking -> resolving -> exchanging -> ended
 *                 ^___________________________/ redirect (by way of the queue where the host is
 * another)
 *
 * Memory goes in the closing phase of the loop, where curl is certainly not on the stack: that is
 * what makes it safe to cancel from anywhere.
 */
#include "http/transfer.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "http/exchange.h"

enum stage { STAGE_QUEUED, STAGE_ASKING, STAGE_RESOLVING, STAGE_EXCHANGING, STAGE_ENDED };

struct transfer {
    struct operation operation; /* first */
    struct http_client *client;
    struct request request; /* `url` and method are those of the hop */
    http_done done;
    void *context;
    struct ticket ticket;
    uv_timer_t timer; /* the time-out of the whole, from the first turn on */
    bool timer_started;
    enum stage stage;
    struct operation *pending; /* while asking or resolving */
    struct network *refused;   /* by the policy, for this hop */
    size_t refused_count;
    struct exchange *exchange;
    bool fresh_connection;
    unsigned redirects;
    char *first; /* for people: where it began, once redirected */
};

static void ask(struct transfer *transfer);
static void resolve(struct transfer *transfer);

static void transfer_free(struct transfer *transfer)
{
    exchange_free(transfer->exchange, false);
    request_free(&transfer->request);
    free(transfer->refused);
    free(transfer->first);
    free(transfer);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct transfer *transfer = handle->data;
    struct http_client *client = transfer->client;

    transfer_free(transfer);
    client_transfer_gone(client);
}

/* Lets go of everything but memory. No callback comes after this. */
static void end(struct transfer *transfer)
{
    transfer->stage = STAGE_ENDED;
    operation_cancel(&transfer->pending);
    if (transfer->exchange)
        exchange_close(transfer->exchange);
    admission_leave(&transfer->client->admission, &transfer->ticket);
    client_pump_soon(transfer->client);
    uv_close((uv_handle_t *)&transfer->timer, on_timer_closed);
}

static void cancel(struct operation *operation)
{
    end((struct transfer *)operation);
}

/* "GET https://host/path", and where it began. */
static struct error *name_request(const struct transfer *transfer, struct error *error)
{
    _cleanup_(free) char *people = url_for_people(transfer->request.url.text);
    const char *method = transfer->request.method;

    if (!people)
        return error;
    if (!transfer->first)
        return error_wrap(error, "%s %s", method, people);
    return error_wrap(error, "%s %s (redirected from %s)", method, people, transfer->first);
}

static void fail(struct transfer *transfer, struct error *error)
{
    error = name_request(transfer, error);
    end(transfer);
    transfer->done(transfer->context, error, NULL);
}

static void on_timeout(uv_timer_t *timer)
{
    static const char *const waited_for[] = {
        [STAGE_QUEUED] = "no free place for the redirect",
        [STAGE_ASKING] = "no answer from the egress policy",
        [STAGE_RESOLVING] = "its name was not resolved",
        [STAGE_EXCHANGING] = "no complete answer",
        [STAGE_ENDED] = "",
    };
    struct transfer *transfer = timer->data;
    char limit[TIME_TEXT_SIZE];
    struct error *error;

    duration_format(transfer->request.timeout_ms, limit);
    error =
        error_new(ERROR_TRANSIENT, "Timeout", "%s within %s", waited_for[transfer->stage], limit);
    /* The connection may be half open: whoever comes next must not inherit it. */
    exchange_free(TAKE(transfer->exchange), true);
    fail(transfer, error);
}

static struct error *take_body(struct exchange *exchange, struct http_client *client,
                               struct blob **body)
{
    if (exchange->body)
        return blob_writer_seal(TAKE(exchange->body), body);
    return blob_from_bytes(client->options.blobs, "", 0, body);
}

static void respond(struct transfer *transfer)
{
    struct exchange *exchange = transfer->exchange;
    bool streamed = transfer->request.on_body && exchange->status >= 200 && exchange->status < 300;
    _cleanup_(blob) struct blob *body = NULL;
    struct error *error = streamed ? NULL : take_body(exchange, transfer->client, &body);

    if (error) {
        fail(transfer, error);
        return;
    }
    struct http_response response = {
        .status = exchange->status,
        .headers = exchange->headers.items,
        .header_count = exchange->headers.count,
        .body = body,
        .url = transfer->request.url.text,
    };
    end(transfer);
    transfer->done(transfer->context, NULL, &response);
}

/* Makes the request that of the next hop. */
static struct error *redirect(struct transfer *transfer, const char *location)
{
    struct request *request = &transfer->request;
    struct url url;
    struct error *error;

    if (transfer->redirects == request->max_redirects)
        return error_new(ERROR_UPSTREAM, "FetchFailed", "redirected more than %u times",
                         request->max_redirects);
    error = url_parse(location, &request->url, &url);
    if (error && error->kind == ERROR_CONFIGURATION) {
        /* Upstream's mistake, not the manifest's. */
        _cleanup_(error) struct error *cause = TAKE(error);

        return error_new(ERROR_UPSTREAM, "FetchFailed", "redirected: %s", cause->message);
    }
    if (error)
        return error;
    if (!transfer->first)
        transfer->first = url_for_people(request->url.text);
    url_free(&request->url);
    request->url = url;
    error = request_redirect(request, transfer->exchange->status);
    transfer->redirects++;
    return transfer->first ? error : error_out_of_memory();
}

static void follow(struct transfer *transfer, const char *location)
{
    struct error *error = redirect(transfer, location);

    exchange_free(TAKE(transfer->exchange), false);
    if (error) {
        fail(transfer, error);
        return;
    }
    if (admission_is_for(&transfer->ticket, transfer->request.url.origin)) {
        ask(transfer);
        return;
    }
    transfer->stage = STAGE_QUEUED;
    admission_leave(&transfer->client->admission, &transfer->ticket);
    error = admission_enter(&transfer->client->admission, &transfer->ticket,
                            transfer->request.url.origin, true);
    client_pump_soon(transfer->client);
    if (error)
        fail(transfer, error);
}

static void on_exchanged(void *context, struct error *error)
{
    struct transfer *transfer = context;
    struct exchange *exchange = transfer->exchange;

    if (error && exchange->denied_reused && !transfer->fresh_connection) {
        /* The name may have other addresses than the one that somebody else was connected to. */
        error_free(error);
        exchange_free(TAKE(transfer->exchange), false);
        transfer->fresh_connection = true;
        resolve(transfer);
        return;
    }
    if (error)
        fail(transfer, error);
    else if (exchange->is_redirect)
        follow(transfer,
               headers_find(exchange->headers.items, exchange->headers.count, "location"));
    else
        respond(transfer);
}

/* `addresses` is NULL where the host is one. */
static void exchange(struct transfer *transfer, const char *addresses)
{
    const struct http_client_options *client = &transfer->client->options;
    const struct exchange_options options = {
        .multi = transfer->client->multi,
        .blobs = client->blobs,
        .user_agent = client->user_agent,
        .floor = client->floor,
        .request = &transfer->request,
        .refused = transfer->refused,
        .refused_count = transfer->refused_count,
        .addresses = addresses,
        .fresh_connection = transfer->fresh_connection,
        .body_context = transfer->context,
        .context = transfer,
        .done = on_exchanged,
    };
    struct error *error;

    transfer->stage = STAGE_EXCHANGING;
    error = exchange_start(&options, &transfer->exchange);
    if (error)
        fail(transfer, error);
}

static void on_resolved(void *context, struct error *error, const char *addresses)
{
    struct transfer *transfer = context;

    transfer->pending = NULL;
    if (error)
        fail(transfer, error);
    else
        exchange(transfer, addresses);
}

static void resolve(struct transfer *transfer)
{
    struct error *error;

    if (resolver_is_numeric(transfer->request.url.host)) {
        exchange(transfer, NULL);
        return;
    }
    transfer->stage = STAGE_RESOLVING;
    error = resolver_look_up(transfer->client->resolver, transfer->request.url.host, on_resolved,
                             transfer, &transfer->pending);
    if (error)
        fail(transfer, error);
}

static void on_decided(void *context, struct error *denied, const struct network *refused,
                       size_t refused_count)
{
    struct transfer *transfer = context;

    transfer->pending = NULL;
    free(TAKE(transfer->refused));
    transfer->refused_count = 0;
    if (!denied && refused_count > 0) {
        transfer->refused = reallocarray(NULL, refused_count, sizeof(*refused));
        if (transfer->refused) {
            memcpy(transfer->refused, refused, refused_count * sizeof(*refused));
            transfer->refused_count = refused_count;
        } else {
            denied = error_out_of_memory();
        }
    }
    if (denied)
        fail(transfer, denied);
    else
        resolve(transfer);
}

static void ask(struct transfer *transfer)
{
    const struct request *request = &transfer->request;
    const struct egress_request hop = {
        .method = request->method,
        .url = request->url.text,
        .scheme = request->url.scheme,
        .host = request->url.host,
        .port = request->url.port,
        .redirect = transfer->redirects > 0,
    };
    struct error *error;

    transfer->stage = STAGE_ASKING;
    if (!request->egress.ask) {
        resolve(transfer);
        return;
    }
    error = request->egress.ask(request->egress.context, &hop, on_decided, transfer,
                                &transfer->pending);
    if (error)
        fail(transfer, error);
}

void transfer_run(struct ticket *ticket)
{
    struct transfer *transfer =
        (struct transfer *)((char *)ticket - offsetof(struct transfer, ticket));

    if (!transfer->timer_started) {
        transfer->timer_started = true;
        uv_timer_start(&transfer->timer, on_timeout, (uint64_t)transfer->request.timeout_ms, 0);
    }
    ask(transfer);
}

struct error *transfer_new(struct http_client *client, const struct http_request *request,
                           http_done done, void *context, struct transfer **transfer)
{
    struct transfer *created = calloc(1, sizeof(*created));
    struct error *error;

    if (!created)
        return error_out_of_memory();
    error = request_copy(request, &created->request);
    if (error) {
        free(created);
        return error;
    }
    created->operation.cancel = cancel;
    created->client = client;
    created->done = done;
    created->context = context;
    created->fresh_connection = request->fresh_connection;
    *transfer = created;
    return NULL;
}

struct error *transfer_queue(struct transfer *transfer)
{
    struct http_client *client = transfer->client;
    struct error *error =
        admission_enter(&client->admission, &transfer->ticket, transfer->request.url.origin, false);

    if (error) {
        transfer_free(transfer);
        return error;
    }
    uv_timer_init(client->options.loop, &transfer->timer);
    transfer->timer.data = transfer;
    client->transfers++;
    client_pump_soon(client);
    return NULL;
}

struct operation *transfer_operation(struct transfer *transfer)
{
    return &transfer->operation;
}
