/*
 * The one idea: a try is read, judge, write, where the write names the version that was judged, so
 * that of many who want the lease exactly one gets it. Who leads writes without reading first,
 * because its own last write is what stands there, unless a conflict says otherwise.
 *
 * Time is counted from before a write was sent: whatever the network did to it, no other can have
 * seen our record change earlier, and none counts our term from an earlier moment than we do.
 */
#include "kube/lease.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "kube/lease_record.h"

#define REREADS_MAX 3      /* after conflicts, in one try; then we wait for the next */
#define COMPLAINT_MS 60000 /* between two log lines about failures that last */

struct lease {
    struct lease_options options; /* its strings are ours */
    char *collection;             /* paths */
    char *path;
    uv_timer_t retry;    /* the next try; after lease_release, the end of patience */
    uv_timer_t deadline; /* while we lead: when that ends unless renewed */
    unsigned open_timers;
    struct operation *operation;

    json_t *seen;       /* the Lease as we last read or wrote it; NULL where there was none */
    int64_t seen_ms;    /* when we first saw it say what it says (monotonic, as all below) */
    int64_t sent_ms;    /* before the write in flight was sent */
    int64_t renewed_ms; /* before the last write that succeeded was sent */
    bool leading;       /* `acquired` was told, and `lost` not yet */
    unsigned rereads;
    bool complained;
    int64_t complained_ms;

    bool releasing;
    void (*released)(void *context);
    void *released_context;
};

static int64_t now_ms(const struct lease *lease)
{
    return clock_monotonic_ms(lease->options.clock);
}

static struct log_subject subject_of(const struct lease *lease)
{
    return (struct log_subject){lease->options.namespace_name, lease->options.name, NULL};
}

static void lease_destroy(struct lease *lease)
{
    json_decref(lease->seen);
    free((char *)lease->options.namespace_name);
    free((char *)lease->options.name);
    free((char *)lease->options.identity);
    free(lease->collection);
    free(lease->path);
    free(lease);
}

struct lease *lease_new(const struct lease_options *options)
{
    static const struct kube_resource leases = {"/apis/coordination.k8s.io/v1", "leases"};
    struct lease *lease = calloc(1, sizeof(*lease));

    if (!lease)
        return NULL;
    lease->options = *options;
    lease->options.namespace_name = strdup(options->namespace_name);
    lease->options.name = strdup(options->name);
    lease->options.identity = strdup(options->identity);
    lease->collection = kube_path(&leases, options->namespace_name, NULL, NULL);
    lease->path = kube_path(&leases, options->namespace_name, options->name, NULL);
    if (!lease->options.namespace_name || !lease->options.name || !lease->options.identity ||
        !lease->collection || !lease->path) {
        lease_destroy(lease);
        return NULL;
    }
    uv_timer_init(options->loop, &lease->retry);
    uv_timer_init(options->loop, &lease->deadline);
    lease->retry.data = lease;
    lease->deadline.data = lease;
    lease->open_timers = 2;
    return lease;
}

static void on_closed(uv_handle_t *handle)
{
    struct lease *lease = handle->data;

    if (--lease->open_timers == 0)
        lease_destroy(lease);
}

void lease_free(struct lease *lease)
{
    if (!lease)
        return;
    lease->leading = false;
    operation_cancel(&lease->operation);
    uv_close((uv_handle_t *)&lease->retry, on_closed);
    uv_close((uv_handle_t *)&lease->deadline, on_closed);
}

bool lease_held(const struct lease *lease)
{
    return lease->leading && now_ms(lease) - lease->renewed_ms < lease->options.renew_deadline_ms;
}

static void try_now(uv_timer_t *timer);

/* The retry time, a fifth more or less, so that candidates do not stay in step. */
static void try_later(struct lease *lease)
{
    uint64_t retry = (uint64_t)lease->options.retry_ms;
    uint64_t spread = retry * 2 / 5;
    uint64_t jitter = lease->options.random(lease->options.random_context) % (spread + 1);

    lease->rereads = 0;
    uv_timer_start(&lease->retry, try_now, retry - spread / 2 + jitter, 0);
}

/* Ends our leading where its time is over or another has it, and the trying too. Tells last: the
 * listener may free. */
static void lose(struct lease *lease, const char *why)
{
    const struct log_subject subject = subject_of(lease);

    lease->leading = false;
    operation_cancel(&lease->operation);
    uv_timer_stop(&lease->deadline);
    uv_timer_stop(&lease->retry);
    log_error(lease->options.log, &subject, NULL, "lease lost", "identity", lease->options.identity,
              "why", why, NULL);
    lease->options.lost(lease->options.context);
}

/* True where our time was over when the loop came to it; then the lease may be gone. */
static bool lapsed(struct lease *lease)
{
    if (!lease->leading || lease_held(lease))
        return false;
    lose(lease, "it was not renewed in time");
    return true;
}

static void on_deadline(uv_timer_t *timer);

static void await_deadline(struct lease *lease)
{
    int64_t left = lease->renewed_ms + lease->options.renew_deadline_ms - now_ms(lease);

    uv_timer_start(&lease->deadline, on_deadline, left > 0 ? (uint64_t)left : 0, 0);
}

static void on_deadline(uv_timer_t *timer)
{
    struct lease *lease = timer->data;

    if (!lapsed(lease))
        await_deadline(lease);
}

/* A try that came to nothing. Takes `error`. */
static void fail(struct lease *lease, struct error *error, const char *what)
{
    const struct log_subject subject = subject_of(lease);
    int64_t now = now_ms(lease);

    if (!lease->complained || now - lease->complained_ms >= COMPLAINT_MS) {
        log_error(lease->options.log, &subject, error, what, NULL);
        lease->complained = true;
        lease->complained_ms = now;
    }
    error_free(error);
    try_later(lease);
}

/* The typed error of what `done` was called with, or NULL. */
static struct error *fault_of(struct error *error, const struct kube_response *response,
                              const char *what)
{
    if (error || response->reason == KUBE_OK)
        return error;
    return kube_response_error(response, what);
}

/* What one attempt of a request may take: a dead connection costs one renewal of several. A release
 * as a whole gets no more. */
static int64_t attempt_ms(const struct lease *lease)
{
    return lease->options.renew_deadline_ms / 6;
}

static struct error *send_request(struct lease *lease, const char *method, const json_t *body,
                                  kube_done done)
{
    bool create = strcmp(method, "POST") == 0;
    const struct kube_request request = {
        .method = method,
        .path = create ? lease->collection : lease->path,
        .content_type = body ? KUBE_JSON : NULL,
        .body = body,
        .timeout_ms = attempt_ms(lease),
        .patience_ms = attempt_ms(lease) * (lease->releasing ? 1 : 2),
        .unfenced = true,
    };

    return kube_client_send(lease->options.client, &request, done, lease, &lease->operation);
}

/* Keeps what the API says now; `seen_ms` moves only where it says something new. */
static void observe(struct lease *lease, json_t *object)
{
    const char *holder = lease_record_holder(object);

    if (!lease->seen || !lease_record_same(lease->seen, object))
        lease->seen_ms = now_ms(lease);
    if (!lease->seen || strcmp(lease_record_holder(lease->seen), holder) != 0) {
        const struct log_subject subject = subject_of(lease);

        log_info(lease->options.log, &subject, "lease has another holder", "holder",
                 *holder ? holder : "nobody", NULL);
    }
    json_decref(lease->seen);
    lease->seen = json_incref(object);
}

static void read_record(struct lease *lease);

/* A write of ours succeeded: our term counts from before it was sent. */
static void hold(struct lease *lease, json_t *object)
{
    const struct log_subject subject = subject_of(lease);
    bool new = !lease->leading;

    observe(lease, object);
    lease->complained = false;
    try_later(lease);
    if (now_ms(lease) - lease->sent_ms >= lease->options.renew_deadline_ms)
        return; /* too late to be worth anything: renew it first */
    lease->renewed_ms = lease->sent_ms;
    lease->leading = true;
    await_deadline(lease);
    if (!new)
        return;
    log_info(lease->options.log, &subject, "lease acquired", "identity", lease->options.identity,
             NULL);
    lease->options.acquired(lease->options.context);
}

static void on_written(void *context, struct error *error, const struct kube_response *response)
{
    struct lease *lease = context;
    _cleanup_(error) struct error *owned = error;

    lease->operation = NULL;
    if (lapsed(lease))
        return;
    if (response && response->reason == KUBE_OK) {
        hold(lease, response->object);
        return;
    }
    bool stale =
        response && (response->reason == KUBE_CONFLICT || response->reason == KUBE_ALREADY_EXISTS ||
                     response->reason == KUBE_NOT_FOUND);
    if (stale && lease->rereads++ < REREADS_MAX) {
        read_record(lease);
        return;
    }
    fail(lease, fault_of(TAKE(owned), response, "write the lease"), "lease cannot be written");
}

/* Writes ourselves in: into what we saw, or as a new object where there is none. */
static void claim(struct lease *lease)
{
    const struct lease_claim claim = {lease->options.identity, lease->options.duration_ms,
                                      clock_wall_ms(lease->options.clock)};
    _cleanup_(json) json_t *record =
        lease->seen ? lease_record_claimed(lease->seen, &claim)
                    : lease_record_new(lease->options.namespace_name, lease->options.name, &claim);
    struct error *error = NULL;

    lease->sent_ms = now_ms(lease);
    error = record ? send_request(lease, lease->seen ? "PUT" : "POST", record, on_written)
                   : error_out_of_memory();
    if (error)
        fail(lease, error, "lease cannot be written");
}

/* What we read decides: ours or nobody's, another's in its time, another's whose time is over. */
static void judge(struct lease *lease)
{
    const char *holder = lease_record_holder(lease->seen);
    bool ours = strcmp(holder, lease->options.identity) == 0;
    int64_t term = lease_record_duration_ms(lease->seen, lease->options.duration_ms);

    if (lease->leading && !ours)
        lose(lease, "another took it");
    else if (ours || !*holder || now_ms(lease) - lease->seen_ms >= term)
        claim(lease);
    else
        try_later(lease);
}

static void on_read(void *context, struct error *error, const struct kube_response *response)
{
    struct lease *lease = context;
    _cleanup_(error) struct error *owned = error;

    lease->operation = NULL;
    if (lapsed(lease))
        return;
    if (response && response->reason == KUBE_NOT_FOUND) {
        json_decref(lease->seen);
        lease->seen = NULL;
        claim(lease);
    } else if (response && response->reason == KUBE_OK) {
        observe(lease, response->object);
        judge(lease);
    } else {
        fail(lease, fault_of(TAKE(owned), response, "read the lease"), "lease cannot be read");
    }
}

static void read_record(struct lease *lease)
{
    struct error *error = send_request(lease, "GET", NULL, on_read);

    if (error)
        fail(lease, error, "lease cannot be read");
}

static void try_now(uv_timer_t *timer)
{
    struct lease *lease = timer->data;

    if (lapsed(lease))
        return;
    if (lease->leading)
        claim(lease);
    else
        read_record(lease);
}

struct error *lease_start(struct lease *lease)
{
    uv_timer_start(&lease->retry, try_now, 0, 0);
    return NULL;
}

/* Releasing is done, or given up. Tells last: the listener may free. */
static void end_release(struct lease *lease)
{
    operation_cancel(&lease->operation);
    uv_timer_stop(&lease->retry);
    lease->released(lease->released_context);
}

static void on_release_time(uv_timer_t *timer)
{
    end_release(timer->data);
}

static void release_read(struct lease *lease);

static void on_release_written(void *context, struct error *error,
                               const struct kube_response *response)
{
    struct lease *lease = context;
    const struct log_subject subject = subject_of(lease);
    _cleanup_(error) struct error *owned = error;

    lease->operation = NULL;
    if (response && response->reason == KUBE_CONFLICT && lease->rereads++ < REREADS_MAX) {
        release_read(lease);
        return;
    }
    owned = fault_of(TAKE(owned), response, "release the lease");
    if (owned)
        log_error(lease->options.log, &subject, owned, "lease cannot be released", NULL);
    else
        log_info(lease->options.log, &subject, "lease released", NULL);
    end_release(lease);
}

/* A failure to send ends on the patience timer, never inside of the caller's call. */
static void release_write(struct lease *lease)
{
    _cleanup_(json) json_t *record =
        lease_record_released(lease->seen, clock_wall_ms(lease->options.clock));
    _cleanup_(error) struct error *error =
        record ? send_request(lease, "PUT", record, on_release_written) : error_out_of_memory();

    if (error)
        uv_timer_start(&lease->retry, on_release_time, 0, 0);
}

static void on_release_read(void *context, struct error *error,
                            const struct kube_response *response)
{
    struct lease *lease = context;

    lease->operation = NULL;
    error_free(error);
    if (!response || response->reason != KUBE_OK ||
        strcmp(lease_record_holder(response->object), lease->options.identity) != 0) {
        end_release(lease);
        return;
    }
    observe(lease, response->object);
    release_write(lease);
}

static void release_read(struct lease *lease)
{
    _cleanup_(error) struct error *error = send_request(lease, "GET", NULL, on_release_read);

    if (error)
        uv_timer_start(&lease->retry, on_release_time, 0, 0);
}

void lease_release(struct lease *lease, void (*released)(void *context), void *context)
{
    bool held = lease_held(lease);

    lease->released = released;
    lease->released_context = context;
    lease->releasing = true;
    lease->leading = false; /* another may have it as soon as this is sent */
    lease->rereads = 0;
    operation_cancel(&lease->operation);
    uv_timer_stop(&lease->deadline);
    uv_timer_start(&lease->retry, on_release_time, held ? (uint64_t)attempt_ms(lease) : 0, 0);
    if (held)
        release_write(lease); /* a renewal that was under way and arrived shows as a conflict */
}
