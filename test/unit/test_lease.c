/* The lease against a scripted API server: who holds it, since when and how long. */
#include "lease_world.h"

/* Long enough for ten tries. */
static void assert_no_more_requests(struct scene *scene)
{
    unsigned before = scene->reads + scene->writes;

    for (int i = 0; i < 10; i++)
        uv_run(&scene->api->loop, UV_RUN_ONCE);
    assert_int_equal(scene->reads + scene->writes, before);
}

static void a_lease_that_nobody_has_is_created_and_held(void **state)
{
    struct scene *scene = *state;

    assert_false(lease_held(scene->lease));
    lead(scene);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "me");
    assert_int_equal(spec_integer(scene->object, "leaseDurationSeconds"), 35);
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 0);
    assert_string_equal(spec_string(scene->object, "acquireTime"), "2026-11-25T10:40:05.042000Z");
    assert_string_equal(spec_string(scene->object, "renewTime"), "2026-11-25T10:40:05.042000Z");
}

static void a_renewal_changes_the_time_of_renewal_alone(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    api_pass(scene->api, 5001);
    let_it_write(scene);
    let_it_write(scene);
    assert_string_equal(scene->last_method, "PUT");
    assert_string_equal(spec_string(scene->object, "renewTime"), "2026-11-25T10:40:10.043000Z");
    assert_string_equal(spec_string(scene->object, "acquireTime"), "2026-11-25T10:40:05.042000Z");
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 0);
    assert_int_equal(scene->acquired, 1);
    assert_int_equal(scene->reads, 1);
}

static void another_holder_is_judged_by_our_clock_alone(void **state)
{
    static const char *const renew_times[] = {"2001-01-01T00:00:00.000000Z",
                                              "2099-01-01T00:00:00.000000Z"};

    for (size_t i = 0; i < 2; i++) {
        struct scene *scene = *state;

        put_other(scene, renew_times[i]);
        assert_null(lease_start(scene->lease));
        let_it_look(scene);
        api_pass(scene->api, OTHER_DURATION * 1000 - 1);
        let_it_look(scene);
        assert_int_equal(scene->writes, 0);
        api_pass(scene->api, 1);
        api_run_until_count(scene->api, &scene->acquired, 1);
        assert_string_equal(spec_string(scene->object, "holderIdentity"), "me");
        assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 8);
        assert_int_equal(spec_integer(scene->object, "leaseDurationSeconds"), 35);
        assert_string_equal(spec_string(scene->object, "acquireTime"),
                            "2026-11-25T10:40:25.042000Z");
        if (i == 0) {
            tear_down(state);
            set_up(state);
        }
    }
}

static void a_holder_that_renews_keeps_it(void **state)
{
    struct scene *scene = *state;

    put_other(scene, "2001-01-01T00:00:00.000000Z");
    assert_null(lease_start(scene->lease));
    let_it_look(scene);
    api_pass(scene->api, OTHER_DURATION * 1000 - 1);
    put_other(scene, "2001-01-01T00:00:00.000001Z");
    let_it_look(scene);
    api_pass(scene->api, OTHER_DURATION * 1000 - 1);
    let_it_look(scene);
    assert_int_equal(scene->writes, 0);
    api_pass(scene->api, 1);
    api_run_until_count(scene->api, &scene->acquired, 1);
}

static void a_change_of_labels_is_no_renewal(void **state)
{
    struct scene *scene = *state;

    put_other(scene, "2001-01-01T00:00:00.000000Z");
    assert_null(lease_start(scene->lease));
    let_it_look(scene);
    api_pass(scene->api, OTHER_DURATION * 1000 - 1);
    json_object_set_new(json_object_get(scene->object, "metadata"), "labels",
                        json_pack("{s:s}", "touched", "yes"));
    stamp(scene);
    let_it_look(scene);
    api_pass(scene->api, 1);
    api_run_until_count(scene->api, &scene->acquired, 1);
    assert_non_null(json_object_get(json_object_get(scene->object, "metadata"), "labels"));
}

static void other_creates(struct scene *scene)
{
    put_other(scene, "2026-01-01T00:00:00.000000Z");
}

static void who_loses_the_race_to_create_it_waits(void **state)
{
    struct scene *scene = *state;

    scene->before_write = other_creates;
    assert_null(lease_start(scene->lease));
    let_it_write(scene);
    let_it_look(scene);
    assert_int_equal(scene->writes, 1);
    assert_int_equal(scene->acquired, 0);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "other");
}

static void who_loses_the_race_to_take_it_over_waits(void **state)
{
    struct scene *scene = *state;

    put_other(scene, "2026-01-01T00:00:00.000000Z");
    json_object_set_new(spec_of(scene), "holderIdentity", json_string(""));
    scene->before_write = other_creates;
    assert_null(lease_start(scene->lease));
    let_it_write(scene);
    let_it_look(scene);
    assert_int_equal(scene->writes, 1);
    assert_int_equal(scene->acquired, 0);
}

static void a_conflict_with_who_only_touched_it_costs_nothing(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    stamp(scene);
    let_it_write(scene); /* refused */
    let_it_write(scene);
    let_it_write(scene);
    assert_int_equal(scene->reads, 2);
    assert_true(lease_held(scene->lease));
    assert_int_equal(scene->acquired, 1);
    assert_int_equal(scene->lost, 0);
}

static void another_holder_ends_our_leading_at_once(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    put_other(scene, "2026-01-01T00:00:00.000000Z");
    api_run_until_count(scene->api, &scene->lost, 1);
    assert_false(lease_held(scene->lease));
    assert_no_more_requests(scene);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "other");
    assert_int_equal(scene->lost, 1);
    assert_int_equal(api_count_in_log(scene->api, "another took it"), 1);
}

static void a_lease_deleted_beneath_us_is_made_anew(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    json_decref(scene->object);
    scene->object = NULL;
    while (!scene->object)
        let_it_write(scene);
    let_it_write(scene);
    assert_true(lease_held(scene->lease));
    assert_int_equal(scene->acquired, 1);
    assert_int_equal(scene->lost, 0);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "me");
}

static void it_is_held_until_the_deadline_and_not_a_moment_longer(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    scene->hold_writes = true;
    api_pass(scene->api, LEASE_RENEW_DEADLINE_MS - 1);
    assert_true(lease_held(scene->lease));
    api_pass(scene->api, 1);
    assert_false(lease_held(scene->lease));
    assert_int_equal(scene->lost, 0); /* the loop has not turned */
    api_run_until_count(scene->api, &scene->lost, 1);
}

static void our_term_counts_from_before_the_renewal_was_sent(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    scene->hold_writes = true;
    let_it_write(scene);
    api_pass(scene->api, LEASE_RENEW_DEADLINE_MS - 5);
    scene->hold_writes = false;
    serve(scene, TAKE(scene->api->held));
    scene->hold_writes = true;
    let_it_write(scene); /* the next one: the answer has been taken */
    api_pass(scene->api, 4);
    assert_true(lease_held(scene->lease));
    api_pass(scene->api, 1);
    assert_false(lease_held(scene->lease));
}

static void a_renewal_answered_after_the_deadline_comes_too_late(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    scene->hold_writes = true;
    let_it_write(scene);
    api_pass(scene->api, LEASE_RENEW_DEADLINE_MS);
    scene->hold_writes = false;
    serve(scene, TAKE(scene->api->held));
    api_run_until_count(scene->api, &scene->lost, 1);
    /* The record still names us, so who starts again leads again. */
    lead(scene);
    assert_int_equal(scene->lost, 1);
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 0);
}

static void a_silent_server_costs_the_lease_exactly_once(void **state)
{
    struct scene *scene = *state;

    use_machine_clock(scene, 300);
    lead(scene);
    scene->silent = true;
    api_run_until_count(scene->api, &scene->lost, 1);
    scene->silent = false;
    assert_no_more_requests(scene);
    lead(scene);
    assert_int_equal(scene->lost, 1);
}

static void a_refusing_server_is_asked_again_and_complained_of_once(void **state)
{
    struct scene *scene = *state;

    scene->refuse_code = 403;
    assert_null(lease_start(scene->lease));
    let_it_look(scene);
    assert_int_equal(api_count_in_log(scene->api, "lease cannot be read"), 1);
    scene->refuse_code = 0;
    api_run_until_count(scene->api, &scene->acquired, 1);
    assert_int_equal(api_count_in_log(scene->api, "lease cannot be read"), 0);
}

static void freed_in_mid_request_it_says_nothing(void **state)
{
    struct scene *scene = *state;

    scene->silent = true;
    assert_null(lease_start(scene->lease));
    api_run_until_count(scene->api, &scene->reads, 1);
    lease_free(scene->lease);
    scene->lease = NULL;
    for (int i = 0; i < 20; i++)
        uv_run(&scene->api->loop, UV_RUN_NOWAIT);
    assert_int_equal(scene->acquired + scene->lost, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lease_that_nobody_has_is_created_and_held),
        TEST(a_renewal_changes_the_time_of_renewal_alone),
        TEST(another_holder_is_judged_by_our_clock_alone),
        TEST(a_holder_that_renews_keeps_it),
        TEST(a_change_of_labels_is_no_renewal),
        TEST(who_loses_the_race_to_create_it_waits),
        TEST(who_loses_the_race_to_take_it_over_waits),
        TEST(a_conflict_with_who_only_touched_it_costs_nothing),
        TEST(another_holder_ends_our_leading_at_once),
        TEST(a_lease_deleted_beneath_us_is_made_anew),
        TEST(it_is_held_until_the_deadline_and_not_a_moment_longer),
        TEST(our_term_counts_from_before_the_renewal_was_sent),
        TEST(a_renewal_answered_after_the_deadline_comes_too_late),
        TEST(a_silent_server_costs_the_lease_exactly_once),
        TEST(a_refusing_server_is_asked_again_and_complained_of_once),
        TEST(freed_in_mid_request_it_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
