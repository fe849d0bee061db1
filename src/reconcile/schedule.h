/*
 * When a source is due: a pure function of its status and the clock, so that a restart fetches
 * nothing early and an idle source writes nothing. Design: "Rules that keep it sound".
 */
#ifndef SLUICE_RECONCILE_SCHEDULE_H
#define SLUICE_RECONCILE_SCHEDULE_H

#include <stdint.h>

#include "base/error.h"
#include "source/source.h"

#define SCHEDULE_RETRY_AFTER_MAX_MS (15 * 60 * 1000)

struct backoff {
    int64_t base_ms;                   /* 1 s */
    int64_t max_ms;                    /* 5 m */
    unsigned max_attempts;             /* 10; then the interval */
    uint64_t (*random)(void *context); /* any 64 bits */
    void *random_context;
};

/* When (wall clock) to look at `source` with `status` next: at its retry's notBefore if it failed;
 * at the first of base + k * interval + jitter(uid, k) that is after `now_ms`, where base is when
 * it stalled (the objects that it names are then looked at again) or artifact.lastUpdateTime; at
 * once
 * (`now_ms`) where it is neither stalled nor has an artifact. */
int64_t schedule_next(const struct source *source, const struct source_status *status,
                      int64_t now_ms);

/* When (wall clock) to try again after attempt number `attempts` (from 1) ended with `error`: a
 * transient, storage or internal error by exponential backoff with full jitter, or as upstream
 * asked with Retry-After (at most SCHEDULE_RETRY_AFTER_MAX_MS), until `max_attempts`; everything
 * else, and then that too, at the interval. */
int64_t schedule_retry(const struct backoff *backoff, const struct error *error,
                       const struct source_spec *spec, unsigned attempts, int64_t now_ms);

#endif
