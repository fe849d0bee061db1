/* The phases of a reconcile and what they write, in which order, over a scripted catalog. */
#include "reconcile_world.h"

static void what_is_new_is_stored_then_published_then_told_then_collected(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"one\", \"token\": \"t1\"}]", "");
    reconcile_once(world);
    assert_journal(world, "get;finalizer;put;publish;status;list;");
    assert_condition(world, "Ready", "True Succeeded stored artifact for revision 'latest@sha256:");
    assert_condition(world, "Reconciling", "");
    assert_condition(world, "Stalled", "");
    assert_string_equal(status_revision(world), child_revision(world));
    assert_string_equal(json_get_string(world_status(world), "lastHandledETag"), "t1");
    assert_int_equal(json_get_integer(world_status(world), "observedGeneration", -1), 1);
    reconcile_world_free(world);
}

static void nothing_new_writes_nothing(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"one\", \"token\": \"t1\", \"unless\": \"t1\"}]", "");
    reconcile_once(world);
    reconcile_once(world);
    assert_journal(world, "get;stat;");
    assert_events(world, "");
    assert_true(lua_world_logged(world->lua, "asked with t1"));
    reconcile_world_free(world);
}

static void the_same_data_anew_is_neither_stored_nor_published(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"one\"}]", "");
    reconcile_once(world);
    reconcile_once(world);
    assert_journal(world, "get;stat;");
    reconcile_world_free(world);
}

static void the_same_data_with_other_metadata_is_published_alone(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"one\"}, {\"data\": \"one\", \"metadata\": {\"a\": \"b\"}}]",
                "");
    reconcile_once(world);
    reconcile_once(world);
    assert_journal(world, "get;stat;publish;status;");
    reconcile_world_free(world);
}

static void old_revisions_are_collected_but_the_one_before(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}, {\"data\": \"2\"}, {\"data\": \"3\"}]", "");
    reconcile_once(world);
    reconcile_once(world);
    assert_journal(world, "get;stat;put;publish;status;list;");
    reconcile_once(world);
    assert_journal(world, "get;stat;put;publish;status;list;remove;");
    reconcile_world_free(world);
}

static void a_collection_that_fails_is_no_failure_of_the_source(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}]", "");
    script_fail(&world->lua->script, "list", ERROR_STORAGE, "StorageOperationFailed", "no list", 1);
    reconcile_once(world);
    assert_journal(world, "get;finalizer;put;publish;status;list failed;");
    assert_condition(world, "Ready", "True");
    assert_true(lua_world_logged(world->lua, "old artifacts could not be removed"));
    reconcile_world_free(world);
}

static void a_conflict_reconciles_again_and_tells_nothing_twice(void **state)
{
    struct reconcile_world *world = reconcile_world_new();
    _cleanup_(free) char *log = NULL;

    (void)state;
    world_apply(world, "[{\"data\": \"1\", \"token\": \"t\", \"unless\": \"t\"}]", "");
    script_fail(&world->lua->script, "status", ERROR_CONFLICT, "Conflict", "moved on", 1);
    reconcile_once(world);
    assert_journal(world, "get;finalizer;put;publish;status failed;get;put;publish;status;list;");
    assert_condition(world, "Ready", "True");
    log = lua_world_log(world->lua);
    const char *first = strstr(log, "reconciliation succeeded");
    assert_non_null(first);
    assert_null(strstr(first + 1, "reconciliation succeeded"));
    assert_null(strstr(log, "reconciliation failed"));
    assert_int_equal(world->reconciled, 1);
    assert_true(world_measured(world, "externalsource_reconciliation_total{namespace=\"team\","
                                      "name=\"app\",source_type=\"script\",success=\"true\"} 1\n"));
    const char *event = buffer_string(&world->lua->catalog.events);
    assert_true(strncmp(event, "normal NewArtifact ", 19) == 0);
    assert_null(strstr(event + 1, "normal"));
    reconcile_world_free(world);
}

static void a_conflict_of_the_finalizer_writes_nothing_else(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}]", "");
    script_fail(&world->lua->script, "finalizer", ERROR_CONFLICT, "Conflict", "moved on", 1);
    reconcile_once(world);
    assert_journal(world, "get;finalizer failed;get;finalizer;put;publish;status;list;");
    reconcile_world_free(world);
}

/* A failure of a phase after a good artifact, and how the source says so. */
static const struct {
    const char *verb;
    enum error_kind kind;
    const char *reason;
    const char *journal;
    bool stalled;
} failures[] = {
    {"stat", ERROR_STORAGE, "StorageOperationFailed", "get;stat failed;status;", false},
    {"put", ERROR_STORAGE, "StorageOperationFailed", "get;stat;put failed;status;", false},
    {"publish", ERROR_TRANSIENT, "ApiFailed", "get;stat;put;publish failed;status;", false},
    {"publish", ERROR_CONFIGURATION, "NameConflict", "get;stat;put;publish failed;status;", true},
};

static void a_failure_keeps_the_last_artifact_and_says_since_when_it_serves(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        struct reconcile_world *world = reconcile_world_new();

        world_apply(world,
                    "[{\"data\": \"1\", \"token\": \"t1\"}, {\"data\": \"2\", \"token\": "
                    "\"t2\"}]",
                    "");
        reconcile_once(world);
        _cleanup_(free) char *revision = strdup(status_revision(world));
        const char *since =
            json_get_string(json_object_get(world_status(world), "artifact"), "lastUpdateTime");
        _cleanup_(free) char *expected = format_string("False %s it broke; serving %s since %s",
                                                       failures[i].reason, revision, since);

        script_fail(&world->lua->script, failures[i].verb, failures[i].kind, failures[i].reason,
                    "it broke", 1);
        reconcile_once(world);
        assert_journal(world, failures[i].journal);
        assert_condition(world, "Ready", expected);
        assert_string_equal(status_revision(world), revision);
        assert_string_equal(child_revision(world), revision);
        assert_string_equal(json_get_string(world_status(world), "lastHandledETag"), "t1");
        assert_condition(world, "Stalled", failures[i].stalled ? "True" : "");
        assert_condition(world, "Reconciling",
                         failures[i].stalled ? "" : "True ProgressingWithRetry it broke");
        reconcile_once(world);
        assert_condition(world, "Ready", "True Succeeded");
        assert_condition(world, "Stalled", "");
        assert_condition(world, "Reconciling", "");
        assert_string_not_equal(status_revision(world), revision);
        reconcile_world_free(world);
    }
}

/* What upstream raises, and whether that is Stalled. */
static const struct {
    const char *error;
    const char *reason;
    bool stalled;
} raised[] = {
    {"{\"reason\": \"Weather\", \"message\": \"rain\"}", "Weather", false},
    {"{\"reason\": \"Weather\", \"message\": \"rain\", \"kind\": \"upstream\"}", "Weather", false},
    {"{\"reason\": \"Weather\", \"message\": \"rain\", \"kind\": \"configuration\"}", "Weather",
     true},
    {"{\"reason\": \"not a reason\", \"message\": \"rain\"}", "GeneratorFailed", false},
};

static void stalled_is_for_configuration_and_never_beside_reconciling(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(raised) / sizeof(raised[0]); i++) {
        struct reconcile_world *world = reconcile_world_new();
        _cleanup_(free) char *answers = format_string("[{\"error\": %s}]", raised[i].error);
        _cleanup_(free) char *ready =
            format_string("False %s generator 'script': rain", raised[i].reason);

        world_apply(world, answers, "");
        reconcile_once(world);
        assert_journal(world, "get;finalizer;status;");
        assert_condition(world, "Ready", ready);
        assert_condition(world, "Stalled", raised[i].stalled ? "True" : "");
        assert_condition(world, "Reconciling",
                         raised[i].stalled ? "" : "True ProgressingWithRetry");
        assert_int_equal(json_get_integer(world_status(world), "observedGeneration", -1),
                         raised[i].stalled ? 1 : -1);
        assert_null(status_revision(world));
        reconcile_world_free(world);
    }
}

static void a_fault_of_the_manifest_is_stalled_before_anything_is_asked(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[]", ", \"colour\": \"red\"");
    reconcile_once(world);
    assert_journal(world, "get;finalizer;status;");
    assert_condition(world, "Stalled", "True InvalidSpec spec.colour");
    assert_condition(world, "Reconciling", "");
    assert_int_equal(json_get_integer(world_status(world), "observedGeneration", -1), 1);
    assert_false(lua_world_logged(world->lua, "asked with"));
    reconcile_world_free(world);
}

static void a_failure_is_told_once_and_the_recovery_too(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world,
                "[{\"data\": \"1\", \"token\": \"t\"}, {\"error\": {\"message\": \"rain\"}},"
                " {\"error\": {\"message\": \"rain\"}}, {\"data\": \"1\", \"token\": \"t\"}]",
                "");
    reconcile_once(world);
    reconcile_once(world);
    assert_non_null(strstr(buffer_string(&world->lua->catalog.events),
                           "warning GeneratorFailed generator 'script': rain; serving "));
    assert_int_equal(json_get_integer(json_object_get(world_status(world), "retry"), "count", 0),
                     1);
    reconcile_once(world);
    assert_events(world, "");
    assert_int_equal(json_get_integer(json_object_get(world_status(world), "retry"), "count", 0),
                     2);
    reconcile_once(world);
    assert_true(strncmp(buffer_string(&world->lua->catalog.events), "normal Succeeded ", 17) == 0);
    assert_null(json_object_get(world_status(world), "retry"));
    reconcile_world_free(world);
}

static void the_token_is_trusted_while_nothing_else_has_changed(void **state)
{
    struct reconcile_world *world = reconcile_world_new();
    static const char answers[] = "[{\"data\": \"1\", \"token\": \"t1\", \"unless\": \"t1\"}]";

    (void)state;
    world_apply(world, answers, "");
    reconcile_once(world);
    assert_true(lua_world_logged(world->lua, "asked with no token"));
    reconcile_once(world);
    assert_true(lua_world_logged(world->lua, "asked with t1"));
    lua_world_forget_log(world->lua);
    world_apply(world, answers, "");
    reconcile_once(world);
    assert_true(lua_world_logged(world->lua, "asked with no token"));
    reconcile_world_free(world);
}

static void what_storage_lost_is_made_again_whatever_upstream_says(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\", \"token\": \"t1\", \"unless\": \"t1\"}]", "");
    reconcile_once(world);
    _cleanup_(free) char *revision = strdup(status_revision(world));
    storage_free(world->storage.inner);
    assert_null(storage_memory_new(&world->lua->loop, &world->storage.inner));
    reconcile_once(world);
    assert_true(strncmp(buffer_string(&world->lua->script.journal), "get;stat;put;publish;", 21) ==
                0);
    assert_string_equal(status_revision(world), revision);
    assert_false(lua_world_logged(world->lua, "asked with t1"));
    reconcile_world_free(world);
}

static void a_source_that_went_away_is_left_alone(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    reconcile_once(world);
    assert_journal(world, "get;");
    assert_int_equal(world->reconciled, 0);
    reconcile_world_free(world);
}

static void a_suspended_source_keeps_its_status(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}, {\"data\": \"2\"}]", "");
    reconcile_once(world);
    _cleanup_(json) json_t *before = json_deep_copy(world_status(world));
    world_apply(world, "[{\"data\": \"3\"}]", ", \"suspend\": true");
    reconcile_once(world);
    assert_journal(world, "get;");
    assert_true(json_equal(world_status(world), before));
    world_apply(world, "[{\"data\": \"3\"}]", "");
    reconcile_once(world);
    assert_journal(world, "get;stat;put;publish;status;list;");
    reconcile_world_free(world);
}

static void a_request_is_handled_when_its_attempt_ends_also_in_failure(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"error\": {\"message\": \"rain\"}}]", "");
    world_annotate(world, ANNOTATION_REQUESTED_AT, "yesterday m=+1");
    reconcile_once(world);
    assert_string_equal(json_get_string(world_status(world), "lastHandledReconcileAt"),
                        "yesterday m=+1");
    reconcile_world_free(world);
}

static void force_counts_once_and_only_with_its_request(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\", \"token\": \"t1\", \"unless\": \"t1\"}]", "");
    reconcile_once(world);
    lua_world_forget_log(world->lua);
    world_annotate(world, ANNOTATION_FORCE_AT, "now");
    reconcile_once(world);
    assert_false(lua_world_logged(world->lua, "asked with no token"));
    world_annotate(world, ANNOTATION_FORCE_AT, "later");
    world_annotate(world, ANNOTATION_REQUESTED_AT, "later");
    reconcile_once(world);
    assert_true(lua_world_logged(world->lua, "asked with no token"));
    assert_string_equal(json_get_string(world_status(world), "lastHandledForceAt"), "later");
    lua_world_forget_log(world->lua);
    reconcile_once(world);
    assert_false(lua_world_logged(world->lua, "asked with no token"));
    assert_journal(world, "get;stat;");
    reconcile_world_free(world);
}

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
    {"withdraw", ERROR_TRANSIENT, "get;withdraw failed;status;"},
    {"list", ERROR_STORAGE, "get;withdraw;list failed;status;"},
    {"remove", ERROR_STORAGE, "get;withdraw;list;remove failed;status;"},
    {"finalizer", ERROR_TRANSIENT, "get;withdraw;list;remove;release failed;status;"},
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

static void a_status_that_cannot_be_read_is_logged_and_tried_again(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}]", "");
    script_fail(&world->lua->script, "get", ERROR_TRANSIENT, "ApiFailed", "no answer", 1);
    reconcile_once(world);
    assert_journal(world, "get;");
    assert_true(lua_world_logged(world->lua, "cannot read or write the source's status"));
    assert_true(lua_world_logged(world->lua, "no answer"));
    reconcile_world_free(world);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_new_is_stored_then_published_then_told_then_collected),
        cmocka_unit_test(nothing_new_writes_nothing),
        cmocka_unit_test(the_same_data_anew_is_neither_stored_nor_published),
        cmocka_unit_test(the_same_data_with_other_metadata_is_published_alone),
        cmocka_unit_test(old_revisions_are_collected_but_the_one_before),
        cmocka_unit_test(a_collection_that_fails_is_no_failure_of_the_source),
        cmocka_unit_test(a_conflict_reconciles_again_and_tells_nothing_twice),
        cmocka_unit_test(a_conflict_of_the_finalizer_writes_nothing_else),
        cmocka_unit_test(a_failure_keeps_the_last_artifact_and_says_since_when_it_serves),
        cmocka_unit_test(stalled_is_for_configuration_and_never_beside_reconciling),
        cmocka_unit_test(a_fault_of_the_manifest_is_stalled_before_anything_is_asked),
        cmocka_unit_test(a_failure_is_told_once_and_the_recovery_too),
        cmocka_unit_test(the_token_is_trusted_while_nothing_else_has_changed),
        cmocka_unit_test(what_storage_lost_is_made_again_whatever_upstream_says),
        cmocka_unit_test(a_source_that_went_away_is_left_alone),
        cmocka_unit_test(a_suspended_source_keeps_its_status),
        cmocka_unit_test(a_request_is_handled_when_its_attempt_ends_also_in_failure),
        cmocka_unit_test(force_counts_once_and_only_with_its_request),
        cmocka_unit_test(a_deleted_source_is_withdrawn_then_removed_then_released),
        cmocka_unit_test(a_suspended_or_faulty_source_can_be_deleted),
        cmocka_unit_test(a_deletion_that_fails_keeps_the_finalizer_and_is_told),
        cmocka_unit_test(metrics_count_what_happened_and_forget_what_is_deleted),
        cmocka_unit_test(a_status_that_cannot_be_read_is_logged_and_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
