/*
 * Who leads: a Lease that is held by renewing it, with the timing of Flux's controllers.
 *
 * Another holder's lease is judged by when we saw its record change, on our monotonic clock, never
 * by its writer's clock; ours by when we sent the last renewal that succeeded. A lease does not
 * fence by itself, so whoever writes asks lease_held first. CLOCK_BOOTTIME would be better still
 * where machines suspend; servers do not, and a stopped process (SIGSTOP) is seen by both.
 */
#ifndef SLUICE_KUBE_LEASE_H
#define SLUICE_KUBE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "kube/client.h"

#define LEASE_DURATION_MS 35000
#define LEASE_RENEW_DEADLINE_MS 30000
#define LEASE_RETRY_MS 5000

struct lease;

struct lease_options {
    uv_loop_t *loop;
    const struct clock *clock;
    struct log *log;
    struct kube_client *client;
    const char *namespace_name;
    const char *name;
    const char *identity; /* HOSTNAME_UUID: another one in each process */
    int64_t duration_ms;  /* LEASE_DURATION_MS; in whole seconds on the wire */
    int64_t renew_deadline_ms;
    int64_t retry_ms;
    uint64_t (*random)(void *context);
    void *random_context;
    /* We lead from now on. */
    void (*acquired)(void *context);
    /* We led, and do not any more: called once for each `acquired`. It is not tried for any more,
     * unless lease_start is called again. Both may free the lease. */
    void (*lost)(void *context);
    void *context;
};

/* Strings are copied. NULL without memory. */
struct lease *lease_new(const struct lease_options *options);

/* Begins to try for it, until it is acquired and lost again. */
struct error *lease_start(struct lease *lease) __attribute__((warn_unused_result));

/* Whether we hold it at this moment: the last renewal was sent less than the renew deadline ago. */
bool lease_held(const struct lease *lease);

/* Gives it back (holderIdentity "", a duration of one second), so that another takes over at once,
 * and stops trying: from here on it is not held. `released` is called when that is done or has
 * failed, at the latest after a sixth of the renew deadline; `lost` is not. At once (at the next
 * turn of the loop) where it is not held. */
void lease_release(struct lease *lease, void (*released)(void *context), void *context);

/* Stops trying and frees; does not release. The loop must run once more. NULL is fine. */
void lease_free(struct lease *lease);

#endif
