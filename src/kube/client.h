/*
 * Requests to the Kubernetes API.
 *
 * All but watches share an HTTP/2 connection, at most KUBE_REQUESTS_MAX in flight, others wait in
 * order; each watch has a connection of its own, so that a stalled one holds nobody up. After a
 * request timed out or its connection broke, all new ones go to a fresh connection, because the old
 * one may be half open; 429 and 5xx are tried again when the server says so, or with jittered
 * backoff, until the request's time is over: then its last answer or failure counts. Every request
 * of ours may be repeated: reads, applies, patches that name a resourceVersion, deletes that name a
 * uid. A token file is read again when it has changed and when the server answers 401.
 */
#ifndef SLUICE_KUBE_CLIENT_H
#define SLUICE_KUBE_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/operation.h"
#include "kube/config.h"
#include "kube/kube.h"

#define KUBE_REQUESTS_MAX 64
#define KUBE_TIMEOUT_MS 30000  /* of one attempt */
#define KUBE_PATIENCE_MS 60000 /* of a request with its attempts, where it names none */

#define KUBE_JSON "application/json"
#define KUBE_APPLY "application/apply-patch+yaml"
#define KUBE_MERGE_PATCH "application/merge-patch+json"
/* Of objects their metadata alone: without full objects to fall back on, or a Secret's data might
 * come. */
#define KUBE_METADATA_LIST "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
#define KUBE_METADATA_WATCH "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

struct kube_client;

struct kube_client_options {
    uv_loop_t *loop;
    struct blob_store *blobs;
    const struct clock *clock;
    struct log *log;
    const struct kube_config *config;
    /* May we write now? Asked immediately before every attempt of a write that is not `unfenced`: a
     * process that lost its lease must not. NULL: always. */
    bool (*may_write)(void *context);
    void *fence_context;
    uint64_t (*random)(void *context); /* any 64 bits, for jitter */
    void *random_context;
};

/* What options point to must outlive the client; the config is copied. */
struct error *kube_client_new(const struct kube_client_options *options,
                              struct kube_client **client) __attribute__((warn_unused_result));

/* Every request must have ended or been cancelled. The loop must run once more. NULL is fine. */
void kube_client_free(struct kube_client *client);

struct kube_request {
    const char *method;
    const char *path;         /* of kube_path, perhaps with "?query" */
    const char *content_type; /* of the body: KUBE_JSON, KUBE_APPLY or KUBE_MERGE_PATCH */
    const char *accept;       /* NULL: application/json */
    const json_t *body;       /* NULL for none; written before the call returns */
    int64_t timeout_ms;       /* of one attempt; 0: KUBE_TIMEOUT_MS */
    int64_t patience_ms;      /* 0: KUBE_PATIENCE_MS; below 0: one attempt */
    bool unfenced; /* the lease itself: may be written without leading, and waits for no turn */
};

/* Why the API said no: metav1.Status' reason and causes, not the code alone. */
enum kube_reason {
    KUBE_OK,
    KUBE_NOT_FOUND,
    KUBE_CONFLICT,          /* the resourceVersion or uid named is not the object's */
    KUBE_ALREADY_EXISTS,    /* 409 of a create */
    KUBE_MANAGER_CONFLICT,  /* 409 with cause FieldManagerConflict */
    KUBE_EXPIRED,           /* 410 Gone or Expired: list again */
    KUBE_VERSION_TOO_LARGE, /* 504 with cause ResourceVersionTooLarge: list without a version */
    KUBE_INVALID,           /* 422, and 500 "field not declared in schema": never tried again */
    KUBE_BAD_REQUEST,
    KUBE_UNAUTHORIZED,
    KUBE_FORBIDDEN,
    KUBE_TERMINATING, /* 403 with cause NamespaceTerminating */
    KUBE_THROTTLED,   /* 429 */
    KUBE_UNAVAILABLE, /* 5xx, Timeout, ServerTimeout */
    KUBE_OTHER,
};

struct kube_response {
    unsigned code; /* HTTP status */
    enum kube_reason reason;
    const char *message;    /* of the Status; "" where there is none */
    int64_t retry_after_ms; /* 0 where the server said nothing */
    json_t *object; /* the answer; of a watch, and of a refusal that is no JSON, NULL. Incref it to
                       keep it */
};

/* Exactly one of `error` (owned by the receiver: no answer came, or a success that is no JSON
 * object; ERROR_TRANSIENT) and `response` (valid during the call) is not NULL. A write that
 * may_write refused: ERROR_INTERNAL, NotLeader. */
typedef void (*kube_done)(void *context, struct error *error, const struct kube_response *response);

struct error *kube_client_send(struct kube_client *client, const struct kube_request *request,
                               kube_done done, void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* Streams a watch: `line` is called with each complete line (no newline; valid during the call),
 * `done` once, when the stream has ended: with a response of code 200 where the server closed it,
 * with another where it refused. No retries. Both may cancel the operation. A line over 8 MiB ends
 * it with an error. */
struct error *kube_client_watch(struct kube_client *client, const char *path, const char *accept,
                                void (*line)(void *context, const char *text, size_t length),
                                kube_done done, void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* The typed error of a response that is not KUBE_OK: "WHAT: message of the Status". Conflict and
 * "already exists" give ERROR_CONFLICT; not found, expired, terminating, throttled and unavailable
 * ERROR_TRANSIENT with retry_after_ms; forbidden, unauthorized, invalid and bad requests
 * ERROR_INTERNAL (backoff: a person mends roles, not the source), with a hint at the role that is
 * missing. Reason: APIServerError. */
struct error *kube_response_error(const struct kube_response *response, const char *what)
    __attribute__((returns_nonnull, warn_unused_result));

/* Classifies a Status object (metav1.Status, with HTTP code `code`; 0: the one it states), as ERROR
 * events in a watch carry it. */
enum kube_reason kube_status_reason(const json_t *status, unsigned code);

#endif
