/* When the reconciler works and when it stops, over a scripted catalog: what wakes a source,
 * progress that is shown, and work in flight at the end. */
#include "reconcile_world.h"

#define HOUR_MS ((int64_t)3600 * 1000)

/* A running reconciler, after the first reconcile of team/app. */
static struct reconcile_world *running_world(const char *answers)
{
    struct reconcile_world *world = reconcile_world_new();

    world_apply(world, answers, "");
    reconciler_begin(world, false);
    world_wake(world, "app");
    world_until_reconciled(world, 1);
    script_clear(&world->lua->script);
    return world;
}

/* Wakes the source, and waits until it was looked at. */
static void wake(struct reconcile_world *world)
{
    unsigned before = world->reconciled;

    script_clear(&world->lua->script);
    world_wake(world, "app");
    world_until_reconciled(world, before + 1);
}

static void a_source_that_is_not_due_is_left_alone(void **state)
{
    struct reconcile_world *world = running_world("[{\"data\": \"1\"}, {\"data\": \"2\"}]");

    (void)state;
    wake(world);
    assert_journal(world, "get;stat;list;");
    wake(world);
    assert_journal(world, "get;stat;list;");
    reconcile_world_free(world);
}

static void a_source_is_reconciled_when_its_interval_is_over(void **state)
{
    struct reconcile_world *world = running_world("[{\"data\": \"1\"}, {\"data\": \"2\"}]");

    (void)state;
    world->lua->ahead_ms += 2 * HOUR_MS;
    script_clear(&world->lua->script);
    world_wake(world, "other"); /* the queue looks at the clock */
    world_until_reconciled(world, 2);
    assert_journal(world, "get;get;stat;put;publish;status;list;");
    reconcile_world_free(world);
}

static void a_new_spec_is_reconciled_at_once(void **state)
{
    struct reconcile_world *world = running_world("[{\"data\": \"1\"}]");

    (void)state;
    world_apply(world, "[{\"data\": \"2\"}]", "");
    wake(world);
    assert_journal(world, "get;stat;list;put;publish;status;list;");
    reconcile_world_free(world);
}

/* As when a process is killed between the ExternalArtifact and the status. */
static void an_external_artifact_that_is_put_right_is_tidied_up_after(void **state)
{
    struct reconcile_world *world = running_world("[{\"data\": \"1\"}]");

    (void)state;
    world->lua->catalog.differs = true;
    wake(world);
    assert_journal(world, "get;stat;publish;list;");
    reconcile_world_free(world);
}

static void a_request_is_answered_once(void **state)
{
    struct reconcile_world *world = running_world("[{\"data\": \"1\"}]");

    (void)state;
    world_annotate(world, ANNOTATION_REQUESTED_AT, "now");
    wake(world);
    assert_journal(world, "get;stat;list;status;");
    assert_string_equal(json_get_string(world_status(world), "lastHandledReconcileAt"), "now");
    wake(world);
    assert_journal(world, "get;stat;list;");
    reconcile_world_free(world);
}

static void a_failure_waits_for_its_backoff(void **state)
{
    struct reconcile_world *world =
        running_world("[{\"error\": {\"message\": \"rain\", \"retry_after\": 600}}, {\"data\": "
                      "\"1\"}]");

    (void)state;
    wake(world);
    assert_journal(world, "get;");
    world->lua->wall_ahead_ms += 599000;
    wake(world);
    assert_journal(world, "get;");
    world->lua->wall_ahead_ms += 2000;
    wake(world);
    assert_journal(world, "get;put;publish;status;list;");
    reconcile_world_free(world);
}

static void a_changed_spec_does_not_wait_for_the_old_ones_backoff(void **state)
{
    static const char *const kinds[] = {"configuration", "transient", "upstream"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        _cleanup_(free) char *answers = format_string(
            "[{\"error\": {\"message\": \"rain\", \"kind\": \"%s\", \"retry_after\": 600}}]",
            kinds[i]);
        struct reconcile_world *world = running_world(answers);

        world_apply(world, "[{\"data\": \"mended\"}]", "");
        wake(world);
        assert_journal(world, "get;put;publish;status;list;");
        assert_condition(world, "Ready", "True");
        reconcile_world_free(world);
    }
}

static void a_request_does_not_wait_for_the_backoff(void **state)
{
    struct reconcile_world *world =
        running_world("[{\"error\": {\"message\": \"rain\", \"retry_after\": 600}}, {\"data\": "
                      "\"1\"}]");

    (void)state;
    world_annotate(world, ANNOTATION_REQUESTED_AT, "now");
    wake(world);
    assert_journal(world, "get;put;publish;status;list;");
    reconcile_world_free(world);
}

static void a_short_backoff_is_over_by_itself(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world->random = 0;
    world_apply(world, "[{\"error\": {\"message\": \"rain\"}}, {\"data\": \"1\"}]", "");
    reconciler_begin(world, false);
    world_wake(world, "app");
    while (!child_revision(world))
        world_turn(world);
    world_until_reconciled(world, world->reconciled + 1);
    assert_condition(world, "Ready", "True");
    reconcile_world_free(world);
}

static void a_deletion_cancels_what_runs(void **state)
{
    struct reconcile_world *world = reconcile_world_new();
    const json_t *metadata;

    (void)state;
    world_apply(world, "[{\"data\": \"1\", \"seconds\": 50}]", "");
    reconciler_begin(world, false);
    world_wake(world, "app");
    wait_for_log(world->lua, "asked with no token");
    world_delete(world);
    reconciler_source_changed(world->reconciler, "team", "app", true);
    metadata = json_object_get(world_object(world), "metadata");
    while (json_array_size(json_object_get(metadata, "finalizers")) > 0)
        world_turn(world);
    assert_journal(world, "get;finalizer;declare;get;withdraw;list;release;");
    reconcile_world_free(world);
}

static void what_wakes_a_source_that_runs_makes_it_run_again(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}]", "");
    reconciler_begin(world, false);
    world->lua->script.held = "put";
    world_wake(world, "app");
    while (!world->lua->script.waiting)
        world_turn(world);
    world_apply(world, "[{\"data\": \"2\"}]", "");
    world_wake(world, "app");
    script_release(&world->lua->script);
    while (json_get_integer(world_status(world), "observedGeneration", -1) != 2)
        world_turn(world);
    assert_condition(world, "Ready", "True");
    assert_string_equal(status_revision(world), child_revision(world));
    reconcile_world_free(world);
}

static void a_long_fetch_is_shown_and_no_trace_of_it_is_left(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\", \"seconds\": 1}]", "");
    reconciler_begin(world, false);
    world_wake(world, "app");
    while (world->lua->catalog.status_writes == 0)
        world_turn(world);
    assert_condition(world, "Fetching", "True Progressing fetching from upstream");
    assert_condition(world, "Reconciling", "True Progressing");
    assert_condition(world, "Ready", "Unknown Progressing");
    assert_int_equal(json_get_integer(world_status(world), "observedGeneration", -1), -1);
    world_until_reconciled(world, 1);
    assert_condition(world, "Fetching", "");
    assert_condition(world, "Reconciling", "");
    assert_condition(world, "Ready", "True");
    assert_journal(world, "get;finalizer;declare;status;put;publish;status;list;");
    reconcile_world_free(world);
}

static void an_outcome_waits_for_the_write_of_progress(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\", \"seconds\": 0.7}]", "");
    reconciler_begin(world, false);
    world->lua->script.held = "status";
    world_wake(world, "app");
    while (!world->lua->script.waiting)
        world_turn(world);
    while (!child_revision(world))
        world_turn(world);
    assert_int_equal(world->reconciled, 0);
    script_release(&world->lua->script);
    world_until_reconciled(world, 1);
    assert_condition(world, "Ready", "True");
    assert_condition(world, "Fetching", "");
    assert_journal(world, "get;finalizer;declare;put;publish;status;status;list;");
    reconcile_world_free(world);
}

static void a_stop_with_nothing_to_do_is_told_on_the_next_turn(void **state)
{
    struct reconcile_world *world = running_world("[{\"data\": \"1\"}]");

    (void)state;
    assert_null(reconciler_stop(world->reconciler, 600000, on_stopped, world));
    assert_int_equal(world->stopped, 0);
    while (!world->stopped)
        world_turn(world);
    assert_int_equal(world->stopped, 1);
    reconcile_world_free(world);
}

static void work_in_flight_finishes_within_the_grace_and_nothing_new_begins(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}]", "");
    reconciler_begin(world, false);
    world->lua->script.held = "publish";
    world_wake(world, "app");
    while (!world->lua->script.waiting)
        world_turn(world);
    assert_null(reconciler_stop(world->reconciler, 600000, on_stopped, world));
    world_wake(world, "other");
    world_wake(world, "app");
    script_release(&world->lua->script);
    while (!world->stopped)
        world_turn(world);
    assert_journal(world, "get;finalizer;declare;put;publish;status;list;");
    assert_condition(world, "Ready", "True");
    reconcile_world_free(world);
}

static void work_past_the_grace_is_cancelled(void **state)
{
    static const char *const verbs[] = {"get", "finalizer", "put", "publish", "status", "list"};

    (void)state;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        struct reconcile_world *world = reconcile_world_new();
        _cleanup_(free) char *cancelled = format_string("cancelled %s;", verbs[i]);

        world_apply(world, "[{\"data\": \"1\"}]", "");
        reconciler_begin(world, false);
        world->lua->script.held = verbs[i];
        world_wake(world, "app");
        while (!world->lua->script.waiting)
            world_turn(world);
        assert_null(reconciler_stop(world->reconciler, 1, on_stopped, world));
        while (!world->stopped)
            world_turn(world);
        assert_non_null(strstr(buffer_string(&world->lua->script.journal), cancelled));
        assert_null(world->lua->script.waiting);
        assert_int_equal(world->stopped, 1);
        reconcile_world_free(world);
    }
}

static void a_call_into_lua_past_the_grace_is_cancelled(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\", \"seconds\": 50}]", "");
    reconciler_begin(world, false);
    world_wake(world, "app");
    wait_for_log(world->lua, "asked with no token");
    assert_null(reconciler_stop(world->reconciler, 1, on_stopped, world));
    while (!world->stopped)
        world_turn(world);
    assert_null(child_revision(world));
    reconcile_world_free(world);
}

static void a_reconciler_may_be_freed_at_every_turn_of_the_loop(void **state)
{
    unsigned ended = 0;

    (void)state;
    for (int turns = 0; !ended; turns++) {
        struct reconcile_world *world = reconcile_world_new();

        world_apply(world, "[{\"data\": \"1\"}]",
                    ", \"hooks\": {\"postRequest\": [{\"name\": \"h\", "
                    "\"lua\": \"return function(d) return d end\"}]}");
        reconciler_begin(world, false);
        world_wake(world, "app");
        for (int i = 0; i < turns && !world->reconciled; i++)
            world_turn(world);
        ended = world->reconciled;
        reconcile_world_free(world);
        assert_true(turns < 200);
    }
}

static void a_source_that_is_gone_is_forgotten(void **state)
{
    struct reconcile_world *world = running_world("[{\"data\": \"1\"}]");

    (void)state;
    world_wake(world, "app");
    reconciler_source_gone(world->reconciler, "team", "app");
    assert_null(reconciler_stop(world->reconciler, 600000, on_stopped, world));
    while (!world->stopped)
        world_turn(world);
    assert_journal(world, "");
    reconcile_world_free(world);
}

static void an_outcome_that_cannot_be_written_is_logged_and_tried_again(void **state)
{
    struct reconcile_world *world = running_world("[{\"data\": \"1\"}]");

    (void)state;
    world_annotate(world, ANNOTATION_REQUESTED_AT, "now");
    script_fail(&world->lua->script, "status", ERROR_TRANSIENT, "ApiFailed", "no answer", 1);
    wake(world);
    assert_journal(world, "get;stat;list;status failed;get;stat;status;");
    assert_true(lua_world_logged(world->lua, "the catalog failed; trying again"));
    reconcile_world_free(world);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_that_is_not_due_is_left_alone),
        cmocka_unit_test(a_source_is_reconciled_when_its_interval_is_over),
        cmocka_unit_test(a_new_spec_is_reconciled_at_once),
        cmocka_unit_test(an_external_artifact_that_is_put_right_is_tidied_up_after),
        cmocka_unit_test(a_request_is_answered_once),
        cmocka_unit_test(a_failure_waits_for_its_backoff),
        cmocka_unit_test(a_changed_spec_does_not_wait_for_the_old_ones_backoff),
        cmocka_unit_test(a_request_does_not_wait_for_the_backoff),
        cmocka_unit_test(a_short_backoff_is_over_by_itself),
        cmocka_unit_test(a_deletion_cancels_what_runs),
        cmocka_unit_test(what_wakes_a_source_that_runs_makes_it_run_again),
        cmocka_unit_test(a_long_fetch_is_shown_and_no_trace_of_it_is_left),
        cmocka_unit_test(an_outcome_waits_for_the_write_of_progress),
        cmocka_unit_test(a_stop_with_nothing_to_do_is_told_on_the_next_turn),
        cmocka_unit_test(work_in_flight_finishes_within_the_grace_and_nothing_new_begins),
        cmocka_unit_test(work_past_the_grace_is_cancelled),
        cmocka_unit_test(a_call_into_lua_past_the_grace_is_cancelled),
        cmocka_unit_test(a_reconciler_may_be_freed_at_every_turn_of_the_loop),
        cmocka_unit_test(a_source_that_is_gone_is_forgotten),
        cmocka_unit_test(an_outcome_that_cannot_be_written_is_logged_and_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
