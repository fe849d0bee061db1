/* The lease against a scripted API server: giving it back. */
#include "lease_world.h"

static void a_released_lease_is_taken_over_at_once(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    lease_release(scene->lease, on_released, scene);
    assert_false(lease_held(scene->lease));
    assert_int_equal(scene->released, 0);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_int_equal(scene->lost, 0);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "");
    assert_int_equal(spec_integer(scene->object, "leaseDurationSeconds"), 1);
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 0);

    lease_free(scene->lease);
    scene->acquired = 0;
    scene->lease = lease_of(scene, "next", &scene->api->clock, LEASE_RENEW_DEADLINE_MS);
    lead(scene); /* and no time has passed */
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "next");
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 1);
}

static void a_release_during_a_renewal_looks_what_became_of_it(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    scene->hold_writes = true;
    let_it_write(scene);
    stamp(scene); /* it arrived, and we do not know */
    scene->hold_writes = false;
    lease_release(scene->lease, on_released, scene);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "");
}

static void a_release_leaves_another_holder_alone(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    put_other(scene, "2026-01-01T00:00:00.000000Z");
    lease_release(scene->lease, on_released, scene);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "other");
}

static void a_release_waits_for_no_silent_server(void **state)
{
    struct scene *scene = *state;

    use_machine_clock(scene, 600);
    lead(scene);
    scene->silent = true;
    lease_release(scene->lease, on_released, scene);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_int_equal(scene->lost, 0);
}

static void releasing_what_is_not_held_asks_nobody(void **state)
{
    struct scene *scene = *state;

    lease_release(scene->lease, on_released, scene);
    assert_int_equal(scene->released, 0);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_int_equal(scene->reads + scene->writes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_released_lease_is_taken_over_at_once),
        TEST(a_release_during_a_renewal_looks_what_became_of_it),
        TEST(a_release_leaves_another_holder_alone),
        TEST(a_release_waits_for_no_silent_server),
        TEST(releasing_what_is_not_held_asks_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
