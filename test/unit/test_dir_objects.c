/* What sources may name in a directory of manifests: Secrets, ConfigMaps, Lua modules, and values
 * given with --secret. */
#include "catalog_world.h"

static void plain_text_of_a_secret_wins_over_base64(void **state)
{
    struct world *world = *state;

    put("m/a.yaml",
        OBJECT("Secret", "s",
               "data: {a: YQ==, b: AP8=, empty: ''}\n"
               "stringData: {a: plain, c: \"\\0\"}") "---\n" OBJECT("ConfigMap", "c",
                                                                    "data: {a: b}\nbinaryData: {d: "
                                                                    "AP8=}"));
    load(world);
    assert_fault_count(world, 0);
    assert_string_equal(value_of(world, "Secret", "s", "a"), "cGxhaW4=");
    assert_string_equal(value_of(world, "Secret", "s", "b"), "AP8=");
    assert_string_equal(value_of(world, "Secret", "s", "c"), "AA==");
    assert_string_equal(value_of(world, "Secret", "s", "empty"), "");
    assert_string_equal(value_of(world, "ConfigMap", "c", "a"), "Yg==");
    assert_string_equal(value_of(world, "ConfigMap", "c", "d"), "AP8=");
    assert_null(value_of(world, "ConfigMap", "s", "a"));
}

static void an_objects_version_moves_with_its_content_and_does_not_tell_it(void **state)
{
    struct world *world = *state;
    struct stat status;

    put("m/a.yaml", OBJECT("Secret", "s", "stringData: {k: one}"));
    load(world);
    value_of(world, "Secret", "s", "k");
    _cleanup_(free) char *first = TAKE(world->version);
    put("m/a.yaml", "# moved\n---\n" OBJECT("Secret", "s", "data: {k: b25l}"));
    load(world);
    value_of(world, "Secret", "s", "k");
    assert_string_equal(world->version, first);
    put("m/a.yaml", OBJECT("Secret", "s", "stringData: {k: two}"));
    load(world);
    value_of(world, "Secret", "s", "k");
    assert_string_not_equal(world->version, first);

    /* Another key, as of another data directory: another version for the same content. */
    assert_int_equal(stat("data/key", &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    put("m/a.yaml", OBJECT("Secret", "s", "stringData: {k: one}"));
    put("data/key", "cut short");
    load(world);
    value_of(world, "Secret", "s", "k");
    assert_string_not_equal(world->version, first);
}

static void labelled_config_maps_hold_lua_modules(void **state)
{
    struct world *world = *state;
    const struct catalog_module *modules;
    size_t count;

    put("m/a.yaml",
        OBJECT(
            "ConfigMap", "c, namespace: team-a, labels: {source.flux.oddkin.co/lua: transform}",
            "data: {shout.lua: return 1, b.c.lua: return 2}") "---\n" OBJECT("ConfigMap", "plain",
                                                                             "data: {x.lua: return "
                                                                             "3}") "---\n" OBJECT("Secret",
                                                                                                  "s, labels: {source.flux.oddkin.co/lua: transform}",
                                                                                                  "stringData: {x.lua: return 4}"));
    load(world);
    assert_fault_count(world, 0);
    modules = catalog_modules(world->catalog, &count);
    assert_int_equal(count, 2);
    assert_string_equal(modules[0].kind, "transform");
    assert_string_equal(modules[0].name, "shout");
    assert_string_equal(modules[0].origin, "ConfigMap team-a/c key shout.lua");
    assert_string_equal(modules[0].text, "return 1");
    assert_int_equal(modules[0].length, 8);
    assert_string_equal(modules[1].name, "b.c");
}

static void a_modules_text_is_kept_whole(void **state)
{
    struct world *world = *state;
    const struct catalog_module *modules;
    size_t count;

    put("m/a.yaml", OBJECT("ConfigMap", "c, labels: {source.flux.oddkin.co/lua: library}",
                           "data: {x.lua: \"a\\0b\"}"));
    load(world);
    modules = catalog_modules(world->catalog, &count);
    assert_int_equal(count, 1);
    assert_int_equal(modules[0].length, 3);
    assert_memory_equal(modules[0].text, "a\0b", 4);
}

static void a_config_map_with_a_fault_gives_no_module(void **state)
{
    struct world *world = *state;
    size_t count;

    put("m/a.yaml", OBJECT("ConfigMap", "c, labels: {source.flux.oddkin.co/lua: library}",
                           "data: {x.lua: return 1, why: return 2}"));
    load(world);
    assert_fault(world, "m/a.yaml:1",
                 "ConfigMap default/c: data.why: accepted: keys of the form NAME.lua");
    catalog_modules(world->catalog, &count);
    assert_int_equal(count, 0);
}

static void secrets_are_set_from_files_and_the_environment(void **state)
{
    struct world *world = *state;

    put("m/a.yaml", OBJECT("Secret", "s", "stringData: {k: old, other: kept}"));
    put("m/value", "from a file\n");
    assert_int_equal(setenv("SLUICE_TEST_SECRET", "from = env", 1), 0);
    world->secrets[0] = "default/s.k=env:SLUICE_TEST_SECRET";
    world->secrets[1] = "default/fresh.tls.crt=file:m/value";
    world->secret_count = 2;
    load(world);
    assert_string_equal(value_of(world, "Secret", "s", "k"), "ZnJvbSA9IGVudg==");
    assert_string_equal(value_of(world, "Secret", "s", "other"), "a2VwdA==");
    assert_string_equal(value_of(world, "Secret", "fresh", "tls.crt"), "ZnJvbSBhIGZpbGUK");
}

static void a_secret_setting_that_cannot_be_used_is_an_error(void **state)
{
    static const char *const cases[][2] = {
        {"default/s.k=env:SLUICE_TEST_MISSING",
         "--secret: the environment has no variable 'SLUICE_TEST_MISSING'"},
        {"default/s.k=file:missing", "--secret: missing: no such file"},
        {"default/s.k=hunter2",
         "--secret: found 'default/s.k…'; accepted: NS/NAME.KEY=env:VARIABLE or "
         "NS/NAME.KEY=file:PATH"},
        {"default/s=env:HOME.x",
         "--secret: found 'default/s…'; accepted: NS/NAME.KEY=env:VARIABLE or "
         "NS/NAME.KEY=file:PATH"},
        {"default/s.k:hunter2",
         "--secret: found a setting without '='; accepted: NS/NAME.KEY=env:VARIABLE or "
         "NS/NAME.KEY=file:PATH"},
        {"Default/s.k=env:HOME",
         "--secret: found 'Default/s.k…'; accepted: NS/NAME.KEY=env:VARIABLE or "
         "NS/NAME.KEY=file:PATH"},
        {"/s.k=env:HOME",
         "--secret: found '/s.k…'; accepted: NS/NAME.KEY=env:VARIABLE or NS/NAME.KEY=file:PATH"},
        {"default/S.k=env:HOME",
         "--secret: found 'default/S.k…'; accepted: NS/NAME.KEY=env:VARIABLE or "
         "NS/NAME.KEY=file:PATH"},
        {"default/s.=env:HOME",
         "--secret: found 'default/s.…'; accepted: NS/NAME.KEY=env:VARIABLE or "
         "NS/NAME.KEY=file:PATH"},
        {"s.k=file:/etc/x.y",
         "--secret: found 's.k…'; accepted: NS/NAME.KEY=env:VARIABLE or NS/NAME.KEY=file:PATH"},
    };
    struct world *world = *state;

    world->secret_count = 1;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        world->secrets[0] = cases[i][0];
        _cleanup_(error) struct error *error = open_paths(world, (const char *const[]){"m"}, 1);
        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_CONFIGURATION);
        assert_string_equal(error->message, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(plain_text_of_a_secret_wins_over_base64),
        WORLD_TEST(an_objects_version_moves_with_its_content_and_does_not_tell_it),
        WORLD_TEST(labelled_config_maps_hold_lua_modules),
        WORLD_TEST(a_modules_text_is_kept_whole),
        WORLD_TEST(a_config_map_with_a_fault_gives_no_module),
        WORLD_TEST(secrets_are_set_from_files_and_the_environment),
        WORLD_TEST(a_secret_setting_that_cannot_be_used_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
