/* Deletion: in which order things go, what holds it up, and what is forgotten. */
#include "reconcile_world.h"

static void a_deleted_source_is_withdrawn_then_removed_then_released(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}, {\"data\": \"2\"}]", "");
    reconcile_once(world);
    reconcile_once(world);
    world_delete(world);
    reconcile_once(world);
    assert_journal(world, "get;withdraw;list;remove;remove;release;");
    assert_null(child_revision(world));
    reconcile_once(world);
    assert_journal(world, "get;");
    reconcile_world_free(world);
}

static void a_suspended_or_faulty_source_can_be_deleted(void **state)
{
    static const char *const more[] = {", \"suspend\": true", ", \"colour\": \"red\""};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct reconcile_world *world = reconcile_world_new();

        world_apply(world, "[{\"data\": \"1\"}]", "");
        reconcile_once(world);
        world_apply(world, "[{\"data\": \"1\"}]", more[i]);
        world_delete(world);
        reconcile_once(world);
        assert_journal(world, "get;withdraw;list;remove;release;");
        reconcile_world_free(world);
    }
}

/* What fails while a source is deleted; the finalizer stays until it works. */
static const struct {
    const char *verb;
    enum error_kind kind;
    const char *journal;
} deletions[] = {
    {"withdraw", ERROR_INTERNAL, "get;withdraw failed;status;"},
    {"list", ERROR_STORAGE, "get;withdraw;list failed;status;"},
    {"remove", ERROR_STORAGE, "get;withdraw;list;remove failed;status;"},
    {"finalizer", ERROR_INTERNAL, "get;withdraw;list;remove;release failed;status;"},
};

static void a_deletion_that_fails_keeps_the_finalizer_and_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(deletions) / sizeof(deletions[0]); i++) {
        struct reconcile_world *world = reconcile_world_new();
        json_t *metadata;

        world_apply(world, "[{\"data\": \"1\"}]", "");
        reconcile_once(world);
        world_delete(world);
        script_fail(&world->lua->script, deletions[i].verb, deletions[i].kind, "Down", "it is down",
                    1);
        reconcile_once(world);
        assert_journal(world, deletions[i].journal);
        metadata = json_object_get(world_object(world), "metadata");
        assert_int_equal(json_array_size(json_object_get(metadata, "finalizers")), 1);
        assert_true(strncmp(buffer_string(&world->lua->catalog.events), "warning Down it is down",
                            23) == 0);
        reconcile_once(world);
        assert_int_equal(json_array_size(json_object_get(metadata, "finalizers")), 0);
        reconcile_world_free(world);
    }
}

static void metrics_count_what_happened_and_forget_what_is_deleted(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}, {\"error\": {\"message\": \"rain\"}}]", "");
    reconcile_once(world);
    reconcile_once(world);
    assert_true(world_measured(world, "externalsource_reconciliation_total{namespace=\"team\","
                                      "name=\"app\",source_type=\"script\",success=\"true\"} 1\n"));
    assert_true(world_measured(world,
                               "externalsource_reconciliation_total{namespace=\"team\","
                               "name=\"app\",source_type=\"script\",success=\"false\"} 1\n"));
    assert_true(world_measured(
        world, "externalsource_source_request_total{source_type=\"script\",success=\"true\"} 1\n"));
    assert_true(world_measured(
        world,
        "externalsource_source_request_total{source_type=\"script\",success=\"false\"} 1\n"));
    assert_true(world_measured(
        world,
        "externalsource_artifact_operation_total{operation=\"store\",success=\"true\"} 1\n"));
    assert_true(world_measured(
        world, "externalsource_active_reconciliations{namespace=\"team\",name=\"app\"} 0\n"));
    assert_true(world_measured(
        world, "externalsource_last_success_timestamp_seconds{namespace=\"team\",name=\"app\"}"));
    world_delete(world);
    reconcile_once(world);
    assert_false(world_measured(world, "name=\"app\""));
    reconcile_world_free(world);
}

static void a_conflict_of_a_deletion_begins_it_anew(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}]", "");
    reconcile_once(world);
    world_delete(world);
    script_fail(&world->lua->script, "finalizer", ERROR_CONFLICT, "Conflict", "moved on", 1);
    reconcile_once(world);
    assert_journal(world, "get;withdraw;list;remove;release failed;get;withdraw;list;release;");
    assert_events(world, "");
    reconcile_world_free(world);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deleted_source_is_withdrawn_then_removed_then_released),
        cmocka_unit_test(a_suspended_or_faulty_source_can_be_deleted),
        cmocka_unit_test(a_deletion_that_fails_keeps_the_finalizer_and_is_told),
        cmocka_unit_test(metrics_count_what_happened_and_forget_what_is_deleted),
        cmocka_unit_test(a_conflict_of_a_deletion_begins_it_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
