/* The work queue, on a loop whose clock the test sets: nothing here waits for time to pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "reconcile/queue.h"

#define RUNS_MAX 64

struct fixture {
    uv_loop_t loop;
    struct clock clock;
    int64_t now_ms;
    struct queue *queue;
    char runs[RUNS_MAX][32];
    bool due[RUNS_MAX];
    size_t count;
};

static int64_t fixture_now(void *context)
{
    return ((struct fixture *)context)->now_ms;
}

static void record_run(void *context, const char *namespace_name, const char *name, bool due)
{
    struct fixture *fixture = context;

    assert_true(fixture->count < RUNS_MAX);
    fixture->due[fixture->count] = due;
    snprintf(fixture->runs[fixture->count++], sizeof(fixture->runs[0]), "%s/%s", namespace_name,
             name);
}

static void set_up(struct fixture *fixture, unsigned concurrency)
{
    memset(fixture, 0, sizeof(*fixture));
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    fixture->now_ms = 1000;
    fixture->clock = (struct clock){fixture_now, fixture_now, fixture};
    fixture->queue = queue_new(&fixture->loop, &fixture->clock, concurrency, record_run, fixture);
    assert_non_null(fixture->queue);
}

static void tear_down(struct fixture *fixture)
{
    queue_free(fixture->queue);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
}

/* Lets the queue start what is due now. */
static void turn(struct fixture *fixture)
{
    uv_update_time(&fixture->loop);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

static void add(struct fixture *fixture, const char *name, int64_t delay_ms)
{
    assert_null(queue_add(fixture->queue, "default", name, delay_ms));
}

static void a_source_added_many_times_runs_once(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture, 10);
    for (int i = 0; i < 5; i++)
        add(&fixture, "a", 0);
    assert_int_equal(fixture.count, 0); /* never from inside queue_add */
    turn(&fixture);
    assert_int_equal(fixture.count, 1);
    assert_string_equal(fixture.runs[0], "default/a");
    assert_false(fixture.due[0]);
    queue_done(fixture.queue, "default", "a", -1);
    assert_int_equal(queue_length(fixture.queue), 0);
    tear_down(&fixture);
}

static void a_source_added_while_it_runs_runs_again_afterwards(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture, 10);
    add(&fixture, "a", 0);
    turn(&fixture);
    add(&fixture, "a", 0);
    turn(&fixture);
    assert_int_equal(fixture.count, 1);
    queue_done(fixture.queue, "default", "a", -1);
    turn(&fixture);
    assert_int_equal(fixture.count, 2);
    assert_false(fixture.due[1]);
    queue_done(fixture.queue, "default", "a", -1);
    tear_down(&fixture);
}

static void the_earliest_time_asked_for_wins(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture, 10);
    add(&fixture, "a", 60000);
    add(&fixture, "b", 0);
    add(&fixture, "a", 0);
    add(&fixture, "a", 90000);
    turn(&fixture);
    assert_int_equal(fixture.count, 2);
    queue_done(fixture.queue, "default", "a", -1);
    queue_done(fixture.queue, "default", "b", -1);
    assert_int_equal(queue_length(fixture.queue), 0);
    tear_down(&fixture);
}

static void a_source_whose_time_has_come_is_due_and_one_that_is_woken_is_not(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture, 10);
    add(&fixture, "a", 0);
    turn(&fixture);
    queue_done(fixture.queue, "default", "a", 0);
    turn(&fixture);
    assert_int_equal(fixture.count, 2);
    assert_true(fixture.due[1]);
    queue_done(fixture.queue, "default", "a", 60000);
    add(&fixture, "a", 0);
    turn(&fixture);
    assert_int_equal(fixture.count, 3);
    assert_false(fixture.due[2]);
    queue_done(fixture.queue, "default", "a", -1);
    tear_down(&fixture);
}

static void waking_a_source_that_is_overdue_keeps_it_due(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture, 1);
    add(&fixture, "a", 0);
    turn(&fixture);
    queue_done(fixture.queue, "default", "a", 10);
    fixture.now_ms += 20;
    add(&fixture, "a", 0);
    while (fixture.count < 2)
        uv_run(&fixture.loop, UV_RUN_ONCE);
    assert_true(fixture.due[1]);
    queue_done(fixture.queue, "default", "a", -1);
    tear_down(&fixture);
}

static void no_more_than_the_concurrency_run_at_once(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture, 2);
    add(&fixture, "a", 0);
    add(&fixture, "b", 0);
    add(&fixture, "c", 0);
    turn(&fixture);
    assert_int_equal(fixture.count, 2);
    queue_done(fixture.queue, "default", fixture.runs[0] + strlen("default/"), -1);
    turn(&fixture);
    assert_int_equal(fixture.count, 3);
    queue_done(fixture.queue, "default", fixture.runs[1] + strlen("default/"), -1);
    queue_done(fixture.queue, "default", fixture.runs[2] + strlen("default/"), -1);
    tear_down(&fixture);
}

static void a_forgotten_source_does_not_run(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture, 10);
    add(&fixture, "a", 0);
    add(&fixture, "b", 0);
    queue_forget(fixture.queue, "default", "a");
    queue_forget(fixture.queue, "default", "unknown");
    turn(&fixture);
    assert_int_equal(fixture.count, 1);
    assert_string_equal(fixture.runs[0], "default/b");
    queue_done(fixture.queue, "default", "b", -1);
    tear_down(&fixture);
}

static void a_stopped_queue_starts_nothing(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture, 10);
    add(&fixture, "a", 0);
    queue_stop(fixture.queue);
    turn(&fixture);
    assert_int_equal(fixture.count, 0);
    tear_down(&fixture);
}

static void sources_come_in_the_order_of_their_times(void **state)
{
    struct fixture fixture;
    const int64_t delays[] = {50, 10, 70, 30, 20, 60, 40, 0};
    const char *const names[] = {"f", "b", "h", "d", "c", "g", "e", "a"};

    (void)state;
    set_up(&fixture, RUNS_MAX);
    for (size_t i = 0; i < 8; i++)
        add(&fixture, names[i], delays[i]);
    fixture.now_ms += 100;
    add(&fixture, "z", 0);
    queue_forget(fixture.queue, "default", "d");
    /* "z" is due now, so the timer fires at once and finds them all overdue. */
    while (fixture.count < 8)
        uv_run(&fixture.loop, UV_RUN_ONCE);
    const char *const expected[] = {"a", "b", "c", "e", "f", "g", "h", "z"};
    for (size_t i = 0; i < 8; i++) {
        assert_string_equal(fixture.runs[i] + strlen("default/"), expected[i]);
        queue_done(fixture.queue, "default", expected[i], -1);
    }
    tear_down(&fixture);
}

/* 0, 7, 14, …: so that every source has a moment of its own. */
static uint64_t count_by_seven(void *context)
{
    uint64_t *next = context;

    *next += 7;
    return *next - 7;
}

static void all_sources_can_be_woken_each_at_a_moment_of_its_own(void **state)
{
    struct fixture fixture;
    uint64_t next = 0;

    (void)state;
    set_up(&fixture, 10);
    add(&fixture, "early", 3);
    add(&fixture, "late-a", 100000);
    add(&fixture, "late-b", 200000);
    queue_wake_all(fixture.queue, 100, count_by_seven, &next);
    turn(&fixture);
    fixture.now_ms += 14;
    while (fixture.count < 3)
        uv_run(&fixture.loop, UV_RUN_ONCE);
    for (size_t i = 0; i < 3; i++)
        assert_false(fixture.due[i]); /* nobody's time had come */
    queue_done(fixture.queue, "default", "early", -1);
    queue_done(fixture.queue, "default", "late-a", -1);
    queue_done(fixture.queue, "default", "late-b", -1);
    tear_down(&fixture);
}

static void a_source_woken_with_all_others_while_it_runs_runs_again(void **state)
{
    struct fixture fixture;
    uint64_t next = 0;

    (void)state;
    set_up(&fixture, 10);
    add(&fixture, "a", 0);
    turn(&fixture);
    queue_wake_all(fixture.queue, 0, count_by_seven, &next);
    queue_done(fixture.queue, "default", "a", 1000000);
    turn(&fixture);
    assert_int_equal(fixture.count, 2);
    queue_done(fixture.queue, "default", "a", -1);
    tear_down(&fixture);
}

static void a_queue_that_was_stopped_goes_on_where_it_was(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture, 10);
    queue_stop(fixture.queue);
    add(&fixture, "a", 0);
    turn(&fixture);
    assert_int_equal(fixture.count, 0);
    queue_resume(fixture.queue);
    turn(&fixture);
    assert_int_equal(fixture.count, 1);
    queue_done(fixture.queue, "default", "a", -1);
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_added_many_times_runs_once),
        cmocka_unit_test(a_source_added_while_it_runs_runs_again_afterwards),
        cmocka_unit_test(the_earliest_time_asked_for_wins),
        cmocka_unit_test(a_source_whose_time_has_come_is_due_and_one_that_is_woken_is_not),
        cmocka_unit_test(waking_a_source_that_is_overdue_keeps_it_due),
        cmocka_unit_test(no_more_than_the_concurrency_run_at_once),
        cmocka_unit_test(a_forgotten_source_does_not_run),
        cmocka_unit_test(a_stopped_queue_starts_nothing),
        cmocka_unit_test(sources_come_in_the_order_of_their_times),
        cmocka_unit_test(all_sources_can_be_woken_each_at_a_moment_of_its_own),
        cmocka_unit_test(a_source_woken_with_all_others_while_it_runs_runs_again),
        cmocka_unit_test(a_queue_that_was_stopped_goes_on_where_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
