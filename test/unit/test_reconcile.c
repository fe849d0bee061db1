/* The phases of a reconcile that goes well: what they write, in which order, and what they trust.
 */
#include "reconcile_world.h"

static void what_is_new_is_stored_then_published_then_told_then_collected(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"one\", \"token\": \"t1\"}]", "");
    reconcile_once(world);
    assert_journal(world, "get;finalizer;declare;put;publish;status;list;");
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
    assert_journal(world, "get;stat;list;");
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
    assert_journal(world, "get;stat;list;");
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
    assert_journal(world, "get;stat;list;publish;status;");
    reconcile_world_free(world);
}

static void old_revisions_are_collected_but_the_one_before(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\"}, {\"data\": \"2\"}, {\"data\": \"3\"}]", "");
    reconcile_once(world);
    reconcile_once(world);
    assert_journal(world, "get;stat;list;put;publish;status;list;");
    reconcile_once(world);
    assert_journal(world, "get;stat;list;put;publish;status;list;remove;");
    reconcile_world_free(world);
}

/* As when a process is killed between publication and collection, and upstream does not change. */
static void what_was_not_collected_is_when_the_source_is_looked_at_again(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world,
                "[{\"data\": \"1\"}, {\"data\": \"2\"}, {\"data\": \"3\"}, {\"data\": \"3\"}]", "");
    reconcile_once(world);
    reconcile_once(world);
    script_fail(&world->lua->script, "remove", ERROR_STORAGE, "StorageOperationFailed", "x", 1);
    reconcile_once(world);
    assert_journal(world, "get;stat;list;put;publish;status;list;remove failed;");
    world->lua->catalog.differs = true; /* it may point at any of them */
    reconcile_once(world);
    assert_journal(world, "get;stat;publish;");
    world->lua->catalog.differs = false;
    reconcile_once(world);
    assert_journal(world, "get;stat;list;remove;");
    reconcile_once(world);
    assert_journal(world, "get;stat;list;");
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
    assert_journal(world, "get;stat;list;put;publish;status;list;");
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
    assert_journal(world, "get;stat;list;");
    reconcile_world_free(world);
}

static void a_secret_that_changed_voids_the_token(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    scripted_catalog_secret(&world->lua->catalog, "team/login", "k", "one");
    world_apply(world, "[{\"data\": \"1\", \"token\": \"t1\", \"unless\": \"t1\"}]", "");
    json_t *section = json_object_get(
        json_object_get(json_object_get(world_object(world), "spec"), "generator"), "script");
    json_object_set_new(section, "headersSecretRef", json_pack("{s:s}", "name", "login"));
    reconcile_once(world);
    lua_world_forget_log(world->lua);
    reconcile_once(world);
    assert_true(lua_world_logged(world->lua, "asked with t1"));
    scripted_catalog_secret(&world->lua->catalog, "team/login", "k", "two");
    lua_world_forget_log(world->lua);
    reconcile_once(world);
    assert_true(lua_world_logged(world->lua, "asked with no token"));
    reconcile_world_free(world);
}

static void an_artifact_server_that_moved_is_published_alone(void **state)
{
    struct reconcile_world *world = reconcile_world_new();

    (void)state;
    world_apply(world, "[{\"data\": \"1\", \"token\": \"t1\", \"unless\": \"t1\"}]", "");
    reconcile_once(world);
    json_t *artifact = json_object_get(world_status(world), "artifact");
    json_object_set_new(artifact, "url", json_string("http://elsewhere/x"));
    reconcile_once(world);
    assert_journal(world, "get;stat;list;publish;status;");
    assert_true(strncmp(json_get_string(json_object_get(world_status(world), "artifact"), "url"),
                        "http://artifacts/artifacts/team/app/", 36) == 0);
    assert_events(world, "");
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
        cmocka_unit_test(what_was_not_collected_is_when_the_source_is_looked_at_again),
        cmocka_unit_test(the_token_is_trusted_while_nothing_else_has_changed),
        cmocka_unit_test(what_storage_lost_is_made_again_whatever_upstream_says),
        cmocka_unit_test(a_source_that_went_away_is_left_alone),
        cmocka_unit_test(a_suspended_source_keeps_its_status),
        cmocka_unit_test(a_request_is_handled_when_its_attempt_ends_also_in_failure),
        cmocka_unit_test(force_counts_once_and_only_with_its_request),
        cmocka_unit_test(a_secret_that_changed_voids_the_token),
        cmocka_unit_test(an_artifact_server_that_moved_is_published_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
