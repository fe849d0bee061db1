/* Generations of modules, over real hosts: what loads, what does not, and what becomes of calls
 * that run while it happens. */
#include "lua_world.h"

#include "lua/generation.h"

/* The modules of generation `name`: a call says where it ran, after a sleep. */
static struct lua_module_set *modules_called(const char *name)
{
    _cleanup_(free) char *body = format_string(
        "if config.seconds then time.sleep(config.seconds) end\nreturn { data = '%s' }", name);

    return modules_with("", body);
}

static void turn(struct lua_world *world)
{
    uv_run(&world->loop, UV_RUN_ONCE);
}

static void a_call_that_runs_finishes_on_the_old_host(void **state)
{
    struct lua_world *world = lua_world_new(modules_called("old"));
    struct generated running = {0};

    (void)state;
    generate_start(world, "{\"seconds\": 0.3}", &running);
    lua_world_load(world, modules_called("new"));
    assert_int_equal(running.done, 0);
    assert_int_equal(host_pids("generator", NULL, 0), 2);
    assert_call(world, "{}", "new");
    generate_wait(&running);
    assert_generated(&running, "old");
    generated_free(&running);
    while (host_pids("", NULL, 0) > 3)
        turn(world);
    lua_world_free(world);
}

static void a_call_during_a_load_goes_to_the_old_host(void **state)
{
    struct lua_world *world = lua_world_new(modules_called("old"));
    struct generated during = {0};

    (void)state;
    assert_null(lua_runtime_load(world->runtime, modules_called("new"), lua_world_on_loaded, world,
                                 &world->loading));
    generate_start(world, "{}", &during);
    generate_wait(&during);
    assert_generated(&during, "old");
    generated_free(&during);
    while (world->loads < 2)
        turn(world);
    assert_call(world, "{}", "new");
    lua_world_free(world);
}

static void fifty_loads_leave_neither_process_nor_descriptor_behind(void **state)
{
    struct lua_world *world = lua_world_new(modules_called("0"));
    struct generated running[50] = {0};

    (void)state;
    assert_call(world, "{}", "0");
    size_t descriptors = open_descriptors();
    for (int i = 0; i < 50; i++) {
        _cleanup_(free) char *name = format_string("%d", i + 1);

        generate_start(world, "{\"seconds\": 0.02}", &running[i]);
        lua_world_load(world, modules_called(name));
        assert_call(world, "{}", name);
    }
    for (int i = 0; i < 50; i++) {
        _cleanup_(free) char *name = format_string("%d", i);

        generate_wait(&running[i]);
        assert_generated(&running[i], name);
        generated_free(&running[i]);
    }
    while (host_pids("", NULL, 0) > 3 || open_descriptors() > descriptors)
        turn(world);
    assert_int_equal(host_pids("", NULL, 0), 3);
    assert_int_equal(open_descriptors(), descriptors);
    lua_world_free(world);
    assert_int_equal(host_pids("", NULL, 0), 0);
}

static void on_transformed(void *context, struct error *error, bool explicit_error,
                           struct transform_result *result, const char *const *logs,
                           size_t log_count)
{
    (void)explicit_error;
    (void)logs;
    (void)log_count;
    assert_null(error);
    *(char **)context = payload_text(result->output);
}

static void a_transform_that_runs_keeps_its_generation(void **state)
{
    struct lua_world *world = lua_world_new(modules_called("old"));
    struct transformer *old = lua_runtime_transformer(world->runtime);
    struct operation *operation = NULL;
    struct blob *blob = NULL;
    _cleanup_(free) char *output = NULL;
    static const char script[] =
        "return function(data) for _ = 1, 3e8 do end return data .. '!' end";

    (void)state;
    assert_null(blob_from_bytes(world->blobs, "in", 2, &blob));
    struct payload *input = payload_new_single(blob);
    const struct transform_call call = {
        .label = "h",
        .text = script,
        .text_length = strlen(script),
        .input = input,
        .limits = {60000, (uint64_t)64 << 20, (uint64_t)1 << 20},
    };
    assert_null(transform_run(old, &call, on_transformed, &output, &operation));
    payload_free(input);
    lua_world_load(world, modules_called("new"));
    assert_ptr_not_equal(lua_runtime_transformer(world->runtime), old);
    while (!output)
        turn(world);
    assert_string_equal(output, "in!");
    while (host_pids("", NULL, 0) > 3)
        turn(world);
    lua_world_free(world);
}

/* A module, and the error with which the load of its set ends. */
static const struct {
    enum lua_module_kind kind;
    const char *text;
    const char *message;
} broken[] = {
    {LUA_GENERATOR, "return {\n  type = 'x'\n  generate = 1\n}",
     "generators/bad.lua:3: '}' expected (to close '{' at line 1) near 'generate'"},
    {LUA_GENERATOR, "local x\nreturn x.y",
     "generators/bad.lua:2: attempt to index local 'x' (a nil value)"},
    {LUA_GENERATOR, "return 5",
     "generators/bad.lua: a generator must return a table; found number"},
    {LUA_GENERATOR, "return { type = 'X' }",
     "generators/bad.lua: 'type' must be a string of lower-case letters, digits and '-'"},
    {LUA_GENERATOR, "return { type = 'x' }",
     "generators/bad.lua: 'generate' must be a function; found nil"},
    {LUA_GENERATOR, "return { type = 'http', generate = function() end }",
     "generators/http.lua: the type 'http' is there already, from generators/bad.lua"},
    {LUA_GENERATOR, "return { type = 'x', generate = function() end, config = 5 }",
     "generators/bad.lua: 'config' must be a schema, such as schema.object { … }"},
    {LUA_GENERATOR, "error('no')", "generators/bad.lua:1: no"},
    {LUA_GENERATOR, "error {}", NULL},
    {LUA_GENERATOR, "time.now()", NULL},
    {LUA_GENERATOR, "while true do end", NULL},
    {LUA_GENERATOR, "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end", NULL},
    {LUA_POLICY, "return 5", "policies/bad.lua: a policy must return a table; found number"},
    {LUA_POLICY, "return { type = 'egress' }",
     "policies/bad.lua: 'allow' must be a function; found nil"},
    {LUA_POLICY, "return {\n", "policies/bad.lua:2: unexpected symbol near '<eof>'"},
};

static void a_module_that_does_not_load_is_named_and_changes_nothing(void **state)
{
    struct lua_world *world = lua_world_new(modules_called("good"));

    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct lua_module_set *set = modules_called("bad");
        const char *start =
            broken[i].kind == LUA_POLICY ? "policies/bad.lua" : "generators/bad.lua";
        _cleanup_(free) char *origin = strdup(start);

        assert_null(lua_modules_add(set, broken[i].kind, "bad", origin, broken[i].text,
                                    strlen(broken[i].text)));
        lua_world_try_load(world, set);
        assert_non_null(world->load_error);
        assert_int_equal(world->load_error->kind, ERROR_CONFIGURATION);
        assert_string_equal(world->load_error->reason, "InvalidModule");
        if (broken[i].message)
            assert_string_equal(world->load_error->message, broken[i].message);
        else if (strncmp(world->load_error->message, start, strlen(start)) != 0)
            fail_msg("%s: %s", broken[i].text, world->load_error->message);
        assert_call(world, "{}", "good");
    }
    while (host_pids("", NULL, 0) > 3)
        turn(world);
    lua_world_free(world);
}

/* No hook strikes inside a C function: only the watchdog ends this. */
#define HANG "return (('a'):rep(50000)):find('.-.-.-.-b')"

static void a_module_that_hangs_while_it_loads_is_stopped_and_named(void **state)
{
    struct lua_world *world = lua_world_prepare();
    struct lua_runtime_options options = lua_world_options(world);

    (void)state;
    options.call_cpu_ms = 200;
    world->runtime = lua_runtime_new(&options);
    lua_world_load(world, modules_called("good"));
    struct lua_module_set *set = modules_shipped();
    modules_add(set, LUA_GENERATOR, "g", HANG);
    lua_world_try_load(world, set);
    assert_error(world->load_error, ERROR_CONFIGURATION, "InvalidModule",
                 "generators/g.lua: it ran for too long while it was loaded");
    set = modules_called("bad");
    assert_null(lua_modules_add(set, LUA_POLICY, "p", "policies/p.lua", HANG, strlen(HANG)));
    lua_world_try_load(world, set);
    assert_error(world->load_error, ERROR_CONFIGURATION, "InvalidModule",
                 "policies/p.lua: it ran for too long while it was loaded");
    assert_call(world, "{}", "good");
    lua_world_load(world, modules_called("next"));
    assert_call(world, "{}", "next");
    lua_world_free(world);
}

/* The host of the generation that loads has said which module it loads. */
static bool loads_a_module(const struct lua_world *world)
{
    const struct generation *loading = world->runtime->loading;

    return loading && loading->generator.process && loading->generator.loading_origin &&
           strcmp(loading->generator.loading_origin, "generators/g.lua") == 0;
}

static void a_module_that_crashes_its_host_while_it_loads_is_named(void **state)
{
    struct lua_world *world = lua_world_prepare();
    struct lua_runtime_options options = lua_world_options(world);
    struct lua_module_set *set = modules_shipped();

    (void)state;
    options.call_cpu_ms = 600000;
    world->runtime = lua_runtime_new(&options);
    modules_add(set, LUA_GENERATOR, "g", HANG);
    assert_null(lua_runtime_load(world->runtime, set, lua_world_on_loaded, world, &world->loading));
    while (world->loads == 0) {
        pid_t pid;

        if (loads_a_module(world) && host_pids("generator", &pid, 1) == 1)
            kill(pid, SIGKILL);
        turn(world);
    }
    assert_error(world->load_error, ERROR_CONFIGURATION, "InvalidModule",
                 "generators/g.lua: the Lua host was killed by SIGKILL while it was loaded");
    lua_world_load(world, modules_called("good"));
    assert_call(world, "{}", "good");
    lua_world_free(world);
}

static void a_second_load_at_once_is_refused(void **state)
{
    struct lua_world *world = lua_world_new(modules_called("old"));
    struct operation *second = NULL;

    (void)state;
    assert_null(lua_runtime_load(world->runtime, modules_called("new"), lua_world_on_loaded, world,
                                 &world->loading));
    _cleanup_(error) struct error *error = lua_runtime_load(world->runtime, modules_called("newer"),
                                                            lua_world_on_loaded, world, &second);
    assert_error(error, ERROR_INTERNAL, "Busy", "modules are being loaded already");
    while (world->loads < 2)
        turn(world);
    assert_call(world, "{}", "new");
    lua_world_free(world);
}

static void a_load_that_is_cancelled_changes_nothing(void **state)
{
    struct lua_world *world = lua_world_new(modules_called("old"));

    (void)state;
    size_t descriptors = open_descriptors();
    assert_null(lua_runtime_load(world->runtime, modules_called("new"), lua_world_on_loaded, world,
                                 &world->loading));
    operation_cancel(&world->loading);
    while (host_pids("", NULL, 0) > 3 || open_descriptors() > descriptors)
        turn(world);
    assert_call(world, "{}", "old");
    assert_int_equal(world->loads, 1);
    lua_world_load(world, modules_called("new"));
    assert_call(world, "{}", "new");
    lua_world_free(world);
}

static void load_again(struct generated *generated)
{
    struct lua_world *world = generated->world;

    assert_null(lua_runtime_load(world->runtime, modules_called("new"), lua_world_on_loaded, world,
                                 &world->loading));
}

static void a_load_may_begin_where_a_call_ends(void **state)
{
    struct lua_world *world = lua_world_new(modules_called("old"));
    struct generated call = {.then = load_again};

    (void)state;
    generate_start(world, "{}", &call);
    generate_wait(&call);
    while (world->loads < 2)
        turn(world);
    assert_call(world, "{}", "new");
    generated_free(&call);
    lua_world_free(world);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_runs_finishes_on_the_old_host),
        cmocka_unit_test(a_call_during_a_load_goes_to_the_old_host),
        cmocka_unit_test(fifty_loads_leave_neither_process_nor_descriptor_behind),
        cmocka_unit_test(a_transform_that_runs_keeps_its_generation),
        cmocka_unit_test(a_module_that_does_not_load_is_named_and_changes_nothing),
        cmocka_unit_test(a_module_that_hangs_while_it_loads_is_stopped_and_named),
        cmocka_unit_test(a_module_that_crashes_its_host_while_it_loads_is_named),
        cmocka_unit_test(a_second_load_at_once_is_refused),
        cmocka_unit_test(a_load_that_is_cancelled_changes_nothing),
        cmocka_unit_test(a_load_may_begin_where_a_call_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
