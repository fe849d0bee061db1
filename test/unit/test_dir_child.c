/* The ExternalArtifacts of the directory catalog: what they say, when they are written, and whose
 * they are. */
#include "catalog_world.h"

#include "base/yaml.h"

#define CHILD "data/externalartifacts/default/one.yaml"
#define FOREIGN                                                          \
    "apiVersion: source.toolkit.fluxcd.io/v1\nkind: ExternalArtifact\n"  \
    "metadata:\n  name: one\n  namespace: default\n  ownerReferences:\n" \
    "  - {apiVersion: example.com/v1, kind: Other, name: one, uid: x, controller: true}\n"

static const struct artifact_record record = {
    .path = (char *)"artifacts/default/one/aa.tar.gz",
    .url = (char *)"http://127.0.0.1:8080/artifacts/default/one/aa.tar.gz",
    .revision = (char *)"latest@sha256:aa",
    .digest = (char *)"sha256:bb",
    .size = 4294967296,
    .last_update_ms = NOW_MS - 60000,
};

static int set_up_source(void **state)
{
    set_up(state);
    put("m/a.yaml", SOURCE("one"));
    load(*state);
    return 0;
}

/* Publishes; what came of it is in world->error. */
static void publish(struct world *world, const struct artifact_record *what)
{
    _cleanup_(source) struct source *source = snapshot(world, "one");
    struct operation *operation;

    world_forget(world);
    wait_for(world, catalog_publish(world->catalog, source, what, done, world, &operation));
}

/* Asks for the name; what came of it is in world->error. */
static void declare(struct world *world)
{
    _cleanup_(source) struct source *source = snapshot(world, "one");
    struct operation *operation;

    world_forget(world);
    wait_for(world, catalog_declare(world->catalog, source, done, world, &operation));
}

static void withdraw(struct world *world)
{
    _cleanup_(source) struct source *source = snapshot(world, "one");
    struct operation *operation;

    world_forget(world);
    wait_for(world, catalog_withdraw(world->catalog, source, done, world, &operation));
}

static struct error *take_document(void *context, const char *json, size_t length, size_t line)
{
    (void)line;
    return json_parse(json, length, context);
}

/* The child's file as an object (decref it). */
static json_t *child(void)
{
    _cleanup_(free) char *text = text_of(CHILD);
    json_t *object = NULL;

    assert_non_null(text);
    assert_null(yaml_read(text, strlen(text), take_document, &object));
    return object;
}

static void assert_child_is(const char *expected)
{
    _cleanup_(free) char *text = text_of(CHILD);

    assert_non_null(text);
    assert_string_equal(text, expected);
}

static void a_child_says_whose_it_is_and_what_to_fetch(void **state)
{
    struct world *world = *state;
    struct artifact_record what = record;

    what.metadata = json_pack("{s:s}", "station", "7");
    publish(world, &what);
    json_decref(what.metadata);
    assert_null(world->error);
    _cleanup_(json) json_t *found = child();
    _cleanup_(json) json_t *expected = json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:{s:s}, s:[{s:s, s:s, s:s, s:s, s:b, s:b}]},"
        " s:{s:{s:s, s:s, s:s, s:s}}, s:{s:{s:s, s:s, s:s, s:s, s:I, s:s, s:{s:s}},"
        " s:[{s:s, s:s, s:s, s:s, s:i, s:s}]}}",
        "apiVersion", "source.toolkit.fluxcd.io/v1", "kind", "ExternalArtifact", "metadata", "name",
        "one", "namespace", "default", "labels", "app.kubernetes.io/managed-by",
        "externalsource-controller", "ownerReferences", "apiVersion",
        "source.flux.oddkin.co/v1alpha1", "kind", "ExternalSource", "name", "one", "uid",
        get(world, "one")->uid, "controller", 1, "blockOwnerDeletion", 1, "spec", "sourceRef",
        "apiVersion", "source.flux.oddkin.co/v1alpha1", "kind", "ExternalSource", "name", "one",
        "namespace", "default", "status", "artifact", "path", record.path, "url", record.url,
        "revision", record.revision, "digest", record.digest, "size", (json_int_t)record.size,
        "lastUpdateTime", "2026-11-25T03:07:00Z", "metadata", "station", "7", "conditions", "type",
        "Ready", "status", "True", "reason", "Succeeded", "message",
        "stored artifact for revision 'latest@sha256:aa'", "observedGeneration", 1,
        "lastTransitionTime", NOW_TEXT);
    assert_non_null(expected);
    assert_true(json_equal(found, expected));
}

static void a_child_is_left_untouched_when_nothing_changed(void **state)
{
    struct world *world = *state;
    struct artifact_record what = record;
    struct stat before, after;

    publish(world, &what);
    assert_int_equal(stat(CHILD, &before), 0);
    world->now_ms += 3600000;
    publish(world, &what);
    assert_null(world->error);
    assert_int_equal(stat(CHILD, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino); /* a write makes another file */

    what.revision = (char *)"latest@sha256:cc";
    publish(world, &what);
    assert_int_equal(stat(CHILD, &after), 0);
    assert_int_not_equal(after.st_ino, before.st_ino);
    _cleanup_(free) char *text = text_of(CHILD);
    assert_non_null(strstr(text, "revision: latest@sha256:cc\n"));
    assert_non_null(strstr(text, "lastTransitionTime: \"" NOW_TEXT "\"\n"));
}

static void another_owners_child_is_left_alone(void **state)
{
    static const char *const texts[] = {
        FOREIGN,
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: ExternalArtifact\nmetadata: {name: one}\n",
        "just: something\n",
    };
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put(CHILD, texts[i]);
        declare(world);
        assert_string_equal(world->error->reason, "NameConflict");
        publish(world, &record);
        assert_non_null(world->error);
        assert_int_equal(world->error->kind, ERROR_CONFIGURATION);
        assert_string_equal(world->error->reason, "NameConflict");
        assert_string_equal(world->error->message,
                            CHILD ": there is an ExternalArtifact of this name that belongs to "
                                  "another owner; rename this source or remove that file");
        assert_child_is(texts[i]);
        withdraw(world);
        assert_null(world->error);
        assert_child_is(texts[i]);
    }
}

static void declaring_writes_no_file(void **state)
{
    struct world *world = *state;

    declare(world);
    assert_null(world->error);
    assert_false(exists(CHILD));
    publish(world, &record);
    declare(world);
    assert_null(world->error);
}

static void a_child_of_a_predecessor_is_replaced(void **state)
{
    struct world *world = *state;

    publish(world, &record);
    _cleanup_(free) char *before = text_of(CHILD);
    assert_int_equal(unlink("data/status/default/one.yaml"), -1); /* it never had a status */
    load(world);
    publish(world, &record);
    assert_null(world->error);
    _cleanup_(free) char *after = text_of(CHILD);
    assert_string_not_equal(after, before); /* another uid */
    assert_non_null(strstr(after, get(world, "one")->uid));
}

static void a_child_that_cannot_be_read_is_written_anew(void **state)
{
    static const char *const texts[] = {"", "a: [", "\xff", "a: 1\na: 2\n"};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put(CHILD, texts[i]);
        publish(world, &record);
        assert_null(world->error);
        _cleanup_(json) json_t *found = child();
        assert_string_equal(json_get_string(found, "kind"), "ExternalArtifact");
    }
}

static void a_child_that_was_not_ready_is_ready_from_now(void **state)
{
    struct world *world = *state;

    publish(world, &record);
    _cleanup_(free) char *text = text_of(CHILD);
    char *status = strstr(text, "status: \"True\"");
    assert_non_null(status);
    memcpy(status, "status: \"Nope\"", 14);
    put(CHILD, text);
    world->now_ms += 60000;
    publish(world, &record);
    _cleanup_(free) char *after = text_of(CHILD);
    assert_non_null(strstr(after, "lastTransitionTime: \"2026-11-25T03:09:00Z\"\n"));
}

static void withdrawing_removes_the_child_and_may_be_repeated(void **state)
{
    struct world *world = *state;

    publish(world, &record);
    withdraw(world);
    assert_null(world->error);
    assert_false(exists(CHILD));
    withdraw(world);
    assert_null(world->error);
}

static void withdrawing_removes_a_child_that_cannot_be_read(void **state)
{
    struct world *world = *state;

    put(CHILD, "a: [");
    withdraw(world);
    assert_null(world->error);
    assert_false(exists(CHILD));
}

static void a_publication_that_is_cancelled_is_never_told(void **state)
{
    struct world *world = *state;
    struct operation *operation = NULL;
    _cleanup_(source) struct source *source = snapshot(world, "one");

    assert_null(catalog_publish(world->catalog, source, &record, done, world, &operation));
    operation_cancel(&operation);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 0);
}

static void a_child_that_cannot_be_written_is_a_failure_of_storage(void **state)
{
    struct world *world = *state;

    put("data/externalartifacts", "a file where a directory must be");
    publish(world, &record);
    assert_non_null(world->error);
    assert_int_equal(world->error->kind, ERROR_STORAGE);
    assert_string_equal(world->error->reason, "FileWriteFailed");
}

#define CHILD_TEST(test) cmocka_unit_test_setup_teardown(test, set_up_source, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHILD_TEST(a_child_says_whose_it_is_and_what_to_fetch),
        CHILD_TEST(a_child_is_left_untouched_when_nothing_changed),
        CHILD_TEST(another_owners_child_is_left_alone),
        CHILD_TEST(declaring_writes_no_file),
        CHILD_TEST(a_child_of_a_predecessor_is_replaced),
        CHILD_TEST(a_child_that_cannot_be_read_is_written_anew),
        CHILD_TEST(a_child_that_was_not_ready_is_ready_from_now),
        CHILD_TEST(withdrawing_removes_the_child_and_may_be_repeated),
        CHILD_TEST(withdrawing_removes_a_child_that_cannot_be_read),
        CHILD_TEST(a_publication_that_is_cancelled_is_never_told),
        CHILD_TEST(a_child_that_cannot_be_written_is_a_failure_of_storage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
