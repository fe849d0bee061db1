/* See schedule.h. Jitter is a hash of uid and slot, not a random number, so that every process
 * agrees. */
#include "reconcile/schedule.h"

#include <string.h>

#include "base/fnv.h"
#include "source/condition.h"

#define JITTER_PERCENT 5

static uint64_t hash(const char *text, uint64_t number)
{
    unsigned char bytes[8]; /* the same on every machine */

    for (size_t i = 0; i < sizeof(bytes); i++, number >>= 8)
        bytes[i] = (unsigned char)(number & 0xff);
    return fnv_add(fnv_add(FNV_BASIS, text, strlen(text)), bytes, sizeof(bytes));
}

static int64_t interval_of(const struct source *source)
{
    return source->spec ? source->spec->interval_ms : SPEC_INTERVAL_MIN_MS;
}

static int64_t slot_time(const struct source *source, int64_t base_ms, int64_t k)
{
    int64_t interval = interval_of(source);
    int64_t spread = interval * JITTER_PERCENT / 100;

    return base_ms + k * interval + (int64_t)(hash(source->uid, (uint64_t)k) % (uint64_t)spread);
}

int64_t schedule_next(const struct source *source, const struct source_status *status,
                      int64_t now_ms)
{
    if (status->retry_not_before_ms > 0)
        return status->retry_not_before_ms;
    const struct condition *stalled = condition_find(&status->conditions, CONDITION_STALLED);
    if (!status->artifact && !stalled)
        return now_ms;

    int64_t base = stalled ? stalled->last_transition_ms : status->artifact->last_update_ms;
    int64_t k = now_ms > base ? (now_ms - base) / interval_of(source) : 1;
    int64_t due = slot_time(source, base, k);

    return k > 0 && due > now_ms ? due : slot_time(source, base, k + 1);
}

int64_t schedule_retry(const struct backoff *backoff, const struct error *error,
                       const struct source_spec *spec, unsigned attempts, int64_t now_ms)
{
    int64_t interval = spec ? spec->interval_ms : SPEC_INTERVAL_MIN_MS;

    if (error->retry_after_ms > 0)
        return now_ms + (error->retry_after_ms < SCHEDULE_RETRY_AFTER_MAX_MS
                             ? error->retry_after_ms
                             : SCHEDULE_RETRY_AFTER_MAX_MS);
    if ((error->kind != ERROR_TRANSIENT && error->kind != ERROR_STORAGE &&
         error->kind != ERROR_INTERNAL) ||
        attempts >= backoff->max_attempts)
        return now_ms + interval;

    int64_t ceiling = backoff->base_ms;
    for (unsigned i = 1; i < attempts && ceiling < backoff->max_ms; i++)
        ceiling *= 2;
    if (ceiling > backoff->max_ms)
        ceiling = backoff->max_ms;
    uint64_t draw = backoff->random(backoff->random_context);
    return now_ms + (int64_t)(draw % (uint64_t)ceiling) + 1;
}
