/* When a source is due: a pure function, so every case is a line in a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "reconcile/schedule.h"

#define MINUTE INT64_C(60000)
#define INTERVAL (10 * MINUTE)
#define SPREAD (INTERVAL * 5 / 100)
#define T0 INT64_C(1700000000000)

static uint64_t largest(void *context)
{
    (void)context;
    return UINT64_MAX;
}

static const struct backoff backoff = {1000, 5 * MINUTE, 10, largest, NULL};

static void an_artifact_is_checked_at_the_first_slot_that_is_not_past(void **state)
{
    struct source_spec spec = {.interval_ms = INTERVAL};
    struct source source = {.uid = (char *)"uid", .spec = &spec};
    struct artifact_record artifact = {.last_update_ms = T0};
    struct source_status status = {.artifact = &artifact};
    const struct {
        int64_t now;
        int64_t slot; /* number of intervals after T0 that the result must belong to */
    } cases[] = {
        {T0, 1},
        {T0 + MINUTE, 1},
        {T0 + 35 * MINUTE, 4},
        {T0 - 5 * MINUTE, 1},
        {T0 + 100 * INTERVAL + INTERVAL / 2, 101},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t due = schedule_next(&source, &status, cases[i].now);

        assert_true(due > cases[i].now);
        assert_true(due >= T0 + cases[i].slot * INTERVAL);
        assert_true(due < T0 + cases[i].slot * INTERVAL + SPREAD);
    }
}

static void a_slot_that_was_just_used_gives_the_next_one(void **state)
{
    struct source_spec spec = {.interval_ms = INTERVAL};
    struct source source = {.uid = (char *)"uid", .spec = &spec};
    struct artifact_record artifact = {.last_update_ms = T0};
    struct source_status status = {.artifact = &artifact};
    int64_t first = schedule_next(&source, &status, T0);

    (void)state;
    assert_int_equal(schedule_next(&source, &status, first - 1), first);
    assert_true(schedule_next(&source, &status, first) >= T0 + 2 * INTERVAL);
}

static void sources_of_one_minute_do_not_all_come_at_once(void **state)
{
    struct source_spec spec = {.interval_ms = INTERVAL};
    struct artifact_record artifact = {.last_update_ms = T0};
    struct source_status status = {.artifact = &artifact};
    struct source a = {.uid = (char *)"uid-a", .spec = &spec};
    struct source b = {.uid = (char *)"uid-b", .spec = &spec};

    (void)state;
    assert_true(schedule_next(&a, &status, T0) != schedule_next(&b, &status, T0));
}

static void a_source_without_an_artifact_is_due_now(void **state)
{
    struct source_spec spec = {.interval_ms = INTERVAL};
    struct source source = {.uid = (char *)"uid", .spec = &spec};
    struct source_status status = {0};

    (void)state;
    assert_int_equal(schedule_next(&source, &status, T0), T0);
}

static void a_failed_source_waits_for_what_its_status_says(void **state)
{
    struct source_spec spec = {.interval_ms = INTERVAL};
    struct source source = {.uid = (char *)"uid", .spec = &spec};
    struct source_status status = {.retry_not_before_ms = T0 + 17};

    (void)state;
    assert_int_equal(schedule_next(&source, &status, T0), T0 + 17);
}

static void failures_are_tried_again_when_their_kind_says(void **state)
{
    struct source_spec spec = {.interval_ms = INTERVAL};
    const struct {
        enum error_kind kind;
        int64_t retry_after_ms;
        unsigned attempts;
        int64_t at_least;
        int64_t at_most;
    } cases[] = {
        {ERROR_TRANSIENT, 0, 1, 1, 1000},
        {ERROR_TRANSIENT, 0, 4, 1, 8000},
        {ERROR_STORAGE, 0, 9, 1, 256000},
        {ERROR_TRANSIENT, 0, 10, INTERVAL, INTERVAL},
        {ERROR_TRANSIENT, 7000, 1, 7000, 7000},
        {ERROR_TRANSIENT, 24 * 60 * MINUTE, 1, 15 * MINUTE, 15 * MINUTE},
        {ERROR_UPSTREAM, 0, 1, INTERVAL, INTERVAL},
        {ERROR_HOOK, 0, 3, INTERVAL, INTERVAL},
        {ERROR_CONFIGURATION, 0, 1, INTERVAL, INTERVAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error = {.kind = cases[i].kind, .retry_after_ms = cases[i].retry_after_ms};
        int64_t delay = schedule_retry(&backoff, &error, &spec, cases[i].attempts, T0) - T0;

        assert_in_range(delay, cases[i].at_least, cases[i].at_most);
    }
}

static void a_manifest_that_cannot_be_read_is_tried_again_all_the_same(void **state)
{
    struct error error = {.kind = ERROR_CONFIGURATION};

    (void)state;
    assert_int_equal(schedule_retry(&backoff, &error, NULL, 1, T0), T0 + SPEC_INTERVAL_MIN_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_artifact_is_checked_at_the_first_slot_that_is_not_past),
        cmocka_unit_test(a_slot_that_was_just_used_gives_the_next_one),
        cmocka_unit_test(sources_of_one_minute_do_not_all_come_at_once),
        cmocka_unit_test(a_source_without_an_artifact_is_due_now),
        cmocka_unit_test(a_failed_source_waits_for_what_its_status_says),
        cmocka_unit_test(failures_are_tried_again_when_their_kind_says),
        cmocka_unit_test(a_manifest_that_cannot_be_read_is_tried_again_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
