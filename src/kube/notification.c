/*
 * One at a time, in the order in which they were told: a recovery that overtakes the failure before
 * it would leave people with the wrong news. A receiver that is away holds the queue up for a few
 * tries of each; what does not fit any more is dropped from the front.
 *
 * Not the Kubernetes client's connections, and no policy: the address is the operator's own.
 */
#include "kube/notification.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buffer.h"
#include "base/json.h"
#include "base/log.h"
#include "http/url.h"
#include "kube/flush.h"
#include "kube/wire.h"

#define QUEUE_MAX 1000
#define QUEUE_BYTES_MAX ((size_t)8 << 20)
#define TRIES_MAX 4
#define RETRY_GROWTH 4
#define MESSAGE_MAX 39000 /* characters */
#define TIMEOUT_MS 15000
#define CONNECT_TIMEOUT_MS 5000
#define ANSWER_MAX 65536
#define COMPLAINT_MS 60000
#define EVENT_GROUP "event.toolkit.fluxcd.io/"

struct waiting {
    TAILQ_ENTRY(waiting) order;
    size_t length;
    unsigned tries;
    char body[];
};

TAILQ_HEAD(waiting_list, waiting);

struct notifier {
    struct notifier_options options; /* its strings are ours */
    struct http_client *client;
    struct waiting_list queue; /* the first is being sent, or waits for its next try */
    size_t count;
    size_t bytes;
    struct operation *operation;
    uv_timer_t retry;
    struct flush flush;
    unsigned open_timers;

    uint64_t dropped; /* since the last line about it */
    bool complained;
    int64_t complained_ms;
};

static void notifier_destroy(struct notifier *notifier)
{
    free((char *)notifier->options.address);
    free((char *)notifier->options.controller);
    free((char *)notifier->options.instance);
    free(notifier);
}

CLEANUP_DEFINE(notifier, struct notifier *, notifier_destroy)

static struct error *check_address(const char *address)
{
    _cleanup_(url) struct url url = URL_INIT;
    struct error *error = url_parse(address, NULL, &url);

    if (!error)
        return NULL;
    error->kind = ERROR_CONFIGURATION;
    return error_wrap(error, "--events-addr");
}

struct error *notifier_new(const struct notifier_options *options, struct notifier **notifier)
{
    _cleanup_(notifier) struct notifier *created = NULL;
    const struct http_client_options client_options = {
        .loop = options->loop,
        .blobs = options->blobs,
        .clock = options->clock,
        .max_requests = 1,
        .max_requests_per_host = 1,
    };
    struct error *error = check_address(options->address);

    if (error)
        return error;
    created = calloc(1, sizeof(*created));
    if (!created)
        return error_out_of_memory();
    created->options = *options;
    created->options.address = strdup(options->address);
    created->options.controller = strdup(options->controller);
    created->options.instance = strdup(options->instance);
    if (options->retry_ms <= 0)
        created->options.retry_ms = NOTIFIER_RETRY_MS;
    if (!created->options.address || !created->options.controller || !created->options.instance)
        return error_out_of_memory();
    error = http_client_new(&client_options, &created->client);
    if (error)
        return error;
    TAILQ_INIT(&created->queue);
    uv_timer_init(options->loop, &created->retry);
    created->retry.data = created;
    flush_init(&created->flush, options->loop, created);
    created->open_timers = 2;
    *notifier = TAKE(created);
    return NULL;
}

/* One line for all that was dropped since the last, at most one a minute. `error` may be NULL. */
static void log_losses(struct notifier *notifier, const struct error *error)
{
    int64_t now = clock_monotonic_ms(notifier->options.clock);
    char dropped[24];

    if (notifier->complained && now - notifier->complained_ms < COMPLAINT_MS)
        return;
    snprintf(dropped, sizeof(dropped), "%" PRIu64, notifier->dropped);
    log_error(notifier->options.log, NULL, error, "notifications dropped", "count", dropped, NULL);
    notifier->complained = true;
    notifier->complained_ms = now;
    notifier->dropped = 0;
}

static void drop(struct notifier *notifier, struct waiting *waiting)
{
    TAILQ_REMOVE(&notifier->queue, waiting, order);
    notifier->count--;
    notifier->bytes -= waiting->length;
    free(waiting);
}

static void send_first(struct notifier *notifier);

/* The first is delivered or given up. Tells a flush last: it may free. */
static void go_on(struct notifier *notifier)
{
    drop(notifier, TAILQ_FIRST(&notifier->queue));
    if (notifier->count > 0)
        send_first(notifier);
    else
        flush_done(&notifier->flush);
}

static void on_retry(uv_timer_t *timer)
{
    send_first(timer->data);
}

/* After a try that failed. Takes `error`; `again`: another try may help. */
static void fail(struct notifier *notifier, struct error *error, bool again)
{
    struct waiting *first = TAILQ_FIRST(&notifier->queue);
    _cleanup_(error) struct error *owned = error;

    if (again && first->tries < TRIES_MAX) {
        uint64_t delay = (uint64_t)notifier->options.retry_ms;

        for (unsigned i = 1; i < first->tries; i++)
            delay *= RETRY_GROWTH;
        uv_timer_start(&notifier->retry, on_retry, delay, 0);
        return;
    }
    notifier->dropped++;
    log_losses(notifier, owned);
    go_on(notifier);
}

static void on_answer(void *context, struct error *error, const struct http_response *response)
{
    struct notifier *notifier = context;
    unsigned status = response ? response->status : 0;

    notifier->operation = NULL;
    /* 429: the receiver has had the same within five minutes. */
    if (status / 100 == 2 || status == 429) {
        go_on(notifier);
        return;
    }
    if (!error)
        error = error_new(ERROR_TRANSIENT, "NotificationFailed", "POST %s: status %u",
                          notifier->options.address, status);
    fail(notifier, error, status == 0 || status / 100 == 5);
}

static void on_unsent(uv_timer_t *timer)
{
    fail(timer->data, error_out_of_memory(), false);
}

static void send_first(struct notifier *notifier)
{
    struct waiting *first = TAILQ_FIRST(&notifier->queue);
    static const struct http_header headers[] = {
        {.name = "Content-Type", .value = "application/json"}};
    _cleanup_(blob) struct blob *body = NULL;
    struct error *error =
        blob_from_bytes(notifier->options.blobs, first->body, first->length, &body);
    const struct http_request request = {
        .method = "POST",
        .url = notifier->options.address,
        .headers = headers,
        .header_count = sizeof(headers) / sizeof(*headers),
        .body = body,
        .timeout_ms = TIMEOUT_MS,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .max_body = ANSWER_MAX,
    };

    first->tries++;
    if (!error)
        error =
            http_client_send(notifier->client, &request, on_answer, notifier, &notifier->operation);
    if (!error)
        return;
    /* Only memory can be short here: the address was checked. Never from inside of a tell. */
    error_free(error);
    uv_timer_start(&notifier->retry, on_unsent, 0, 0);
}

/* "source.toolkit.fluxcd.io/" of "source.toolkit.fluxcd.io/v1": the receiver keeps only such keys.
 * Objects of the core have no group. */
static char *metadata_key(const struct kube_reference *about, const char *name)
{
    const char *slash = about->api_version ? strchr(about->api_version, '/') : NULL;

    if (!slash)
        return format_string(EVENT_GROUP "%s", name);
    return format_string("%.*s/%s", (int)(slash - about->api_version), about->api_version, name);
}

static int set_metadata(json_t *object, const struct notification *notification)
{
    _cleanup_(json) json_t *metadata = json_object();
    _cleanup_(free) char *revision = metadata_key(&notification->about, "revision");
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)notification->annotations, key, value)
    {
        if (strncmp(key, EVENT_GROUP, strlen(EVENT_GROUP)) == 0 && json_is_string(value) &&
            json_object_set(metadata, key, value))
            return -1;
    }
    if (!revision || json_set_string(metadata, revision, notification->revision))
        return -1;
    return json_object_size(metadata) ? json_object_set(object, "metadata", metadata) : 0;
}

static int set_involved(json_t *object, const struct kube_reference *about)
{
    _cleanup_(json) json_t *involved = json_object();

    if (json_set_string(involved, "apiVersion", about->api_version) ||
        json_set_string(involved, "kind", about->kind) ||
        json_set_string(involved, "namespace", about->namespace_name) ||
        json_set_string(involved, "name", about->name) ||
        json_set_string(involved, "uid", about->uid))
        return -1;
    return json_object_set(object, "involvedObject", involved);
}

static char *write_body(const struct notifier *notifier, const struct notification *notification)
{
    _cleanup_(free) char *message = wire_text(notification->message, SIZE_MAX, MESSAGE_MAX);
    char time[TIME_TEXT_SIZE];

    time_format(clock_wall_ms(notifier->options.clock), time);
    _cleanup_(json) json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "severity",
                  notification->error ? "error" : "info", "timestamp", time, "message", message,
                  "reason", notification->reason, "reportingController",
                  notifier->options.controller, "reportingInstance", notifier->options.instance);
    if (!object || set_involved(object, &notification->about) || set_metadata(object, notification))
        return NULL;
    return json_dumps(object, JSON_COMPACT);
}

/* The oldest that is not on its way gives way. */
static void make_room(struct notifier *notifier, size_t length)
{
    struct waiting *second;

    while (notifier->count >= QUEUE_MAX || notifier->bytes + length > QUEUE_BYTES_MAX) {
        second = notifier->count ? TAILQ_NEXT(TAILQ_FIRST(&notifier->queue), order) : NULL;
        if (!second)
            return;
        drop(notifier, second);
        notifier->dropped++;
        log_losses(notifier, NULL);
    }
}

void notifier_tell(struct notifier *notifier, const struct notification *notification)
{
    _cleanup_(free) char *body = write_body(notifier, notification);
    size_t length = body ? strlen(body) : 0;
    struct waiting *waiting = body ? malloc(sizeof(*waiting) + length) : NULL;

    if (!waiting) {
        notifier->dropped++;
        log_losses(notifier, NULL);
        return;
    }
    waiting->length = length;
    waiting->tries = 0;
    memcpy(waiting->body, body, length);
    make_room(notifier, length);
    TAILQ_INSERT_TAIL(&notifier->queue, waiting, order);
    notifier->count++;
    notifier->bytes += length;
    if (notifier->count == 1)
        send_first(notifier);
}

void notifier_flush(struct notifier *notifier, int64_t timeout_ms, void (*flushed)(void *context),
                    void *context)
{
    flush_begin(&notifier->flush, notifier->count ? timeout_ms : 0, flushed, context);
}

static void on_closed(uv_handle_t *handle)
{
    struct notifier *notifier = handle->data;

    if (--notifier->open_timers == 0)
        notifier_destroy(notifier);
}

void notifier_free(struct notifier *notifier)
{
    if (!notifier)
        return;
    operation_cancel(&notifier->operation);
    notifier->dropped += notifier->count;
    if (notifier->dropped > 0)
        log_losses(notifier, NULL);
    while (notifier->count > 0)
        drop(notifier, TAILQ_FIRST(&notifier->queue));
    http_client_free(notifier->client);
    uv_close((uv_handle_t *)&notifier->retry, on_closed);
    uv_close((uv_handle_t *)&notifier->flush.timer, on_closed);
}
