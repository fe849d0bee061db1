/* The two notations of time that users see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void rfc3339_times_are_read_and_written(void **state)
{
    const struct {
        const char *text;
        int64_t wall_ms;
        const char *written;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"},
        {"2026-11-24T03:08:00Z", 1795489680000, "2026-11-24T03:08:00Z"},
        {"2026-11-24T05:08:00.250+02:00", 1795489680250, "2026-11-24T03:08:00Z"},
        {"2024-02-29T23:59:59-00:30", 1709252999000, "2024-03-01T00:29:59Z"},
        {"1969-12-31T23:59:59Z", -1000, "1969-12-31T23:59:59Z"},
        {"0009-01-01T00:00:00Z", -61883136000000, "0009-01-01T00:00:00Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[TIME_TEXT_SIZE];
        int64_t wall_ms;

        assert_true(time_parse(cases[i].text, &wall_ms));
        assert_int_equal(wall_ms, cases[i].wall_ms);
        time_format(wall_ms, text);
        assert_string_equal(text, cases[i].written);
    }
}

static void the_earliest_and_the_latest_time_are_written_too(void **state)
{
    char text[TIME_TEXT_SIZE];

    (void)state;
    time_format(INT64_MIN, text);
    assert_string_equal(text, "-292275055-05-16T16:47:04Z");
    time_format(INT64_MAX, text);
    assert_string_equal(text, "292278994-08-17T07:12:55Z");
}

static void what_is_no_rfc3339_time_is_refused(void **state)
{
    const char *const cases[] = {"",
                                 "2026-11-24",
                                 "2026-11-24 03:08:00Z",
                                 "2026-13-24T03:08:00Z",
                                 "2026-02-29T03:08:00Z",
                                 "2026-11-24T24:08:00Z",
                                 "2026-11-24T03:08:00",
                                 "2026-11-24T03:08:00.Z",
                                 "2026-11-24T03:08:00Zx",
                                 "2026-11-24T03:08:00+2:00"};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t wall_ms;

        assert_false(time_parse(cases[i], &wall_ms));
    }
}

static void go_durations_are_read_and_written(void **state)
{
    const struct {
        const char *text;
        int64_t milliseconds;
        const char *written;
    } cases[] = {
        {"5m", 300000, "5m0s"},
        {"1h30m", 5400000, "1h30m0s"},
        {"90s", 90000, "1m30s"},
        {"500ms", 500, "500ms"},
        {"1.5s", 1500, "1.5s"},
        {"0s", 0, "0s"},
        {"1h1m1s1ms", 3661001, "1h1m1.001s"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[TIME_TEXT_SIZE];
        int64_t milliseconds;

        assert_true(duration_parse(cases[i].text, &milliseconds));
        assert_int_equal(milliseconds, cases[i].milliseconds);
        duration_format(milliseconds, text);
        assert_string_equal(text, cases[i].written);
    }
}

static void what_is_no_go_duration_is_refused(void **state)
{
    const char *const cases[] = {"",    "5",   "m",    "5 m", "-5m",           "5d", "5m ", "1.",
                                 ".5s", "5m5", "1e3s", "5us", "9999999999999h"};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t milliseconds;

        assert_false(duration_parse(cases[i], &milliseconds));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc3339_times_are_read_and_written),
        cmocka_unit_test(the_earliest_and_the_latest_time_are_written_too),
        cmocka_unit_test(what_is_no_rfc3339_time_is_refused),
        cmocka_unit_test(go_durations_are_read_and_written),
        cmocka_unit_test(what_is_no_go_duration_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
