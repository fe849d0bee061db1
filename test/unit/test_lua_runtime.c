/* Calls into generators, over real hosts: what comes back of every kind of result and error. */
#include "lua_world.h"

static void a_string_and_a_table_are_results(void **state)
{
    struct lua_world *world = lua_world_of("", "return { data = config.data, last_modified = 't',\n"
                                               "  metadata = { a = 'b' }, revision_label = 'v1' }");
    (void)state;
    struct generated string = generate(world, "{\"data\": \"text\"}");
    struct generated table = generate(world, "{\"data\": {\"b/c\": \"2\", \"a\": \"1\"}}");

    assert_generated(&string, "text");
    assert_string_equal(string.token, "t");
    assert_string_equal(string.label, "v1");
    assert_string_equal(json_get_string(string.metadata, "a"), "b");
    assert_generated(&table, "a=1;b/c=2;");
    generated_free(&string);
    generated_free(&table);
    lua_world_free(world);
}

static void what_a_module_leaves_out_is_not_there(void **state)
{
    struct lua_world *world = lua_world_of("", "return { data = 'x' }");
    struct generated generated = generate(world, "{}");

    (void)state;
    assert_generated(&generated, "x");
    assert_false(generated.not_modified);
    assert_null(generated.token);
    assert_null(generated.label);
    assert_int_equal(json_object_size(generated.metadata), 0);
    generated_free(&generated);
    lua_world_free(world);
}

static void bytes_that_are_no_text_arrive_unchanged(void **state)
{
    struct lua_world *world = lua_world_of("", "return { data = 'a\\255\\192\\r\\n\\001z' }");

    (void)state;
    assert_call(world, "{}", "a\377\300\r\n\001z");
    lua_world_free(world);
}

static void a_call_sees_its_source_and_its_token(void **state)
{
    struct lua_world *world = lua_world_of(
        "", "local s = ctx.source\n"
            "return { data = table.concat({ s.namespace, s.name, s.labels.tier, s.generation,\n"
            "  tostring(ctx.last_modified), config.a.b[2] }, ' ') }");
    _cleanup_(source) struct source *source = source_of("g", "{\"a\": {\"b\": [1, \"two\"]}}", "");
    struct generated generated = {0};

    (void)state;
    generate_begin(world, &(struct generator_call){.source = source, .token = "tok"}, &generated);
    generate_wait(&generated);
    assert_generated(&generated, "team app gold 7 tok two");
    generated_free(&generated);
    assert_call(world, "{\"a\": {\"b\": [1, \"two\"]}}", "team app gold 7 nil two");
    lua_world_free(world);
}

static void not_modified_brings_nothing_else(void **state)
{
    struct lua_world *world = lua_world_of("", "return ctx.not_modified");
    _cleanup_(source) struct source *source = source_of("g", "{}", "");
    struct generated generated = {0};

    (void)state;
    generate_begin(world, &(struct generator_call){.source = source, .token = "t"}, &generated);
    generate_wait(&generated);
    assert_null(generated.error);
    assert_true(generated.not_modified);
    assert_null(generated.text);
    generated_free(&generated);
    lua_world_free(world);
}

static void not_modified_without_a_token_is_an_error(void **state)
{
    struct lua_world *world = lua_world_of("", "return ctx.not_modified");

    (void)state;
    assert_call_fails(world, "{}", ERROR_TRANSIENT, "InvalidResult",
                      "generator 'g': it said 'not modified' without having been given a token");
    lua_world_free(world);
}

static void get_last_modified_spares_the_fetch_of_what_is_known(void **state)
{
    struct lua_module_set *set = modules_shipped();
    _cleanup_(source) struct source *source = source_of("g", "{}", "");
    struct generated known = {0}, changed = {0};

    (void)state;
    modules_add(set, LUA_GENERATOR, "g",
                "return { type = 'g', get_last_modified = function() return 'v2' end,\n"
                "  generate = function() return { data = 'fetched' } end }");
    struct lua_world *world = lua_world_new(set);
    generate_begin(world, &(struct generator_call){.source = source, .token = "v2"}, &known);
    generate_begin(world, &(struct generator_call){.source = source, .token = "v1"}, &changed);
    generate_wait(&known);
    generate_wait(&changed);
    assert_true(known.not_modified);
    assert_generated(&changed, "fetched");
    assert_string_equal(changed.token, "v2");
    generated_free(&known);
    generated_free(&changed);
    lua_world_free(world);
}

/* A module's error, and what the core makes of it. */
static const struct {
    const char *body;
    enum error_kind kind;
    const char *reason;
    const char *message;
    int64_t retry_after_ms;
} failures[] = {
    {"error { reason = 'Weather', message = 'rain', kind = 'transient' }", ERROR_TRANSIENT,
     "Weather", "generator 'g': rain", 0},
    {"error { reason = 'Weather', message = 'rain', kind = 'configuration' }", ERROR_CONFIGURATION,
     "Weather", "generator 'g': rain", 0},
    {"error { reason = 'Weather', message = 'rain', kind = 'upstream' }", ERROR_UPSTREAM, "Weather",
     "generator 'g': rain", 0},
    {"error { reason = 'Weather', message = 'rain', kind = 'storage' }", ERROR_TRANSIENT, "Weather",
     "generator 'g': rain", 0},
    {"error { message = 'rain' }", ERROR_TRANSIENT, "GeneratorFailed", "generator 'g': rain", 0},
    {"error { reason = 'Weather' }", ERROR_TRANSIENT, "Weather", "generator 'g': Weather", 0},
    {"error { reason = '', message = 'rain' }", ERROR_TRANSIENT, "GeneratorFailed",
     "generator 'g': rain", 0},
    {"error {}", ERROR_TRANSIENT, "GeneratorFailed",
     "generator 'g': the module raised an error without a message", 0},
    {"error('plain', 0)", ERROR_TRANSIENT, "GeneratorFailed", "generator 'g': plain", 0},
    {"error('placed')", ERROR_TRANSIENT, "GeneratorFailed",
     "generator 'g': generators/g.lua:4: placed", 0},
    {"local x = nil; return x.y", ERROR_TRANSIENT, "GeneratorFailed",
     "generator 'g': generators/g.lua:4: attempt to index local 'x' (a nil value)", 0},
    {"error(nil)", ERROR_TRANSIENT, "GeneratorFailed", "generator 'g': nil", 0},
    {"error { reason = 'InvalidSpec', kind = 'configuration', message = 'spec.x: bad' }",
     ERROR_CONFIGURATION, "InvalidSpec", "spec.x: bad", 0},
    {"error { reason = 'Busy', message = 'later', retry_after = 1.5 }", ERROR_TRANSIENT, "Busy",
     "generator 'g': later", 1500},
    {"error { reason = 'Busy', message = 'later', retry_after = 1e9 }", ERROR_TRANSIENT, "Busy",
     "generator 'g': later", 86400000},
    {"error { reason = 'Busy', message = 'later', retry_after = -5 }", ERROR_TRANSIENT, "Busy",
     "generator 'g': later", 0},
    {"error { reason = 'Bytes', message = 'a\\001b' }", ERROR_TRANSIENT, "Bytes", NULL, 0},
    {"error { reason = 'Bytes', kind = 'upstream', message = 'a\\255b' }", ERROR_UPSTREAM, "Bytes",
     "generator 'g': a?b", 0},
    {"error { reason = 'Bytes', message = '\\195\\164' }", ERROR_TRANSIENT, "Bytes",
     "generator 'g': \xc3\xa4", 0},
    {"error('a\\255b', 0)", ERROR_TRANSIENT, "GeneratorFailed", "generator 'g': a?b", 0},
    {"return nil", ERROR_TRANSIENT, "InvalidResult",
     "generator 'g': generators/g.lua: generate returned nil; accepted: a table with 'data'", 0},
    {"return 'text'", ERROR_TRANSIENT, "InvalidResult",
     "generator 'g': generators/g.lua: generate returned string; accepted: a table with 'data'", 0},
    {"return { data = { 'a' } }", ERROR_TRANSIENT, "InvalidResult",
     "generator 'g': generators/g.lua: data is a list; accepted: a string, a blob or a table of "
     "path = content",
     0},
    {"return { data = { a = 1 } }", ERROR_TRANSIENT, "InvalidResult",
     "generator 'g': generators/g.lua: data['a'] is number; accepted: a string or a blob", 0},
    {"return { data = 5 }", ERROR_TRANSIENT, "InvalidResult",
     "generator 'g': generators/g.lua: data is number; accepted: a string or a blob", 0},
    {"return { data = { ['../a'] = 'x' } }", ERROR_HOOK, "InvalidResult", NULL, 0},
    {"return { data = 'x', last_modified = 5 }", ERROR_TRANSIENT, "InvalidResult",
     "generator 'g': generators/g.lua: last_modified is number; accepted: a string", 0},
    {"return { data = 'x', metadata = { a = 1 } }", ERROR_TRANSIENT, "InvalidResult",
     "generator 'g': generators/g.lua: metadata must be a table of strings", 0},
    {"return { data = 'x', revision_label = 'a b' }", ERROR_TRANSIENT, "InvalidResult",
     "generator 'g': generators/g.lua: revision_label must match ^[A-Za-z0-9._/-]+$", 0},
    {"return { data = 'x', revision_label = ('a'):rep(300) }", ERROR_TRANSIENT, "InvalidResult",
     "generator 'g': revision_label may have letters, digits and ._/- only", 0},
    {"return { data = 'x', metadata = { a = '\\255' } }", ERROR_TRANSIENT, "InvalidResult", NULL,
     0},
    {"return { data = '' }", ERROR_UPSTREAM, "EmptyResult",
     "generator 'g': upstream gave nothing, and an empty artifact makes Flux prune everything; set "
     "spec.allowEmpty: true if it is meant",
     0},
    {"return { data = {} }", ERROR_UPSTREAM, "EmptyResult", NULL, 0},
    {"return {}", ERROR_UPSTREAM, "EmptyResult", NULL, 0},
    {"coroutine.yield()", ERROR_TRANSIENT, "GeneratorFailed",
     "generator 'g': it yielded outside a primitive", 0},
    {"coroutine.wrap(function() time.now() end)()", ERROR_TRANSIENT, "GeneratorFailed", NULL, 0},
    {"while true do end", ERROR_TRANSIENT, "Timeout",
     "generator 'g': it used more instructions than a call may", 0},
    {"while true do pcall(function() while true do end end) end", ERROR_TRANSIENT, "Timeout",
     "generator 'g': it used more instructions than a call may", 0},
    {"local t = {}; while true do t[#t + 1] = ('x'):rep(1e6) .. #t end", ERROR_TRANSIENT,
     "MemoryLimit", "generator 'g': it used more memory than a host may", 0},
    {"return { data = ('x'):rep(17 * 1024 * 1024) }", ERROR_UPSTREAM, "OutputLimit",
     "generator 'g': the result is larger than 16 MiB; leave large bodies in blobs", 0},
};

static void errors_of_each_kind_reach_the_caller(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        struct lua_world *world = lua_world_of("", failures[i].body);
        struct generated generated = generate(world, "{}");

        if (!generated.error)
            fail_msg("%s: no error", failures[i].body);
        assert_error(generated.error, failures[i].kind, failures[i].reason,
                     failures[i].message ? failures[i].message : generated.error->message);
        assert_int_equal(generated.error->retry_after_ms, failures[i].retry_after_ms);
        generated_free(&generated);
        lua_world_free(world);
    }
}

static void a_host_serves_on_after_a_call_that_failed(void **state)
{
    struct lua_world *world =
        lua_world_of("", "if config.bad then while true do end end\nreturn { data = config.data }");

    (void)state;
    pid_t before = host_pid("generator");
    assert_call_fails(world, "{\"bad\": true}", ERROR_TRANSIENT, "Timeout",
                      "generator 'g': it used more instructions than a call may");
    assert_call(world, "{\"data\": \"fine\"}", "fine");
    assert_int_equal(host_pid("generator"), before);
    lua_world_free(world);
}

static void an_empty_result_is_taken_where_it_is_meant(void **state)
{
    struct lua_world *world = lua_world_of("", "return { data = '' }");
    _cleanup_(source) struct source *source = source_of("g", "{}", ", \"allowEmpty\": true");
    struct generated generated = {0};

    (void)state;
    generate_begin(world, &(struct generator_call){.source = source}, &generated);
    generate_wait(&generated);
    assert_generated(&generated, "");
    generated_free(&generated);
    lua_world_free(world);
}

static void an_unknown_type_is_refused_with_those_there_are(void **state)
{
    struct lua_world *world = lua_world_of("", "return { data = 'x' }");
    _cleanup_(source) struct source *source = source_of("ftp", "{}", "");
    struct generated generated = {0};
    struct operation *operation = NULL;
    _cleanup_(error) struct error *error =
        lua_generate(world->runtime, &(struct generator_call){.source = source}, on_generated,
                     &generated, &operation);

    (void)state;
    assert_error(error, ERROR_CONFIGURATION, "InvalidSpec",
                 "spec.generator.type: found 'ftp'; accepted: g, http");
    assert_null(operation);
    lua_world_free(world);
}

static void a_section_that_the_schema_refuses_names_its_field(void **state)
{
    struct lua_module_set *set = modules_shipped();

    (void)state;
    modules_add(set, LUA_GENERATOR, "g",
                "return { type = 'g', config = schema.object { n = schema.integer { min = 1 } },\n"
                "  generate = function(ctx, config) return { data = 'n' .. config.n } end }");
    struct lua_world *world = lua_world_new(set);
    struct generated generated = generate(world, "{\"n\": 0}");

    assert_non_null(generated.error);
    assert_string_equal(generated.error->reason, "InvalidSpec");
    assert_int_equal(generated.error->kind, ERROR_CONFIGURATION);
    assert_string_equal(
        generated.error->message,
        "spec.generator.g.n: found the number 0; accepted: a whole number of at least 1");
    generated_free(&generated);
    assert_call(world, "{\"n\": 3}", "n3");
    lua_world_free(world);
}

static void before_the_first_load_nothing_can_be_called(void **state)
{
    struct lua_world *world = lua_world_prepare();
    const struct lua_runtime_options options = lua_world_options(world);
    _cleanup_(source) struct source *source = source_of("g", "{}", "");
    _cleanup_(json) json_t *request = json_object();
    struct operation *operation = NULL;
    struct generated generated = {0};

    (void)state;
    world->runtime = lua_runtime_new(&options);
    _cleanup_(error) struct error *error =
        lua_generate(world->runtime, &(struct generator_call){.source = source}, on_generated,
                     &generated, &operation);
    _cleanup_(error) struct error *asked =
        lua_ask_policy(world->runtime, "egress", request, NULL, NULL, &operation);
    assert_error(error, ERROR_TRANSIENT, "NotReady", "no modules are loaded yet");
    assert_error(asked, ERROR_TRANSIENT, "NotReady", "no policies are loaded yet");
    assert_null(lua_runtime_transformer(world->runtime));
    assert_null(lua_runtime_module(world->runtime, LUA_GENERATOR, "http"));
    lua_world_free(world);
}

static void many_calls_wait_in_one_host_at_once(void **state)
{
    struct lua_world *world = lua_world_of(
        "", "for _ = 1, 3 do time.sleep(0.01) end\nreturn { data = 'call ' .. config.n }");
    static struct generated calls[200];

    (void)state;
    memset(calls, 0, sizeof(calls));
    for (size_t i = 0; i < 200; i++) {
        _cleanup_(free) char *config = format_string("{\"n\": %zu}", i);

        generate_start(world, config, &calls[i]);
    }
    for (size_t i = 0; i < 200; i++) {
        _cleanup_(free) char *expected = format_string("call %zu", i);

        generate_wait(&calls[i]);
        assert_generated(&calls[i], expected);
        generated_free(&calls[i]);
    }
    assert_int_equal(host_pids("generator", NULL, 0), 1);
    lua_world_free(world);
}

static void digest_of(const struct lua_world *world, char hex[SHA256_HEX_SIZE])
{
    assert_null(lua_runtime_generator_digest(world->runtime, "g", hex));
}

static void the_digest_of_a_type_moves_with_what_shapes_it_alone(void **state)
{
    struct lua_world *world = lua_world_of("", "return { data = 'a' }");
    char first[SHA256_HEX_SIZE], policy[SHA256_HEX_SIZE], own[SHA256_HEX_SIZE];
    char other[SHA256_HEX_SIZE], library[SHA256_HEX_SIZE];

    (void)state;
    digest_of(world, first);
    struct lua_module_set *set = modules_with("", "return { data = 'a' }");
    modules_add(set, LUA_POLICY, "p", "return { type = 'x', allow = function() return true end }");
    modules_add(set, LUA_TRANSFORM, "t", "return function(data) return data end");
    lua_world_load(world, set);
    digest_of(world, policy);
    set = modules_with("", "return { data = 'a' }");
    modules_add(set, LUA_GENERATOR, "h",
                "return { type = 'h', generate = function() return { data = 'h' } end }");
    lua_world_load(world, set);
    digest_of(world, other);
    lua_world_load(world, modules_with("", "return { data = 'b' }"));
    digest_of(world, own);
    set = modules_with("", "return { data = 'a' }");
    modules_add(set, LUA_LIBRARY, "l", "return {}");
    lua_world_load(world, set);
    digest_of(world, library);
    assert_string_equal(first, policy);
    assert_string_equal(first, other);
    assert_string_not_equal(first, own);
    assert_string_not_equal(first, library);
    lua_world_free(world);
}

static void a_generator_requires_libraries_and_nothing_else(void **state)
{
    struct lua_module_set *set =
        modules_with("local words = require 'words'", "return { data = words.hello }");

    (void)state;
    modules_add(set, LUA_LIBRARY, "words", "return { hello = 'hello from a library' }");
    struct lua_world *world = lua_world_new(set);
    assert_call(world, "{}", "hello from a library");
    lua_world_try_load(world, modules_with("local p = require 'factory2'", "return {}"));
    assert_error(world->load_error, ERROR_CONFIGURATION, "InvalidModule",
                 "generators/g.lua:1: module 'factory2' not found");
    lua_world_free(world);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_string_and_a_table_are_results),
        cmocka_unit_test(what_a_module_leaves_out_is_not_there),
        cmocka_unit_test(bytes_that_are_no_text_arrive_unchanged),
        cmocka_unit_test(a_call_sees_its_source_and_its_token),
        cmocka_unit_test(not_modified_brings_nothing_else),
        cmocka_unit_test(not_modified_without_a_token_is_an_error),
        cmocka_unit_test(get_last_modified_spares_the_fetch_of_what_is_known),
        cmocka_unit_test(errors_of_each_kind_reach_the_caller),
        cmocka_unit_test(a_host_serves_on_after_a_call_that_failed),
        cmocka_unit_test(an_empty_result_is_taken_where_it_is_meant),
        cmocka_unit_test(an_unknown_type_is_refused_with_those_there_are),
        cmocka_unit_test(a_section_that_the_schema_refuses_names_its_field),
        cmocka_unit_test(before_the_first_load_nothing_can_be_called),
        cmocka_unit_test(many_calls_wait_in_one_host_at_once),
        cmocka_unit_test(the_digest_of_a_type_moves_with_what_shapes_it_alone),
        cmocka_unit_test(a_generator_requires_libraries_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
