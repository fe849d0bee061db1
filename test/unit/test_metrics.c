/* Metrics: what is counted, and that Prometheus reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/metrics.h"

#define LABELS(...) ((const char *[]){__VA_ARGS__})

static int set_up(void **state)
{
    *state = metrics_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    metrics_free(*state);
    return 0;
}

static char *render(struct metrics *metrics)
{
    struct buffer text = BUFFER_INIT;

    metrics_render(metrics, &text);
    char *bytes = buffer_steal(&text);
    assert_non_null(bytes);
    return bytes;
}

static void assert_renders(struct metrics *metrics, const char *expected)
{
    _cleanup_(free) char *text = render(metrics);

    assert_string_equal(text, expected);
}

static void nothing_counted_is_nothing_shown(void **state)
{
    assert_renders(*state, "");
}

static void counters_add_up_and_gauges_move_both_ways(void **state)
{
    metrics_add(*state, &metric_source_request_total, LABELS("http", "true"), 1);
    metrics_add(*state, &metric_source_request_total, LABELS("http", "true"), 2);
    metrics_add(*state, &metric_source_request_total, LABELS("http", "true"), -5);
    metrics_add(*state, &metric_active_reconciliations, LABELS("ns", "app"), 3);
    metrics_add(*state, &metric_active_reconciliations, LABELS("ns", "app"), -1);
    metrics_set(*state, &metric_last_success_timestamp_seconds, LABELS("ns", "app"), 1);
    metrics_set(*state, &metric_last_success_timestamp_seconds, LABELS("ns", "app"), 1700000000.5);
    assert_renders(
        *state,
        "# HELP externalsource_active_reconciliations Reconciliations that are running now.\n"
        "# TYPE externalsource_active_reconciliations gauge\n"
        "externalsource_active_reconciliations{namespace=\"ns\",name=\"app\"} 2\n"
        "# HELP externalsource_last_success_timestamp_seconds When a source was last reconciled "
        "with success, in seconds since 1970.\n"
        "# TYPE externalsource_last_success_timestamp_seconds gauge\n"
        "externalsource_last_success_timestamp_seconds{namespace=\"ns\",name=\"app\"} "
        "1700000000.5\n"
        "# HELP externalsource_source_request_total Fetches from upstream, by type of generator.\n"
        "# TYPE externalsource_source_request_total counter\n"
        "externalsource_source_request_total{source_type=\"http\",success=\"true\"} 3\n");
}

static void a_histogram_counts_each_bucket_and_all_below_it(void **state)
{
    static const double values[] = {0.05, 0.1, 0.2, 45, 100};

    for (size_t i = 0; i < 5; i++)
        metrics_observe(*state, &metric_source_request_duration_seconds, LABELS("http", "true"),
                        values[i]);
#define NAME "externalsource_source_request_duration_seconds"
#define BUCKET(bound, count) \
    NAME "_bucket{source_type=\"http\",success=\"true\",le=\"" bound "\"} " count "\n"
    assert_renders(*state,
                   "# HELP " NAME " How long fetches from upstream took, by type of generator.\n"
                   "# TYPE " NAME " histogram\n" BUCKET("0.1", "2") BUCKET("0.25", "3")
                       BUCKET("0.5", "3") BUCKET("1", "3") BUCKET("2.5", "3") BUCKET("5", "3")
                           BUCKET("10", "3") BUCKET("30", "3") BUCKET("60", "4") BUCKET("+Inf", "5")
                               NAME "_sum{source_type=\"http\",success=\"true\"} 145.35\n" NAME
                                    "_count{source_type=\"http\",success=\"true\"} 5\n");
}

static void series_are_sorted_by_their_labels(void **state)
{
    static const char *const types[] = {"s3", "http", "git"};

    for (size_t i = 0; i < 3; i++)
        metrics_add(*state, &metric_source_request_total, LABELS(types[i], "true"), 1);
    _cleanup_(free) char *text = render(*state);
    const char *git = strstr(text, "\"git\"");
    const char *http = strstr(text, "\"http\"");
    assert_true(git && http && git < http && http < strstr(text, "\"s3\""));
}

static void label_values_are_escaped_and_made_valid(void **state)
{
    metrics_add(*state, &metric_artifact_operation_total,
                LABELS("a\"b\\c\nd", "\xff"
                                     "é"),
                1);
    _cleanup_(free) char *text = render(*state);
    assert_non_null(strstr(text, "{operation=\"a\\\"b\\\\c\\nd\",success=\"?é\"} 1\n"));
}

static void long_label_values_are_cut_between_characters_and_still_one_series(void **state)
{
    char value[1001] = "x";

    for (size_t i = 1; i + 3 <= sizeof(value); i += 2)
        memcpy(value + i, "é", 3);
    metrics_add(*state, &metric_artifact_operation_total, LABELS(value, "ok"), 1);
    metrics_add(*state, &metric_artifact_operation_total, LABELS(value, "ok"), 1);
    _cleanup_(free) char *text = render(*state);
    const char *begin = strstr(text, "operation=\"");
    const char *end = strstr(text, "\",success=\"ok\"} 2\n");
    assert_non_null(begin);
    assert_non_null(end);
    assert_int_equal(end - begin - 11, 255);
}

static void the_number_of_series_is_bounded(void **state)
{
    char type[16];
    size_t lines = 0;

    for (int i = 0; i < 50010; i++) {
        snprintf(type, sizeof(type), "t%06d", i);
        metrics_add(*state, &metric_source_request_total, LABELS(type, "ok"), 1);
    }
    metrics_add(*state, &metric_source_request_total, LABELS("t000000", "ok"), 1);
    _cleanup_(free) char *text = render(*state);
    for (const char *at = strchr(text, '\n'); at; at = strchr(at + 1, '\n'))
        lines++;
    assert_int_equal(lines, 50002);
    assert_non_null(strstr(text, "{source_type=\"t000000\",success=\"ok\"} 2\n"));
    assert_non_null(strstr(text, "{source_type=\"t049999\",success=\"ok\"} 1\n"));
}

static void what_does_not_fit_a_metric_is_ignored(void **state)
{
    metrics_observe(*state, &metric_active_reconciliations, NULL, 1);
    metrics_add(*state, &metric_source_request_duration_seconds, LABELS("http"), 1);
    metrics_set(*state, &metric_source_request_total, LABELS("http", "ok"), 1);
    metrics_set(*state, &metric_active_reconciliations, LABELS("ns", "app"), NAN);
    assert_renders(*state, "");
    metrics_add(NULL, &metric_active_reconciliations, NULL, 1);
    metrics_forget(NULL, "ns", "name");
}

static void a_forgotten_object_leaves_no_series(void **state)
{
    static const char *const names[] = {"app", "other"};

    for (size_t i = 0; i < 2; i++) {
        metrics_add(*state, &metric_reconciliation_total, LABELS("ns", names[i], "http", "true"),
                    1);
        metrics_add(*state, &metric_reconciliation_total, LABELS("ns", names[i], "http", "false"),
                    1);
        metrics_observe(*state, &metric_reconciliation_duration_seconds,
                        LABELS("ns", names[i], "http", "true"), 1);
        metrics_observe(*state, &metric_gotk_reconcile_duration_seconds,
                        LABELS("ExternalSource", names[i], "ns"), 1);
    }
    metrics_forget(*state, "ns", "app");
    _cleanup_(free) char *text = render(*state);
    assert_null(strstr(text, "\"app\""));
    assert_non_null(strstr(text, "reconciliation_total{namespace=\"ns\",name=\"other\",source_type="
                                 "\"http\",success=\"false\"} 1\n"));
    assert_non_null(strstr(text, "gotk_reconcile_duration_seconds_count{kind=\"ExternalSource\","
                                 "name=\"other\",namespace=\"ns\"} 1\n"));
}

static void fill(struct metrics *metrics)
{
    const char *labels[] = {"a", "b\"\\\n", "c", "d"};
    const struct metric *const counters[] = {
        &metric_reconciliation_total, &metric_source_request_total, &metric_hook_execution_total,
        &metric_artifact_operation_total};
    const struct metric *const histograms[] = {
        &metric_reconciliation_duration_seconds, &metric_source_request_duration_seconds,
        &metric_hook_execution_duration_seconds, &metric_artifact_operation_duration_seconds,
        &metric_gotk_reconcile_duration_seconds};

    for (size_t i = 0; i < 4; i++)
        metrics_add(metrics, counters[i], labels, 1);
    for (size_t i = 0; i < 5; i++)
        metrics_observe(metrics, histograms[i], labels, 0.3);
    metrics_add(metrics, &metric_active_reconciliations, labels, 1);
    metrics_set(metrics, &metric_last_success_timestamp_seconds, labels, 1700000000.123);
}

static void promtool_finds_no_fault(void **state)
{
    if (system("command -v promtool >/dev/null 2>&1") != 0)
        skip();
    fill(*state);
    _cleanup_(free) char *text = render(*state);
    FILE *pipe = popen("promtool check metrics", "w");
    assert_non_null(pipe);
    fputs(text, pipe);
    assert_int_equal(pclose(pipe), 0);
}

static void *count_on(void *context)
{
    char name[16];

    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "n%d", i % 500);
        metrics_observe(context, &metric_reconciliation_duration_seconds,
                        LABELS("ns", name, "http", "true"), 1);
        if (i % 10 == 9)
            metrics_forget(context, "ns", name);
    }
    return NULL;
}

static void rendering_and_counting_go_on_at_once(void **state)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, count_on, *state), 0);
    for (int i = 0; i < 20; i++)
        free(render(*state));
    pthread_join(thread, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_counted_is_nothing_shown),
        TEST(counters_add_up_and_gauges_move_both_ways),
        TEST(a_histogram_counts_each_bucket_and_all_below_it),
        TEST(series_are_sorted_by_their_labels),
        TEST(label_values_are_escaped_and_made_valid),
        TEST(long_label_values_are_cut_between_characters_and_still_one_series),
        TEST(the_number_of_series_is_bounded),
        TEST(what_does_not_fit_a_metric_is_ignored),
        TEST(a_forgotten_object_leaves_no_series),
        TEST(promtool_finds_no_fault),
        TEST(rendering_and_counting_go_on_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
