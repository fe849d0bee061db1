/* What the directory catalog remembers of its sources: generations, versions and conflicts, writes
 * that nobody waits for, damaged state, and sources whose manifest is gone. */
#include "catalog_world.h"

#define STATE "data/status/default/one.yaml"
#define STATE_OF(name, generation) \
    "metadata: {namespace: default, name: " name ", generation: " generation "}\n"

static void the_generation_grows_with_the_spec_only(void **state)
{
    static const struct {
        const char *manifest;
        int64_t generation;
    } steps[] = {
        {SOURCE("one"), 1},
        {SOURCE("one"), 1},
        {SOURCE("one, labels: {a: b}, annotations: {c: d}"), 1},
        {"# moved\n---\n" SOURCE("one"), 1},
        {SOURCE_OF("one", "{generator: {http: {url: \"http://127.0.0.1:9/\"}, type: http}, "
                          "interval: '5m'} # in another order"),
         1},
        {SOURCE_OF("one", "{interval: 6m, generator: {type: http}}"), 2},
        {SOURCE_OF("one", "{interval: 6m, generator: {type: http, http: {size: 1e3, n: 0.1}}}"), 3},
        {SOURCE_OF("one", "{interval: 6m, generator: {type: http, http: {size: 1e3, n: 0.1}}}"), 3},
        {SOURCE("one"), 4},
    };
    struct world *world = *state;
    _cleanup_(free) char *uid = NULL;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        put("m/a.yaml", steps[i].manifest);
        load(world);
        assert_int_equal(get(world, "one")->generation, steps[i].generation);
        patch_etag(world, "one", "t");
        assert_int_equal(get(world, "one")->generation, steps[i].generation);
        if (!uid)
            uid = strdup(world->source->uid);
        assert_string_equal(world->source->uid, uid);
    }
}

/* What is written is compared with what was read. */
static void odd_values_of_a_spec_are_one_generation(void **state)
{
    static const char *const values[] = {
        "0.1",
        "1e3",
        "1e300",
        "5e-324",
        "-0.0",
        "9007199254740993",
        "-9223372036854775808",
        "012",
        "1.0",
        "'1'",
        "'no'",
        "~",
        "''",
        "' '",
        "\"\\n\"",
        "\"a\\n \\n\\tb\\n\\n\"",
        "\"\\r\\n\"",
        "\"\\0\"",
        "\"\\u2028\\ufeff\\x7f\"",
        "'2020-01-01'",
        "12:30:45",
        "'<<'",
        "'---'",
        "'# x'",
        "[]",
        "{}",
        "[[], {}, [{}]]",
        "{'': 1}",
        "{'no': 1, '012': 2, '~': 3}",
        "{\"\\n\": 1}",
        "{\"- x: y\\n#\": {a: [b]}}",
        "\"\\U0001F600\"",
    };
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char manifest[400];

        snprintf(manifest, sizeof(manifest),
                 SOURCE_OF("one", "{generator: {type: http, http: {x: %s}}}"), values[i]);
        put("m/a.yaml", manifest);
        for (int again = 0; again < 2; again++) {
            load(world);
            assert_fault_count(world, 0);
            if (get(world, "one")->generation != (int64_t)i + 1)
                fail_msg("%s: generation %lld, expected %zu", values[i],
                         (long long)world->source->generation, i + 1);
            patch_etag(world, "one", values[i]);
        }
    }
}

static void a_key_of_any_length_is_remembered(void **state)
{
    struct world *world = *state;
    _cleanup_(buffer) struct buffer manifest = BUFFER_INIT;

    buffer_append_string(&manifest, "apiVersion: source.flux.oddkin.co/v1alpha1\n"
                                    "kind: ExternalSource\nmetadata: {name: one}\nspec:\n  ? ");
    for (int i = 0; i < 100000; i++)
        buffer_append_byte(&manifest, 'k');
    buffer_append_string(&manifest, "\n  : 1\n");
    put_bytes("m/a.yaml", manifest.bytes, manifest.length);
    for (int i = 0; i < 2; i++) {
        load(world);
        assert_int_equal(get(world, "one")->generation, 1);
        patch_etag(world, "one", "x");
    }
    assert_int_equal(logged("moved aside"), 0);
}

static void a_spec_that_is_missing_is_one_generation_too(void **state)
{
    struct world *world = *state;

    put("m/a.yaml", "apiVersion: source.flux.oddkin.co/v1alpha1\nkind: ExternalSource\n"
                    "metadata: {name: one}\n");
    for (int i = 0; i < 3; i++) {
        load(world);
        assert_int_equal(get(world, "one")->generation, 1);
        patch_etag(world, "one", "t");
    }
    put("m/a.yaml", SOURCE("one"));
    load(world);
    assert_int_equal(get(world, "one")->generation, 2);
}

static void a_status_survives_a_restart(void **state)
{
    struct world *world = *state;
    const struct source *source;

    put("m/a.yaml", SOURCE("one, labels: {a: b}"));
    load(world);
    patch_finalizer(world, "one", true);
    patch_etag(world, "one", "W/\"x: y\"");
    load(world);
    source = get(world, "one");
    assert_true(source->has_finalizer);
    assert_string_equal(source->status->last_handled_etag, "W/\"x: y\"");
    assert_string_equal(source->resource_version, "3");
    assert_string_equal(json_get_string(source->labels, "a"), "b");
}

static void a_write_for_a_version_that_is_past_is_a_conflict(void **state)
{
    struct world *world = *state;
    struct operation *operation = NULL;

    put("m/a.yaml", SOURCE("one"));
    load(world);
    _cleanup_(source) struct source *stale = snapshot(world, "one");
    patch_etag(world, "one", "first");
    _cleanup_(error) struct error *status = start_status(world, stale, "second", &operation);
    assert_int_equal(status->kind, ERROR_CONFLICT);
    assert_string_equal(status->message, "default/one has changed meanwhile");
    _cleanup_(error) struct error *finalizer =
        catalog_patch_finalizer(world->catalog, stale, true, version_came, world, &operation);
    assert_int_equal(finalizer->kind, ERROR_CONFLICT);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 0);
    assert_string_equal(get(world, "one")->status->last_handled_etag, "first");
}

static void a_write_while_another_is_under_way_is_a_conflict(void **state)
{
    struct world *world = *state;
    struct operation *operation;

    put("m/a.yaml", SOURCE("one"));
    load(world);
    _cleanup_(source) struct source *source = snapshot(world, "one");
    struct error *started = start_status(world, source, "first", &operation);
    _cleanup_(error) struct error *second =
        catalog_patch_finalizer(world->catalog, source, true, version_came, world, &operation);
    assert_int_equal(second->kind, ERROR_CONFLICT);
    wait_for(world, started);
    assert_string_equal(world->version, "2");
    assert_string_equal(get(world, "one")->status->last_handled_etag, "first");
    assert_false(world->source->has_finalizer);
}

static void a_source_that_is_not_there_cannot_be_written(void **state)
{
    struct world *world = *state;
    struct operation *operation;

    put("m/a.yaml", SOURCE("one"));
    load(world);
    _cleanup_(source) struct source *source = snapshot(world, "one");
    put("m/a.yaml", SOURCE("two"));
    load(world);
    _cleanup_(error) struct error *status = start_status(world, source, "x", &operation);
    assert_int_equal(status->kind, ERROR_CONFLICT);
    _cleanup_(error) struct error *child =
        catalog_withdraw(world->catalog, source, done, world, &operation);
    assert_int_equal(child->kind, ERROR_CONFLICT);
    assert_false(exists("data/status"));
}

/* A write that was cancelled either took place or did not, in memory as on disk. */
static void a_cancelled_write_is_never_told_and_leaves_memory_like_disk(void **state)
{
    struct world *world = *state;

    put("m/a.yaml", SOURCE("one"));
    load(world);
    for (int i = 0; i < 20; i++) {
        _cleanup_(source) struct source *source = snapshot(world, "one");
        struct operation *operation = NULL;
        char etag[24];

        snprintf(etag, sizeof(etag), "etag-%d", i);
        assert_null(start_status(world, source, etag, &operation));
        if (i % 2)
            usleep(2000); /* the pool may have begun */
        operation_cancel(&operation);
        uv_run(&world->loop, UV_RUN_DEFAULT);
        assert_int_equal(world->calls, 0);

        _cleanup_(source) struct source *memory = snapshot(world, "one");
        _cleanup_(free) char *disk = text_of(STATE);
        bool in_memory = memory->status->last_handled_etag &&
                         strcmp(memory->status->last_handled_etag, etag) == 0;
        assert_int_equal(in_memory, disk && strstr(disk, etag) != NULL);
        patch_etag(world, "one", "between");
    }
}

static void a_catalog_may_be_freed_while_a_cancelled_write_runs(void **state)
{
    struct world *world = *state;
    struct operation *operation = NULL;

    put("m/a.yaml", SOURCE("one"));
    load(world);
    _cleanup_(source) struct source *source = snapshot(world, "one");
    assert_null(start_status(world, source, "x", &operation));
    operation_cancel(&operation);
    close_catalog(world);
    assert_int_equal(world->calls, 0);
}

static void a_look_up_that_is_cancelled_is_never_told(void **state)
{
    struct world *world = *state;
    struct operation *source = NULL;
    struct operation *object = NULL;

    put("m/a.yaml", SOURCE("one"));
    load(world);
    assert_null(catalog_get(world->catalog, "default", "one", source_came, world, &source));
    assert_null(catalog_get_object(world->catalog, "Secret", "default", "one", object_came, world,
                                   &object));
    operation_cancel(&source);
    operation_cancel(&object);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 0);
}

static void a_write_that_fails_changes_nothing_and_can_be_tried_again(void **state)
{
    struct world *world = *state;
    struct operation *operation;

    put("m/a.yaml", SOURCE("one"));
    load(world);
    _cleanup_(source) struct source *source = snapshot(world, "one");
    put("data/status", "a file where a directory must be");
    wait_for(world, start_status(world, source, "x", &operation));
    assert_non_null(world->error);
    assert_int_equal(world->error->kind, ERROR_STORAGE);
    assert_string_equal(world->error->reason, "FileWriteFailed");
    assert_null(world->version);
    assert_null(get(world, "one")->status->last_handled_etag);
    assert_int_equal(unlink("data/status"), 0);
    patch_etag(world, "one", "y");
}

static void state_that_cannot_be_read_is_moved_aside(void **state)
{
    static const char *const texts[] = {
        "",
        "a: [",
        "null\n",
        "- 1\n",
        "metadata: x\n",
        "metadata: {}\n",
        STATE_OF("one", "1") "---\n" STATE_OF("one", "1"),
        STATE_OF("one", "1") "metadata: {}\n",
        STATE_OF("two", "1"),
        STATE_OF("one", "-1"),
        STATE_OF("one", "9223372036854775807"),
    };
    struct world *world = *state;

    put("m/a.yaml", SOURCE("one"));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put(STATE, texts[i]);
        load(world);
        assert_int_equal(get(world, "one")->generation, 1);
        assert_string_equal(world->source->resource_version, "1");
        assert_false(exists(STATE));
        _cleanup_(free) char *aside = text_of(STATE ".corrupt");
        assert_string_equal(aside, texts[i]);
        assert_int_equal(logged("status cannot be read; it is moved aside"), i + 1);
        patch_etag(world, "one", "x");
    }
}

static void a_source_without_a_manifest_is_being_deleted(void **state)
{
    struct world *world = *state;
    const struct source *source;

    put("m/a.yaml", SOURCE("one") "---\n" SOURCE("two"));
    load(world);
    patch_finalizer(world, "one", true);
    patch_etag(world, "two", "x");
    put("m/a.yaml", SOURCE("two"));
    load(world);
    source = get(world, "one");
    assert_non_null(source);
    assert_true(source->deleting);
    assert_true(source->has_finalizer);
    assert_null(catalog_locate(world->catalog, source, "spec", false));
    assert_false(get(world, "two")->deleting);

    /* It comes back as what it was. */
    put("m/a.yaml", SOURCE("one"));
    load(world);
    assert_false(get(world, "one")->deleting);
    assert_int_equal(world->source->generation, 1);
}

static void a_copied_state_is_not_another_source(void **state)
{
    struct world *world = *state;

    put("m/a.yaml", SOURCE("one"));
    load(world);
    patch_finalizer(world, "one", true);
    _cleanup_(free) char *text = text_of(STATE);
    put("data/status/default/backup.yaml", text);
    load(world);
    assert_null(get(world, "backup"));
    assert_true(exists("data/status/default/backup.yaml.corrupt"));
    assert_int_equal(logged("found the state of default/one"), 1);
    assert_false(get(world, "one")->deleting);
}

/* The document that cannot be used may well be the source's own. */
static void nothing_is_deleted_while_a_manifest_cannot_be_used(void **state)
{
    static const char *const broken[] = {SOURCE("one") "a: [\n", SOURCE("One"), "just: text\n",
                                         "apiVersion: source.flux.oddkin.co/v1alpha1\n\tkind: x\n"};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        put("m/a.yaml", SOURCE("one"));
        load(world);
        patch_finalizer(world, "one", true);
        put("m/a.yaml", broken[i]);
        load(world);
        assert_fault_count(world, 1);
        assert_null(get(world, "one"));
        assert_true(exists(STATE));
        assert_int_equal(logged("sources without a manifest are kept until every manifest can be "
                                "used\",\"controller\":\"externalsource\",\"count\":\"1\""),
                         i + 1);
        put("m/a.yaml", "");
        load(world);
        assert_true(get(world, "one")->deleting);
    }
}

static void told_gone(void *context, const char *namespace_name, const char *name)
{
    buffer_appendf(&((struct world *)context)->told, "%s/%s is gone\n", namespace_name, name);
}

static void releasing_a_deleted_source_forgets_it(void **state)
{
    struct world *world = *state;
    const struct catalog_listener listener = {.source_gone = told_gone, .context = world};

    put("m/a.yaml", SOURCE("one"));
    load(world);
    patch_finalizer(world, "one", true);
    unlink("m/a.yaml");
    load(world);
    assert_null(catalog_start(world->catalog, &listener));
    patch_etag(world, "one", "on the way");
    assert_string_equal(buffer_string(&world->told), "");
    patch_finalizer(world, "one", false);
    assert_string_equal(buffer_string(&world->told), "default/one is gone\n");
    assert_null(get(world, "one"));
    assert_false(exists(STATE));
    load(world);
    assert_null(get(world, "one"));
}

static void what_else_lies_among_the_states_is_no_source(void **state)
{
    struct world *world = *state;

    put("data/status/default/one.yaml.corrupt", "x");
    put("data/status/default/.yaml", "x");
    put("data/status/default/Two.yaml", "x");
    put("data/status/default/three.yaml.tmp-0123456789abcdef", "x");
    put("data/status/Not_A_Namespace/one.yaml", "x");
    put("data/status/one.yaml", "x");
    load(world);
    assert_null(get(world, "one"));
    assert_int_equal(logged("moved aside"), 0);
}

static void an_event_is_a_line_of_the_log(void **state)
{
    struct world *world = *state;
    const struct catalog_event event = {CATALOG_WARNING, "FetchFailed", "no answer", NULL};

    put("m/a.yaml", SOURCE("one"));
    load(world);
    catalog_event(world->catalog, get(world, "one"), &event);
    assert_int_equal(logged("\"msg\":\"no answer\",\"controller\":\"externalsource\","
                            "\"namespace\":\"default\",\"name\":\"one\",\"event\":\"Warning\","
                            "\"reason\":\"FetchFailed\"}"),
                     1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(the_generation_grows_with_the_spec_only),
        WORLD_TEST(odd_values_of_a_spec_are_one_generation),
        WORLD_TEST(a_key_of_any_length_is_remembered),
        WORLD_TEST(a_spec_that_is_missing_is_one_generation_too),
        WORLD_TEST(a_status_survives_a_restart),
        WORLD_TEST(a_write_for_a_version_that_is_past_is_a_conflict),
        WORLD_TEST(a_write_while_another_is_under_way_is_a_conflict),
        WORLD_TEST(a_source_that_is_not_there_cannot_be_written),
        WORLD_TEST(a_cancelled_write_is_never_told_and_leaves_memory_like_disk),
        WORLD_TEST(a_catalog_may_be_freed_while_a_cancelled_write_runs),
        WORLD_TEST(a_look_up_that_is_cancelled_is_never_told),
        WORLD_TEST(a_write_that_fails_changes_nothing_and_can_be_tried_again),
        WORLD_TEST(state_that_cannot_be_read_is_moved_aside),
        WORLD_TEST(a_source_without_a_manifest_is_being_deleted),
        WORLD_TEST(a_copied_state_is_not_another_source),
        WORLD_TEST(nothing_is_deleted_while_a_manifest_cannot_be_used),
        WORLD_TEST(releasing_a_deleted_source_forgets_it),
        WORLD_TEST(what_else_lies_among_the_states_is_no_source),
        WORLD_TEST(an_event_is_a_line_of_the_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
