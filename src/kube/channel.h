/*
 * The connection that requests share, and its successors. Internal to src/kube.
 *
 * A half-open HTTP/2 connection is known by its silence alone, and libcurl goes on to hand it out
 * as long as somebody waits on it. So a channel is an HTTP client of its own: one that is suspected
 * gets no new requests, and goes when those on it have ended, each within its own time-out.
 */
#ifndef SLUICE_KUBE_CHANNEL_H
#define SLUICE_KUBE_CHANNEL_H

#include <stdbool.h>

#include "http/client.h"

struct channel {
    struct http_client *http;
    unsigned attempts; /* that hold it */
    bool proven;       /* an answer came over it */
    bool retired;      /* nobody new */
};

/* Makes *current where it is NULL and holds it. */
struct error *channel_hold(struct channel **current, const struct http_client_options *options,
                           struct channel **channel) __attribute__((warn_unused_result));

/* The attempt on it has ended. May be called from the HTTP client's completion. */
void channel_release(struct channel *channel);

/* Gives it up, if it is the current one still. */
void channel_retire(struct channel **current, struct channel *channel);

#endif
