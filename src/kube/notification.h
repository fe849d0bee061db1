/*
 * Flux's notifications: the same events for its notification-controller, which sends them to chat,
 * webhooks and commit statuses by Alerts. See compatibility.md, "On the wire".
 *
 * Best effort and bounded like Kubernetes' events: a few tries that delay nothing; 429 says that
 * the receiver has it already.
 * https://fluxcd.io/flux/components/notification/events/
 */
#ifndef SLUICE_KUBE_NOTIFICATION_H
#define SLUICE_KUBE_NOTIFICATION_H

#include <jansson.h>
#include <stdbool.h>

#include "http/client.h"
#include "kube/kube.h"

#define NOTIFIER_RETRY_MS 1000

struct notifier;

struct notifier_options {
    uv_loop_t *loop;
    struct blob_store *blobs;
    const struct clock *clock;
    struct log *log;
    const char *address; /* of --events-addr: "http://notification-controller.flux-system.svc…./" */
    const char *controller; /* reportingController: "externalsource-controller" */
    const char *instance;   /* reportingInstance: the host's name */
    int64_t retry_ms;       /* before the second try, four times as long before each later one;
                               0: NOTIFIER_RETRY_MS */
};

/* A bad address: ERROR_CONFIGURATION, naming the flag. */
struct error *notifier_new(const struct notifier_options *options, struct notifier **notifier)
    __attribute__((warn_unused_result));

struct notification {
    struct kube_reference about;
    bool error; /* severity error, else info */
    const char *reason;
    const char *message;       /* cut to 39,000 characters */
    const char *revision;      /* metadata GROUP/revision, with the object's group; NULL for none */
    const json_t *annotations; /* of the object: those of event.toolkit.fluxcd.io/ are passed on */
};

/* Sends it, in the order of telling; everything is copied. */
void notifier_tell(struct notifier *notifier, const struct notification *notification);

/* Calls `flushed` when all told so far are delivered or given up, at the latest after `timeout_ms`.
 */
void notifier_flush(struct notifier *notifier, int64_t timeout_ms, void (*flushed)(void *context),
                    void *context);

/* Drops what is not yet delivered and frees. The loop must run once more. NULL is fine. */
void notifier_free(struct notifier *notifier);

#endif
