/* What generators ask of the core, over a real host: blobs, secrets, logs, time. */
#include "lua_world.h"

#define ALLOW_SECRETS "return { type = 'secrets', allow = function() return true end }"

static void time_is_the_cores_clock(void **state)
{
    struct lua_world *world = lua_world_of("", "return { data = string.format('%d', time.now()) }");

    (void)state;
    world->wall_ahead_ms = (int64_t)4000000000 * 1000 - clock_wall_ms(&clock_system);
    struct generated generated = generate(world, "{}");
    assert_null(generated.error);
    assert_true(strncmp(generated.text, "40000000", 8) == 0);
    generated_free(&generated);
    lua_world_free(world);
}

static void a_sleep_lets_other_calls_go_on(void **state)
{
    struct lua_world *world = lua_world_of(
        "", "time.sleep(config.seconds)\nreturn { data = 'slept ' .. config.seconds }");
    struct generated slow = {0};

    (void)state;
    generate_start(world, "{\"seconds\": 50}", &slow);
    assert_call(world, "{\"seconds\": 0}", "slept 0");
    assert_int_equal(slow.done, 0);
    operation_cancel(&slow.operation);
    lua_world_free(world);
}

static void a_sleep_has_its_bounds(void **state)
{
    struct lua_world *world = lua_world_of("", "time.sleep(config.seconds) return { data = 'x' }");
    static const char *const bad[] = {"{\"seconds\": -1}", "{\"seconds\": 60.5}",
                                      "{\"seconds\": \"1\"}", "{}"};

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_call_fails(world, bad[i], ERROR_CONFIGURATION, "InvalidRequest",
                          "generator 'g': time.sleep: accepted: 0 to 60 seconds");
    lua_world_free(world);
}

static void log_lines_name_source_and_module(void **state)
{
    struct lua_world *world =
        lua_world_of("", "log.debug('one') log.info('two', 2) log.error('three') print('four')\n"
                         "log.info('a\\255b') return { data = 'x' }");

    (void)state;
    assert_call(world, "{}", "x");
    _cleanup_(free) char *log = lua_world_log(world);
    assert_non_null(strstr(log, "\"one\""));
    assert_non_null(strstr(log, "two"));
    assert_non_null(strstr(log, "\"error\""));
    assert_non_null(strstr(log, "\"three\""));
    assert_non_null(strstr(log, "\"four\""));
    assert_non_null(strstr(log, "\"namespace\":\"team\",\"name\":\"app\""));
    assert_non_null(strstr(log, "\"module\":\"g\""));
    lua_world_free(world);
}

static void a_log_line_from_inside_a_library_function_is_of_its_call(void **state)
{
    struct lua_world *world = lua_world_of(
        "", "('ab'):gsub('.', function(c) log.info('saw ' .. c) end)\nreturn { data = 'x' }");

    (void)state;
    assert_call(world, "{}", "x");
    assert_true(lua_world_logged(world, "saw a"));
    assert_true(lua_world_logged(world, "saw b"));
    lua_world_free(world);
}

static void a_primitive_inside_a_c_function_is_a_clear_error(void **state)
{
    struct lua_world *world =
        lua_world_of("", "('ab'):gsub('.', function(c) time.now() end)\nreturn { data = 'x' }");
    struct generated generated = generate(world, "{}");

    (void)state;
    assert_non_null(generated.error);
    assert_non_null(strstr(generated.error->message, "time.now: cannot be called here: not while"));
    generated_free(&generated);
    lua_world_free(world);
}

static void a_missing_secret_and_a_missing_key_are_named(void **state)
{
    struct lua_world *world =
        lua_world_of("", "ctx.secret({ name = config.name }, config.key) return { data = 'x' }");

    (void)state;
    scripted_catalog_secret(&world->catalog, "team/there", "b", "1234");
    scripted_catalog_secret(&world->catalog, "team/there", "a", "5678");
    scripted_catalog_secret(&world->catalog, "other/theirs", "a", "5678");
    assert_call_fails(world, "{\"name\": \"gone\", \"key\": \"a\"}", ERROR_CONFIGURATION,
                      "InvalidSpec", "Secret team/gone: not found; spec.generator.g refers to it");
    assert_call_fails(world, "{\"name\": \"theirs\"}", ERROR_CONFIGURATION, "InvalidSpec",
                      "Secret team/theirs: not found; spec.generator.g refers to it");
    assert_call_fails(world, "{\"name\": \"there\", \"key\": \"c\"}", ERROR_CONFIGURATION,
                      "InvalidSpec",
                      "Secret team/there: has no key 'c', which spec.generator.g refers to; its "
                      "keys: a, b");
    lua_world_free(world);
}

static void a_secret_that_cannot_be_read_fails_with_the_catalogs_words(void **state)
{
    struct lua_world *world =
        lua_world_of("", "ctx.secret({ name = 's' }, 'k') return { data = 'x' }");

    (void)state;
    script_fail(&world->script, "get-object", ERROR_TRANSIENT, "ApiFailed", "no answer", 1);
    assert_call_fails(world, "{}", ERROR_TRANSIENT, "ApiFailed", "generator 'g': no answer");
    lua_world_free(world);
}

static void a_secrets_text_needs_a_policy(void **state)
{
    static const char body[] = "return { data = ctx.secret({ name = 's' }, 'k'):text() }";
    struct lua_world *world = lua_world_of("", body);

    (void)state;
    scripted_catalog_secret(&world->catalog, "team/s", "k", "hunter22");
    assert_call_fails(world, "{}", ERROR_CONFIGURATION, "SecretDenied",
                      "generator 'g': handle:text() in module 'g': there is no policy of the type "
                      "'secrets'; a policy of the type 'secrets' must allow it");
    struct lua_module_set *set = modules_with("", body);
    modules_add(set, LUA_POLICY, "p",
                "return { type = 'secrets', allow = function(r)\n"
                "  return r.source.namespace .. r.module .. r.secret .. r.key == 'teamgsk' end }");
    lua_world_load(world, set);
    assert_call(world, "{}", "hunter22");
    lua_world_free(world);
}

static void every_secret_of_a_joined_handle_is_asked_for(void **state)
{
    struct lua_module_set *set =
        modules_with("", "local all = ctx.secret({ name = 's' })\n"
                         "local joined = 'a ' .. all.k .. ' b ' .. all[config.other]\n"
                         "return { data = joined:text() }");
    struct lua_world *world;

    (void)state;
    modules_add(set, LUA_POLICY, "p",
                "return { type = 'secrets', allow = function(r)\n"
                "  if r.key == 'closed' then return false, 'it is closed' end return true end }");
    world = lua_world_new(set);
    scripted_catalog_secret(&world->catalog, "team/s", "k", "hunter22");
    scripted_catalog_secret(&world->catalog, "team/s", "open", "open1234");
    scripted_catalog_secret(&world->catalog, "team/s", "closed", "closed56");
    assert_call(world, "{\"other\": \"open\"}", "a hunter22 b open1234");
    assert_call_fails(world, "{\"other\": \"closed\"}", ERROR_CONFIGURATION, "SecretDenied",
                      "generator 'g': handle:text() in module 'g': it is closed; a policy of the "
                      "type 'secrets' must allow it");
    lua_world_free(world);
}

static void what_secrets_say_is_masked_wherever_a_module_says_it(void **state)
{
    struct lua_module_set *set =
        modules_with("", "local text = ctx.secret({ name = 's' }, 'k'):text()\n"
                         "ctx.sensitive('from upstream')\n"
                         "log.info('log says ' .. text .. ' and from upstream')\n"
                         "error('error says ' .. text .. text .. ' and from upstream', 0)");
    struct lua_world *world;

    (void)state;
    modules_add(set, LUA_POLICY, "p", ALLOW_SECRETS);
    world = lua_world_new(set);
    scripted_catalog_secret(&world->catalog, "team/s", "k", "hunter22");
    assert_call_fails(world, "{}", ERROR_TRANSIENT, "GeneratorFailed",
                      "generator 'g': error says ****** and ***");
    assert_true(lua_world_logged(world, "log says *** and ***"));
    assert_false(lua_world_logged(world, "hunter22"));
    lua_world_free(world);
}

static void a_handle_tells_nothing_of_itself(void **state)
{
    struct lua_world *world =
        lua_world_of("", "local h = ctx.secret({ name = 's' }, 'k')\n"
                         "local ok = pcall(function() return #h end)\n"
                         "local ok2 = pcall(json.encode, h)\n"
                         "return { data = tostring(h) .. tostring('x' .. h) .. type(h)\n"
                         "  .. tostring(getmetatable(h)) .. tostring(ok) .. tostring(ok2) }");

    (void)state;
    scripted_catalog_secret(&world->catalog, "team/s", "k", "hunter22");
    assert_call(world, "{}", "******userdatasecretfalsefalse");
    lua_world_free(world);
}

static void a_call_holds_a_bounded_number_of_secrets(void **state)
{
    struct lua_world *world = lua_world_of(
        "", "for i = 1, config.n do ctx.sensitive('text ' .. i) end\nreturn { data = 'x' }");

    (void)state;
    assert_call(world, "{\"n\": 1024}", "x");
    assert_call_fails(world, "{\"n\": 1025}", ERROR_TRANSIENT, "MemoryLimit",
                      "generator 'g': a call may hold 1024 secrets at most");
    lua_world_free(world);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_the_cores_clock),
        cmocka_unit_test(a_sleep_lets_other_calls_go_on),
        cmocka_unit_test(a_sleep_has_its_bounds),
        cmocka_unit_test(log_lines_name_source_and_module),
        cmocka_unit_test(a_log_line_from_inside_a_library_function_is_of_its_call),
        cmocka_unit_test(a_primitive_inside_a_c_function_is_a_clear_error),
        cmocka_unit_test(a_missing_secret_and_a_missing_key_are_named),
        cmocka_unit_test(a_secret_that_cannot_be_read_fails_with_the_catalogs_words),
        cmocka_unit_test(a_secrets_text_needs_a_policy),
        cmocka_unit_test(every_secret_of_a_joined_handle_is_asked_for),
        cmocka_unit_test(what_secrets_say_is_masked_wherever_a_module_says_it),
        cmocka_unit_test(a_handle_tells_nothing_of_itself),
        cmocka_unit_test(a_call_holds_a_bounded_number_of_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
