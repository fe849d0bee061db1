/* Reconciles that fail: what stays, what the status says, and what is told how often. */
#include "reconcile_world.h"

static void a_collection_that_fails_is_no_failure_of_the_source(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}]", "");
    script_fail(&world->lua->script, "list", ERROR_STORAGE, "StorageOperationFailed", "no list", 1);
    reconcile_once(world);
    assert_journal(world, "get;finalizer;declare;put;publish;status;list failed;");
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
    assert_journal(world,
                   "get;finalizer;declare;put;publish;status failed;get;put;publish;status;list;");
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
    assert_journal(world, "get;finalizer failed;get;finalizer;declare;put;publish;status;list;");
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
    {"put", ERROR_STORAGE, "StorageOperationFailed", "get;stat;list;put failed;status;", false},
    {"publish", ERROR_INTERNAL, "ApiFailed", "get;stat;list;put;publish failed;status;", false},
    {"declare", ERROR_CONFIGURATION, "NameConflict", "get;declare failed;status;", true},
    {"publish", ERROR_CONFIGURATION, "NameConflict", "get;stat;list;put;publish failed;status;",
     true},
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
        assert_journal(world, "get;finalizer;declare;status;");
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
    assert_non_null(strstr(buffer_string(&world->lua->catalog.events),
                           "normal Succeeded recovered; stored artifact for revision 'latest@"));
    assert_null(json_object_get(world_status(world), "retry"));
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
    assert_true(lua_world_logged(world->lua, "the catalog failed; trying again"));
    assert_true(lua_world_logged(world->lua, "no answer"));
    reconcile_world_free(world);
}

static void a_hook_that_fails_keeps_artifact_and_token(void **state)
{
    struct reconcile_world *world = reconcile_world_new();
    static const char hook[] =
        ", \"hooks\": {\"postRequest\": [{\"name\": \"h\", \"lua\": \"return function(data)\\n"
        "if data == '2' then error { reason = 'Refused', message = 'no twos' } end\\n"
        "return data end\"}]}";

    (void)state;
    world_apply(world,
                "[{\"data\": \"1\", \"token\": \"t1\"}, {\"data\": \"2\", \"token\": \"t2\"},"
                " {\"data\": \"3\", \"token\": \"t3\"}]",
                hook);
    reconcile_once(world);
    _cleanup_(free) char *revision = strdup(status_revision(world));
    lua_world_forget_log(world->lua);
    reconcile_once(world);
    assert_journal(world, "get;stat;list;status;");
    assert_condition(world, "Ready", "False Refused hook 'h'");
    assert_condition(world, "Stalled", "");
    assert_string_equal(status_revision(world), revision);
    assert_string_equal(json_get_string(world_status(world), "lastHandledETag"), "t1");
    reconcile_once(world);
    assert_false(lua_world_logged(world->lua, "asked with t2"));
    assert_condition(world, "Ready", "True");
    assert_string_equal(json_get_string(world_status(world), "lastHandledETag"), "t3");
    reconcile_world_free(world);
}

static void a_command_is_refused_before_anything_is_fetched(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}]",
                ", \"hooks\": {\"preRequest\": [{\"name\": \"h\", \"command\": \"jq\"}]}");
    reconcile_once(world);
    assert_journal(world, "get;finalizer;status;");
    assert_condition(world, "Stalled", "True InvalidSpec");
    reconcile_world_free(world);
}

static void a_transform_module_that_is_not_there_is_stalled(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}]",
                ", \"hooks\": {\"postRequest\": [{\"name\": \"h\", \"module\": \"gone\"}]}");
    reconcile_once(world);
    assert_condition(world, "Stalled",
                     "True InvalidSpec spec.hooks.postRequest[0].module: found 'gone', but there "
                     "is no transform module of that name");
    assert_false(lua_world_logged(world->lua, "asked with"));
    reconcile_world_free(world);
}

static void a_message_that_is_too_long_loses_its_end_not_what_is_served(void **state)
{
    struct reconcile_world *world = reconcile_world_new();
    char message[3001];

    (void)state;
    for (size_t i = 0; i < 3000; i += 2)
        memcpy(message + i, "\xc3\xa4", 2);
    message[3000] = '\0';
    _cleanup_(free) char *answers =
        format_string("[{\"data\": \"1\"}, {\"error\": {\"message\": \"%s\"}}]", message);
    world_apply(world, answers, "");
    reconcile_once(world);
    reconcile_once(world);
    _cleanup_(free) char *ready = world_condition(world, "Ready");
    assert_non_null(strstr(ready, "; serving latest@sha256:"));
    assert_true(strlen(ready) <= strlen("False GeneratorFailed ") + CONDITION_MESSAGE_MAX);
    assert_null(strstr(ready, "\xef\xbf\xbd"));
    reconcile_world_free(world);
}

static void a_catalog_that_is_away_is_asked_again_and_nobody_is_told(void **state)
{
    static const char *const verbs[] = {"declare", "publish", "status"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct reconcile_world *world = reconcile_world_new();

        world_apply(world, "[{\"data\": \"1\"}, {\"data\": \"2\"}]", "");
        reconcile_once(world);
        _cleanup_(json) json_t *before = json_deep_copy(world_status(world));
        script_fail(&world->lua->script, verbs[i], ERROR_TRANSIENT, "ApiFailed", "no answer", 1);
        reconcile_once(world);
        assert_true(json_equal(world_status(world), before));
        assert_events(world, "");
        assert_true(lua_world_logged(world->lua, "the catalog failed; trying again"));
        reconcile_world_free(world);
    }
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_collection_that_fails_is_no_failure_of_the_source),
        cmocka_unit_test(a_conflict_reconciles_again_and_tells_nothing_twice),
        cmocka_unit_test(a_conflict_of_the_finalizer_writes_nothing_else),
        cmocka_unit_test(a_failure_keeps_the_last_artifact_and_says_since_when_it_serves),
        cmocka_unit_test(stalled_is_for_configuration_and_never_beside_reconciling),
        cmocka_unit_test(a_fault_of_the_manifest_is_stalled_before_anything_is_asked),
        cmocka_unit_test(a_failure_is_told_once_and_the_recovery_too),
        cmocka_unit_test(a_status_that_cannot_be_read_is_logged_and_tried_again),
        cmocka_unit_test(a_hook_that_fails_keeps_artifact_and_token),
        cmocka_unit_test(a_command_is_refused_before_anything_is_fetched),
        cmocka_unit_test(a_transform_module_that_is_not_there_is_stalled),
        cmocka_unit_test(a_message_that_is_too_long_loses_its_end_not_what_is_served),
        cmocka_unit_test(a_catalog_that_is_away_is_asked_again_and_nobody_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
