/*
 * Kubernetes Events (events.k8s.io/v1): what happened to an object, for `kubectl describe`.
 *
 * Best effort and bounded: nobody waits for them. One that is the same as a recent one (object,
 * type, reason and note) becomes a series, written at most every few minutes; each object has a
 * budget, so that one that fails in ever new words cannot flood the API.
 * https://github.com/kubernetes/enhancements/tree/master/keps/sig-instrumentation/383-new-event-api-ga-graduation
 */
#ifndef SLUICE_KUBE_EVENTS_H
#define SLUICE_KUBE_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "kube/client.h"

struct events;

struct events_options {
    uv_loop_t *loop;
    const struct clock *clock;
    struct log *log;
    struct kube_client *client;
    const char
        *controller; /* reportingController: "source.flux.oddkin.co/externalsource-controller" */
    const char *instance; /* reportingInstance: the pod's or host's name */
};

/* Strings are copied. NULL without memory. */
struct events *events_new(const struct events_options *options);

struct event {
    struct kube_reference about;
    bool warning;
    const char *reason; /* CamelCase, cut to 128 bytes */
    const char *action; /* what the controller was doing: "Reconcile" */
    const char *note;   /* cut to 1,024 bytes at a UTF-8 boundary */
};

/* Tells an event; everything is copied. */
void events_tell(struct events *events, const struct event *event);

/* Calls `flushed` when the events told so far are written or given up, at the latest after
 * `timeout_ms`. For a program that ends. */
void events_flush(struct events *events, int64_t timeout_ms, void (*flushed)(void *context),
                  void *context);

/* Drops what is not yet written and frees. The loop must run once more. NULL is fine. */
void events_free(struct events *events);

#endif
