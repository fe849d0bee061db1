/*
 * Time: an interface, so that tests decide it, and the two notations that users see: RFC 3339 in
 * whole seconds (Kubernetes' metav1.Time) and Go durations ("1h30m", "500ms").
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock {
    int64_t (*wall_ms)(void *context);      /* milliseconds since 1970 UTC; may jump */
    int64_t (*monotonic_ms)(void *context); /* never goes back; for measuring and deadlines */
    void *context;
};

/* The machine's clocks. */
extern const struct clock clock_system;

static inline __attribute__((unused)) int64_t clock_wall_ms(const struct clock *clock)
{
    return clock->wall_ms(clock->context);
}

static inline __attribute__((unused)) int64_t clock_monotonic_ms(const struct clock *clock)
{
    return clock->monotonic_ms(clock->context);
}

#define TIME_TEXT_SIZE 32

/* "2026-11-24T03:08:00Z", whole seconds, rounded down. */
void time_format(int64_t wall_ms, char text[TIME_TEXT_SIZE]);

/* Accepts RFC 3339 with any offset and fraction. False if `text` is anything else. */
bool time_parse(const char *text, int64_t *wall_ms);

/* A Go duration by the CRD's pattern ^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$, in milliseconds. False for
 * anything else and for one over 100 years. */
bool duration_parse(const char *text, int64_t *milliseconds);

/* As Go's Duration.String: "1m30s", "500ms", "0s". */
void duration_format(int64_t milliseconds, char text[TIME_TEXT_SIZE]);

#endif
