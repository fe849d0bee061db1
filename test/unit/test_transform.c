/* Transforms from the call to the result, in real children of a real zygote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/utf8.h"
#include "lua/text.h"
#include "transform_world.h"

/* A zygote that all tests share where they need none of their own. */
static int open_shared(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    world_open(world, NULL, 4);
    *state = world;
    return 0;
}

static int close_shared(void **state)
{
    world_close(*state);
    free(*state);
    /* Every process that was started has been reaped. */
    return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : -1;
}

static void a_script_gives_a_result(void **state)
{
    static const struct {
        const char *script, *input, *output;
    } cases[] = {
        {"return function(data) return data:upper() end", "abc", "ABC"},
        {"return { transform = function(data) return data .. '!' end }", "a", "a!"},
        {"return function() return { ['b/c'] = '2', a = '1' } end", "", "a=1;b/c=2;"},
        {"return function() return 'x', { metadata = { k = 'v' } } end", "", "x"},
        {"return function(data) return tostring(#data) end", "", "0"},
        {"return function(d, ctx) return json.encode(ctx) end", "",
         "{\"env\":{},\"metadata\":{},\"source\":{}}"},
        {"local schema = require 'schema'\n"
         "return function(d) return schema.check('x', schema.string {}) end",
         "", "x"},
        {"return function(d) return d end", "\xff\xfe binary", "\xff\xfe binary"},
        {"leak = (leak or 0) + 1 return function() return tostring(leak) end", "", "1"},
        {"leak = (leak or 0) + 1 return function() return tostring(leak) end", "", "1"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outcome outcome;

        run_script(*state, cases[i].script, cases[i].input, &outcome);
        assert_output(&outcome, cases[i].output);
        outcome_free(&outcome);
    }
}

static void a_script_that_fails_says_where_and_why(void **state)
{
    static const struct {
        const char *script, *reason, *message;
        bool explicit_error;
    } cases[] = {
        {"\n\nx = = 3", "HookFailed", "hook 'h' line 3: unexpected symbol near '='", false},
        {"return function()\n  local x\n  return x.y\nend", "HookFailed",
         "hook 'h' line 3: attempt to index local 'x' (a nil value)", false},
        {"return function() error('no') end", "HookFailed", "hook 'h' line 1: no", false},
        {"return function() error('a\\n\\27b\\255', 0) end", "HookFailed",
         "hook 'h' line 1: a\\n\\x1bb\\xff", false},
        {"return function()\n error { reason = 'NoItems', message = 'none' }\nend", "NoItems",
         "hook 'h' line 2: none", true},
        {"return function() error { message = 'none' } end", "HookFailed", "hook 'h' line 1: none",
         true},
        {"return function() error { reason = 'NoItems' } end", "NoItems",
         "hook 'h' line 1: NoItems", true},
        {"return function() error { reason = 'no items', message = 'x' } end", "HookFailed",
         "hook 'h' line 1: error{reason=…} takes CamelCase letters and digits, such as NoItems, "
         "at most 63",
         false},
        {"return function() error(setmetatable({}, { __index = error })) end", "HookFailed",
         "hook 'h' line 1: error object is a table without reason and message", false},
        {"return function() error() end", "HookFailed",
         "hook 'h' line 1: error object is a nil value", false},
        {"return function()\n json.decode('[1') end", "HookFailed",
         "hook 'h' line 2: json.decode: line 1 column 3: expected ',' or ']', found the end of "
         "the text",
         false},
        {"return 5", "HookFailed",
         "hook 'h': the script must return a function (data, ctx) or { transform = function }; "
         "it returned a number",
         false},
        {"", "HookFailed",
         "hook 'h': the script must return a function (data, ctx) or { transform = function }; "
         "it returned nothing",
         false},
        {"\x1bLJ", "HookFailed",
         "hook 'h': precompiled Lua is not accepted; give the script as text", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outcome outcome;

        run_script(*state, cases[i].script, "", &outcome);
        assert_failed(&outcome, cases[i].reason, cases[i].message);
        assert_int_equal(outcome.explicit_error, cases[i].explicit_error);
        assert_int_equal(outcome.error->kind, ERROR_HOOK);
        outcome_free(&outcome);
    }
}

static void a_mistaken_result_is_refused(void **state)
{
#define EMPTY                                                                                      \
    "hook 'h': an empty artifact makes Flux prune everything; set spec.allowEmpty: true if it is " \
    "meant"
#define OBJECT "hook 'h': returned an object; use yaml.encode"
    static const struct {
        const char *result, *reason, *message;
    } cases[] = {
        {"nil", "EmptyResult", EMPTY},
        {"''", "EmptyResult", EMPTY},
        {"{}", "EmptyResult", EMPTY},
        {"json.array {}", "EmptyResult", EMPTY},
        {"{ 'a', 'b' }", "InvalidResult", OBJECT " (it is a list)"},
        {"{ apiVersion = 'v1' }", "InvalidResult", OBJECT " (it has 'apiVersion')"},
        {"{ kind = 'List' }", "InvalidResult", OBJECT " (it has 'kind')"},
        {"{ a = 1 }", "InvalidResult", OBJECT " (the content of 'a' is a number, not a string)"},
        {"{ [true] = 'x' }", "InvalidResult", OBJECT " (it has a boolean for a path)"},
        {"5", "InvalidResult",
         "hook 'h': returned a number; a transform returns a string or a table of path = content"},
        {"'x', 'y'", "InvalidResult",
         "hook 'h': the second value is a string; it may be { metadata = {…} }"},
        {"'x', { meta = {} }", "InvalidResult",
         "hook 'h': the second value has other members than metadata"},
        {"'x', { metadata = { a = 1 } }", "InvalidResult",
         "hook 'h': metadata 'a' is a number, not a string"},
        {"'x', { metadata = { a = '\\255' } }", "InvalidResult",
         "hook 'h': metadata 'a' is not UTF-8 text"},
        {"('x'):rep(2 ^ 20)", "OutputLimit", "hook 'h': gave 1048592 bytes; its limit is 1Mi"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outcome outcome;
        char script[256];

        snprintf(script, sizeof(script), "return function() return %s end", cases[i].result);
        run_script(*state, script, "", &outcome);
        assert_failed(&outcome, cases[i].reason, cases[i].message);
        assert_false(outcome.explicit_error);
        outcome_free(&outcome);
    }
}

static void a_path_that_leaves_the_artifact_is_refused(void **state)
{
    static const char *const paths[] = {
        "../x", "/etc/passwd", "a/../../x", "a//b",  ".", "a/./b", "a\\\\b",
        "",     "a\\0b",       "a\\nb",     "\\255",
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct outcome outcome;
        char script[256];

        snprintf(script, sizeof(script), "return function() return { ['%s'] = 'x' } end", paths[i]);
        run_script(*state, script, "", &outcome);
        assert_non_null(outcome.error);
        assert_string_equal(outcome.error->reason, "InvalidResult");
        outcome_free(&outcome);
    }
}

static void an_empty_result_is_kept_where_it_is_allowed(void **state)
{
    static const char *const results[] = {"nil", "''", "{}"};

    for (size_t i = 0; i < 3; i++) {
        _cleanup_(payload) struct payload *input = payload_of_text(*state, "x", 1);
        struct outcome outcome;
        char script[64];

        snprintf(script, sizeof(script), "return function() return %s end", results[i]);
        struct transform_call call = call_of(script, input);

        call.allow_empty = true;
        run_call(*state, &call, &outcome);
        assert_output(&outcome, "");
        assert_true(payload_empty(outcome.output));
        outcome_free(&outcome);
    }
}

static void the_context_holds_what_the_call_says(void **state)
{
    _cleanup_(payload) struct payload *input = payload_of_text(*state, "x", 1);
    _cleanup_(json) json_t *env = json_pack("{s:s}", "A", "b");
    _cleanup_(json) json_t *source =
        json_pack("{s:s, s:{s:s}, s:i}", "name", "n", "labels", "l", "v", "generation", 7);
    _cleanup_(json) json_t *metadata = json_pack("{s:s}", "station", "9");
    struct transform_call call = call_of(
        "return function(d, c) return table.concat({c.env.A, c.source.name, c.source.labels.l,\n"
        "tostring(c.source.generation), c.metadata.station}, ','), {metadata = {k = 'v'}} end",
        input);
    struct outcome outcome;

    call.env = env;
    call.source = source;
    call.metadata = metadata;
    run_call(*state, &call, &outcome);
    assert_output(&outcome, "b,n,v,7,9");
    assert_string_equal(json_get_string(outcome.metadata, "k"), "v");
    outcome_free(&outcome);
}

static void files_come_as_a_table(void **state)
{
    struct world *world = *state;
    _cleanup_(payload) struct payload *input = payload_new_files();
    static const char *const files[][2] = {{"a.txt", "one"}, {"b/c.txt", ""}, {"d", "two"}};
    struct outcome outcome;

    for (size_t i = 0; i < 3; i++) {
        struct blob *blob = NULL;

        assert_null(blob_from_bytes(world->blobs, files[i][1], strlen(files[i][1]), &blob));
        assert_null(payload_add(input, files[i][0], strlen(files[i][0]), blob));
    }
    struct transform_call call =
        call_of("return function(data) data['d'] = data['d'] .. '!' return data end", input);

    run_call(world, &call, &outcome);
    assert_output(&outcome, "a.txt=one;b/c.txt=;d=two!;");
    outcome_free(&outcome);
}

static void a_spooled_input_arrives_whole(void **state)
{
    size_t length = (size_t)3 << 20;
    char *text = malloc(length);

    memset(text, 'x', length);
    text[length - 1] = 'y';
    _cleanup_(payload) struct payload *input = payload_of_text(*state, text, length);
    struct transform_call call = call_of("return function(d) return #d .. d:sub(-2) end", input);
    struct outcome outcome;

    free(text);
    run_call(*state, &call, &outcome);
    assert_output(&outcome, "3145728xy");
    outcome_free(&outcome);
}

static void a_limit_ends_a_run(void **state)
{
    static const struct {
        const char *script, *reason, *message;
        int64_t wall_ms;
    } cases[] = {
        {"while true do end", "Timeout", "hook 'h': ran longer than its limit of 200ms", 200},
        {"while true do pcall(error) end", "Timeout",
         "hook 'h': ran longer than its limit of 200ms", 200},
        {"return function() return ('a'):rep(500):find(('.-'):rep(20) .. 'b') end", "Timeout",
         "hook 'h': ran longer than its limit of 200ms", 200},
        {"return function() return ('x'):rep(1e9) end", "MemoryLimit",
         "hook 'h': used more memory than its limit of 64Mi", 30000},
        {"local t = {} while true do t[#t + 1] = ('x'):rep(#t) end", "MemoryLimit",
         "hook 'h': used more memory than its limit of 64Mi", 30000},
        {"local function f(...) return f(...), 1 end return f", "HookFailed",
         "hook 'h' line 1: stack overflow", 30000},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(payload) struct payload *input = payload_of_text(*state, "x", 1);
        struct transform_call call = call_of(cases[i].script, input);
        struct outcome outcome;

        call.limits.wall_ms = cases[i].wall_ms;
        run_call(*state, &call, &outcome);
        assert_failed(&outcome, cases[i].reason, cases[i].message);
        assert_false(outcome.explicit_error);
        outcome_free(&outcome);
    }
}

static void a_run_that_crashes_fails_alone(void **state)
{
    struct outcome crashed, other;

    /* Recursion through gsub overflows the C stack of LuaJIT. */
    run_script(*state, "local function f() return string.gsub('x', '.', f) end return f", "",
               &crashed);
    assert_non_null(crashed.error);
    assert_true(strcmp(crashed.error->reason, "Crashed") == 0 ||
                strcmp(crashed.error->reason, "HookFailed") == 0);
    run_script(*state, "return function() return 'fine' end", "", &other);
    assert_output(&other, "fine");
    outcome_free(&crashed);
    outcome_free(&other);
}

static void the_last_lines_logged_come_back_even_from_a_killed_run(void **state)
{
    _cleanup_(payload) struct payload *input = payload_of_text(*state, "x", 1);
    struct transform_call call = call_of(
        "for i = 1, 30 do print(i) end log.error('a\\27\\n' .. ('y'):rep(5000)) while true do end",
        input);
    struct outcome outcome;

    call.limits.wall_ms = 300;
    run_call(*state, &call, &outcome);
    assert_string_equal(outcome.error->reason, "Timeout");
    assert_memory_equal(outcome.logs, "info: 12\n", 9);
    assert_non_null(strstr(outcome.logs, "\nerror: a\\x1b\\nyyy"));
    assert_null(strstr(outcome.logs, "info: 11\n"));
    outcome_free(&outcome);
}

static void a_message_is_short_and_names_its_line_in_the_manifest(void **state)
{
    _cleanup_(payload) struct payload *input = payload_of_text(*state, "x", 1);
    struct transform_call call =
        call_of("\nreturn function()\n  error(('\xc3\xa9'):rep(5000))\nend", input);
    struct outcome outcome;

    call.place = "manifests/app.yaml:12";
    run_call(*state, &call, &outcome);
    const char *message = outcome.error->message;

    assert_true(strlen(message) <= TEXT_MESSAGE_MAX);
    assert_int_equal(utf8_valid_prefix(message, strlen(message)), strlen(message));
    assert_memory_equal(message, "hook 'h' line 3: \xc3\xa9", 19);
    assert_non_null(strstr(message, "\xe2\x80\xa6 (manifests/app.yaml:14)"));
    outcome_free(&outcome);
}

static void a_script_is_named_by_its_file_where_it_is_no_hook(void **state)
{
    _cleanup_(payload) struct payload *input = payload_of_text(*state, "x", 1);
    struct transform_call call = call_of("error('no')", input);
    struct outcome outcome;

    call.label = NULL;
    call.chunk_name = "a.lua";
    run_call(*state, &call, &outcome);
    assert_failed(&outcome, "HookFailed", "a.lua line 1: no");
    outcome_free(&outcome);
}

int main(int argc, char **argv)
{
    TRANSFORM_WORLD_MAIN(argc, argv);
    const struct CMUnitTest shared[] = {
        cmocka_unit_test(a_script_gives_a_result),
        cmocka_unit_test(a_script_that_fails_says_where_and_why),
        cmocka_unit_test(a_mistaken_result_is_refused),
        cmocka_unit_test(a_path_that_leaves_the_artifact_is_refused),
        cmocka_unit_test(an_empty_result_is_kept_where_it_is_allowed),
        cmocka_unit_test(the_context_holds_what_the_call_says),
        cmocka_unit_test(files_come_as_a_table),
        cmocka_unit_test(a_spooled_input_arrives_whole),
        cmocka_unit_test(a_limit_ends_a_run),
        cmocka_unit_test(a_run_that_crashes_fails_alone),
        cmocka_unit_test(the_last_lines_logged_come_back_even_from_a_killed_run),
        cmocka_unit_test(a_message_is_short_and_names_its_line_in_the_manifest),
        cmocka_unit_test(a_script_is_named_by_its_file_where_it_is_no_hook),
    };

    return cmocka_run_group_tests(shared, open_shared, close_shared);
}
