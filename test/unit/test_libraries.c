/* The sandbox of Lua states and its native libraries, expression by expression. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>

#include "base/buffer.h"
#include "lua/decimal.h"
#include "lua/heap.h"
#include "lua/libraries.h"
#include "lua/state.h"

struct fixture {
    struct heap heap;
    lua_State *lua;
    struct buffer log;
};

static void remember_log(void *context, const char *level, const char *text, size_t length)
{
    struct fixture *fixture = context;

    buffer_appendf(&fixture->log, "%s:", level);
    buffer_append(&fixture->log, text, length);
    buffer_append_byte(&fixture->log, ';');
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    fixture->heap.limit = (size_t)64 << 20;
    fixture->lua = state_new(&fixture->heap, true);
    assert_non_null(fixture->lua);
    libraries_set_log(fixture->lua, remember_log, fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    lua_close(fixture->lua);
    assert_int_equal(fixture->heap.used, 0);
    buffer_free(&fixture->log);
    free(fixture);
    return 0;
}

/* Runs `code` and leaves its results, or the error, as one text with ", " between them. */
static int run(lua_State *lua)
{
    const char *code = lua_touserdata(lua, 1);
    int count;

    lua_settop(lua, 0);
    if (luaL_loadbuffer(lua, code, strlen(code), "=code") != 0 ||
        lua_pcall(lua, 0, LUA_MULTRET, 0) != 0) {
        libraries_tostring(lua, -1, NULL);
        lua_replace(lua, 1);
        lua_settop(lua, 1);
    }
    count = lua_gettop(lua);
    lua_pushliteral(lua, "");
    for (int i = 1; i <= count; i++) {
        lua_pushstring(lua, i > 1 ? ", " : "");
        libraries_tostring(lua, i, NULL);
        lua_concat(lua, 3);
    }
    lua_setglobal(lua, "answer");
    return 0;
}

static void assert_gives(struct fixture *fixture, const char *code, const char *expected)
{
    lua_State *lua = fixture->lua;

    if (lua_cpcall(lua, run, (void *)code) != 0)
        fail_msg("%s: %s", code, lua_tostring(lua, -1));
    lua_getglobal(lua, "answer");
    if (strcmp(lua_tostring(lua, -1), expected) != 0)
        fail_msg("%s\n  gives    %s\n  expected %s", code, lua_tostring(lua, -1), expected);
    lua_pop(lua, 1);
}

struct example {
    const char *code;
    const char *gives;
};

static void assert_all(void **state, const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_gives(*state, examples[i].code, examples[i].gives);
}

#define ASSERT_ALL(...)                                                  \
    do {                                                                 \
        static const struct example examples[] = {__VA_ARGS__};          \
        assert_all(state, examples, sizeof examples / sizeof *examples); \
    } while (0)

static void only_allowed_names_exist(void **state)
{
    ASSERT_ALL(
        {"local t = {} for k in pairs(_G) do t[#t + 1] = k end table.sort(t) "
         "return table.concat(t, ' ')",
         "_G assert base64 bit coroutine csv error getmetatable hex ipairs json log math next "
         "number pairs pcall print rawequal rawget rawset re require select setmetatable sha256 "
         "string table time tonumber tostring type unpack xpcall yaml"},
        {"return io, os, package, debug, ffi, jit, load, loadstring, dofile, string.dump",
         "nil, nil, nil, nil, nil, nil, nil, nil, nil, nil"},
        {"return collectgarbage, newproxy, getfenv, setfenv, module, gcinfo",
         "nil, nil, nil, nil, nil, nil"},
        {"return pcall(require, 'ffi')", "false, module 'ffi' not found"},
        {"return pcall(require, 'os')", "false, module 'os' not found"},
        {"return require 'json' == json, require 'string' == string", "true, true"},
        {"return getmetatable(''), getmetatable(json.null), getmetatable(json.array {})",
         "false, null, array"},
        {"return pcall(setmetatable, json.array {}, {})",
         "false, cannot change a protected metatable"},
        {"return getmetatable(json.decode '1.0')", "ffi"}, );
}

static void nothing_shows_an_address(void **state)
{
    ASSERT_ALL(
        {"return tostring {}, tostring(print), tostring(coroutine.create(print))",
         "table, function, thread"},
        {"return ('%s %s'):format({}, print), string.format('%5.1f|%d|%%|%s', 1, 2, nil)",
         "table function,   1.0|2|%|nil"},
        {"return pcall(string.format, '%p', {})",
         "false, string.format: %p is not available: addresses differ in each run"},
        {"return tostring(setmetatable({}, {__tostring = function() return 'mine' end}))", "mine"},
        {"return tostring(1.5), tostring(nil), tostring(true), tostring 'x'",
         "1.5, nil, true, x"}, );
}

static void two_states_draw_the_same_numbers(void **state)
{
    struct fixture *fixture = *state;
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *other = state_new(&heap, false);
    char expected[64];

    assert_non_null(other);
    assert_int_equal(luaL_loadstring(other, "return math.random() .. ' ' .. math.random(1000)"), 0);
    assert_int_equal(lua_pcall(other, 0, 1, 0), 0);
    snprintf(expected, sizeof expected, "%s", lua_tostring(other, -1));
    lua_close(other);
    assert_gives(fixture, "return math.random() .. ' ' .. math.random(1000)", expected);
}

static void exact_numbers_stand_for_what_was_read(void **state)
{
    ASSERT_ALL(
        {"local n = json.decode '1700000000123456' return n, 'id ' .. n .. '!', n .. n, type(n)",
         "1700000000123456, id 1700000000123456!, 17000000001234561700000000123456, number"},
        {"local n = json.decode '9007199254740993' "
         "return n == json.decode '9007199254740993', n == json.decode '9007199254740992', "
         "n > json.decode '9007199254740992', n == 9007199254740992, n ~= nil, n == 'x'",
         "true, false, true, true, true, false"},
        {"local n = json.decode '2.0' return n == 2, 2 == n, n < 3, 3 > n, n >= 2, n ~= 2",
         "true, true, true, true, true, false"},
        {"local n = json.decode '2.0' return n + 1, 1 - n, n * n, n / 4, 7 % n, n ^ 3, -n",
         "3, -1, 4, 0.5, 1, 8, -2"},
        {"local n = json.decode '2.5e0' return math.floor(n), math.max(1, n, 2), tonumber(n), "
         "math.sqrt(json.decode '4.0'), math.fmod(7, n)",
         "2, 2.5, 2.5, 2, 2"},
        {"local n = json.decode '3.0' return ('%d %s %.2f %5s'):format(n, n, n, n)",
         "3 3.0 3.00   3.0"},
        {"return pcall(function() return json.decode '1.0' + {} end)",
         "false, code:1: attempt to perform arithmetic on a table value"},
        {"return pcall(function() return json.decode '1.0' < 'x' end)",
         "false, code:1: attempt to compare number with string"},
        {"return pcall(function() return json.decode '1.0' .. {} end)",
         "false, code:1: attempt to concatenate a table value"},
        {"return number.exact '12.50' .. '', number.is_exact(number.exact '1.0'), "
         "number.is_exact(1), number.exact '1.5'",
         "12.5, true, false, 1.5"},
        {"return pcall(number.exact, '1,5')",
         "false, number.exact: a JSON number is needed, such as \"12.50\""},
        {"return tonumber('ff', 16), tonumber(' 12 '), tonumber('x'), tonumber(nil)",
         "255, 12, nil, nil"},
        {"local l = json.decode '[10000000000000003, 10000000000000001, 10000000000000002]' "
         "table.sort(l) return json.encode(l)",
         "[10000000000000001,10000000000000002,10000000000000003]"}, );
}

static void json_is_written_with_sorted_keys_and_kept_kinds(void **state)
{
    ASSERT_ALL(
        {"return json.encode { b = 1, a = { 1, 2 }, ['1'] = 'x', c = {}, d = json.array {} }",
         "{\"1\":\"x\",\"a\":[1,2],\"b\":1,\"c\":{},\"d\":[]}"},
        {"return json.encode { a = 1, b = { 1, {} } , c = json.array {} }, json.encode "
         "{a = {1}}, json.encode({ a = { 1, {} } }, { indent = 2 })",
         "{\"a\":1,\"b\":[1,{}],\"c\":[]}, {\"a\":[1]}, "
         "{\n  \"a\": [\n    1,\n    {}\n  ]\n}"},
        {"local l = json.decode '[1]' l[1] = nil return json.encode(l)", "[]"},
        {"return json.encode { 0.1, 1/3, 1e15, 2^53, 1e20, -0, 0.1 + 0.2, 1e-7, 100 }",
         "[0.1,0.3333333333333333,1000000000000000,9007199254740992,1e+20,0,"
         "0.30000000000000004,1e-07,100]"},
        {"return json.null == yaml.null, tostring(json.null), json.null and 'truthy', "
         "json.encode { a = json.null }, json.decode 'null' == json.null",
         "true, null, truthy, {\"a\":null}, true"},
        {"return json.encode(json.decode('{\"a\":null,\"b\":[null],\"c\":{\"d\":null}}', "
         "{ null = 'drop' }))",
         "{\"b\":[null],\"c\":{}}"},
        {"return json.array { 1 }[1], json.encode(json.array())", "1, []"}, );
}

static void what_has_no_json_form_is_named_with_its_path(void **state)
{
    ASSERT_ALL(
        {"return pcall(json.encode, { a = { { b = print } } })",
         "false, json.encode: a[1].b: a function has no form in JSON"},
        {"return pcall(json.encode, { ['x y'] = 0 / 0 })",
         "false, json.encode: [\"x y\"]: nan is a number for which JSON has no form"},
        {"return pcall(json.encode, { 1, 2, [4] = 4 })",
         "false, json.encode: a list has holes: 4 is its largest index, but it has 3 elements"},
        {"return pcall(json.encode, { a = { 1, x = 2 } })",
         "false, json.encode: a: a table mixes list elements and text keys"},
        {"return pcall(json.encode, { [1.5] = 1 })",
         "false, json.encode: a table has a key that is neither text nor a positive integer"},
        {"local a = json.array {} a.x = 1 return pcall(json.encode, a)",
         "false, json.encode: an array has text for a key"},
        {"return pcall(json.encode, { a = 'x\\255' })",
         "false, json.encode: a: text is not UTF-8: byte 0xff at offset 1; base64.encode "
         "carries any bytes"},
        {"return pcall(json.encode, nil)",
         "false, json.encode: nil is no value; null is json.null"},
        {"local t = {} t.t = t return pcall(json.encode, t)",
         "false, json.encode: t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t…: nested deeper than "
         "100000 levels: does a table contain itself?"},
        {"return pcall(json.encode, 1, { ident = 2 })",
         "false, unknown option 'ident'; there is 'indent'"},
        {"return pcall(json.decode, '1', { null = 'x' })",
         "false, json.decode: option 'null' may be \"drop\""},
        {"return pcall(function() return json.null.x end)",
         "false, code:1: attempt to index null (field 'x')"}, );
}

static void yaml_is_read_and_written(void **state)
{
    ASSERT_ALL(
        {"return yaml.encode { a = 'no', b = { 1, {} }, c = 'x\\ny\\n', d = json.null }",
         "a: \"no\"\nb:\n- 1\n- {}\nc: |\n  x\n  y\nd: null\n"},
        {"return json.encode(yaml.decode 'a: 012\\nb: 1.0\\nc: 12345678901234567890\\n')",
         "{\"a\":10,\"b\":1.0,\"c\":12345678901234567890}"},
        {"return yaml.decode '' == json.null, #yaml.decode_all '', yaml.encode_all {}",
         "true, 0, "},
        {"return pcall(yaml.decode, 'a: 1\\n---\\nb: 2\\n')",
         "false, yaml.decode: the text has 2 documents; use yaml.decode_all"},
        {"return pcall(yaml.decode, 'a: [')",
         "false, yaml.decode: line 2 column 1: while parsing a flow node did not find expected "
         "node content"},
        {"return yaml.encode_all { { a = 1 }, json.array { 2 } }", "a: 1\n---\n- 2\n"},
        {"return pcall(yaml.encode, { a = print })",
         "false, yaml.encode: a: a function has no form in JSON"}, );
}

static void csv_is_read_and_written(void **state)
{
    ASSERT_ALL(
        {"return json.encode(csv.decode 'a,b\\r\\n1,\"x,\"\"y\"\"\\n\"\\n')",
         "[[\"a\",\"b\"],[\"1\",\"x,\\\"y\\\"\\n\"]]"},
        {"return json.encode(csv.decode('\\239\\187\\191a;b\\n1;2\\n\\n3;\\n', "
         "{ header = true, separator = ';' }))",
         "[{\"a\":\"1\",\"b\":\"2\"},{\"a\":\"3\",\"b\":\"\"}]"},
        {"return json.encode(csv.decode ''), json.encode(csv.decode('a,b', { header = true }))",
         "[], []"},
        {"return pcall(csv.decode, 'a\\n\"b')",
         "false, csv.decode: line 2: a quoted field is not closed"},
        {"return pcall(csv.decode, 'a\\nb\"c')",
         "false, csv.decode: line 2: a quote inside a field that is not quoted"},
        {"return pcall(csv.decode, '\"a\"b')",
         "false, csv.decode: line 1: text after a closing quote"},
        {"return pcall(csv.decode, 'a,b\\n\"1\\n\",2\\n3', { header = true })",
         "false, csv.decode: line 4: 1 fields, but the header has 2"},
        {"return pcall(csv.decode, 'a,a\\n', { header = true })",
         "false, csv.decode: line 1: the header has 'a' twice"},
        {"return csv.encode { { 1, 'a,b', true }, { json.null, ' x', json.decode '1.0' }, { '' } }",
         "1,\"a,b\",true\n,\" x\",1.0\n\"\"\n"},
        {"return csv.encode({ { a = 1, b = 'x\"y' }, { b = 2 } }, "
         "{ header = { 'a', 'b' }, separator = '\\t', crlf = true })",
         "a\tb\r\n1\t\"x\"\"y\"\r\n\t2\r\n"},
        {"return #csv.decode(csv.encode { { '\\239\\187\\191a' } })[1][1]", "4"},
        {"return pcall(csv.encode, { { {} } })", "false, csv.encode: row 1: a field is a table"},
        {"return pcall(csv.encode, { 1 })", "false, csv.encode: row 1 is a number, not a table"}, );
}

static void regular_expressions_match(void **state)
{
    ASSERT_ALL(
        {"local m = re.match('on 2026-11-24', '(?<year>\\\\d{4})-(\\\\d\\\\d)(x)?') "
         "return m[0], m[1], m[2], m[3], m.year",
         "2026-11, 2026, 11, false, 2026"},
        {"return re.match('abc', 'x'), re.find('hello world', 'o (w)(x?)')", "nil, 5, 7, w, "},
        {"return re.find('\\191\\191a', '.'), re.find('\\195\\169a', '.', 2)", "1, 3, 3"},
        {"return re.find('aXbX', 'X', 3), re.find('abc', 'b', -1), re.find('abc', 'c', -1)",
         "4, nil, 3, 3"},
        {"local t = {} for m in re.gmatch('a1b22', '([a-z])(\\\\d+)') do t[#t + 1] = m[2] .. m[1] "
         "end return table.concat(t, ' ')",
         "1a 22b"},
        {"return re.gsub('k=v', '(?<k>\\\\w)=(\\\\w)', '${2}=${k}$$$0')", "v=k$k=v, 1"},
        {"return re.gsub('abc', '', '-')", "-a-b-c-, 4"},
        {"return re.gsub('aaa', 'a', 'b', 2), re.gsub('é', '.', 'x')", "bba, x, 1"},
        {"return re.gsub('a b c', '\\\\w', { a = 1, b = false }), "
         "re.gsub('ab', '.', function(m) return m[0]:upper() end)",
         "1 b c, AB, 2"},
        {"return json.encode(re.split('a, b,c', ',\\\\s*')), json.encode(re.split('abc', '')), "
         "json.encode(re.split('', ',')), json.encode(re.split('a,b,c', ',', 2))",
         "[\"a\",\"b\",\"c\"], [\"a\",\"b\",\"c\"], [\"\"], [\"a\",\"b,c\"]"},
        {"return re.match('\\255a', 'a')[0], re.match('É', '(?i)é')[0]", "a, É"},
        {"return pcall(re.match, 'x', 'a(b')",
         "false, re.match: the pattern is invalid at offset 3: missing closing parenthesis"},
        {"return pcall(re.gsub, 'x', 'x', '$1')", "false, re.gsub: the pattern has no group '1'"},
        {"return pcall(re.gsub, 'x', 'x', '$')",
         "false, re.gsub: in a replacement, $ is followed by a number, {name} or $"},
        {"return pcall(re.match, ('a'):rep(5000) .. 'b', '^(a|aa)+$')",
         "false, re.match: the pattern tries too many ways to match this text; make it more "
         "specific (nested repetitions, such as (a*)*, are the usual cause)"},
        {"for i = 1, 1000 do re.match('abc', 'a' .. i) end return re.match('abc', 'b')[0]", "b"}, );
}

static void bytes_are_encoded_and_hashed(void **state)
{
    ASSERT_ALL(
        {"return hex.encode '\\0\\255z', hex.decode '00FF7a' == '\\0\\255z'", "00ff7a, true"},
        {"return pcall(hex.decode, '0g')",
         "false, hex.decode: character 2 is no hexadecimal digit"},
        {"return pcall(hex.decode, '0')", "false, hex.decode: an odd number of digits"},
        {"return base64.encode 'hi\?\?>', base64.decode 'aGk/Pz4=', base64.encode ''",
         "aGk/Pz4=, hi\?\?>, "},
        {"return base64.encode_url 'hi\?\?>', base64.decode_url 'aGk_Pz4', "
         "base64.decode_url 'aGk_Pz4='",
         "aGk_Pz4, hi\?\?>, hi\?\?>"},
        {"return pcall(base64.decode, 'a?')", "false, base64.decode: the text is not base64"},
        {"return sha256 'abc'",
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}, );
}

static void moments_are_read_and_written(void **state)
{
    ASSERT_ALL(
        {"return time.parse '2026-11-24T03:08:00Z', time.parse '2026-11-24T03:08:00.25+01:00'",
         "1795489680, 1795486080.25"},
        {"return time.format(1795489680), time.format(-1), time.format(0.9)",
         "2026-11-24T03:08:00Z, 1969-12-31T23:59:59Z, 1970-01-01T00:00:00Z"},
        {"return time.parse('24 Nov 2026 04:08 +0100', '%d %b %Y %H:%M %z'), "
         "time.format(0, '%A %d %B %Y %j%%')",
         "1795489680, Thursday 01 January 1970 001%"},
        {"return time.now, time.clock", "nil, nil"},
        {"return pcall(time.parse, 'yesterday')",
         "false, time.parse: 'yesterday' is not like 2026-11-24T03:08:00Z (RFC 3339)"},
        {"return pcall(time.parse, '31.02.2026', '%d.%m.%Y')",
         "false, time.parse: '31.02.2026' is no date of the calendar"},
        {"return (pcall(time.format, 0, '%s')), (pcall(time.format, 1e18)), "
         "(pcall(time.format, 0 / 0))",
         "false, false, false"}, );
}

static void log_lines_reach_the_host(void **state)
{
    struct fixture *fixture = *state;

    assert_gives(fixture, "print('a', 1, nil, {}) log.error 'b' log.debug() return ''", "");
    assert_string_equal(buffer_string(&fixture->log), "info:a\t1\tnil\ttable;error:b;debug:;");
}

static int find_module(lua_State *lua)
{
    const char *name = luaL_checkstring(lua, 1);

    if (strcmp(name, "broken") == 0)
        return luaL_error(lua, "cannot load broken");
    if (strcmp(name, "circle") == 0) {
        lua_getglobal(lua, "require");
        lua_pushvalue(lua, 1);
        lua_call(lua, 1, 1);
        return 1;
    }
    if (strcmp(name, "mine") != 0)
        return 0;
    lua_newtable(lua);
    return 1;
}

static void require_asks_the_host_once(void **state)
{
    struct fixture *fixture = *state;

    lua_pushcfunction(fixture->lua, find_module);
    libraries_set_require(fixture->lua);
    ASSERT_ALL({"return require 'mine' == require 'mine', type(require 'mine')", "true, table"},
               {"return pcall(require, 'other')", "false, module 'other' not found"},
               {"return pcall(require, 'broken')", "false, cannot load broken"},
               {"return pcall(require, 'circle')", "false, module 'circle' requires itself"}, );
}

static void memory_ends_at_the_limit(void **state)
{
    struct fixture *fixture = *state;
    static const char *const codes[] = {
        "local l = { ('x'):rep(1000) } for i = 1, 40 do l = { l, l } end return json.encode(l)",
        "return re.gsub(('a'):rep(1e6), 'a', ('b'):rep(1e5))",
        "local r, t = { ('x'):rep(1e6) }, {} for i = 1, 1e4 do t[i] = r end return csv.encode(t)",
        "local t = {} for i = 1, 1e9 do t[i] = { i } end",
        "return json.decode(('['):rep(99999) .. ('{\"a\":1},'):rep(2e6))",
    };

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        fixture->heap.exceeded = false;
        assert_gives(fixture, codes[i], "not enough memory");
        assert_true(fixture->heap.exceeded);
        lua_gc(fixture->lua, LUA_GCCOLLECT, 0);
    }
}

static void a_state_needs_room_to_begin(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < 200000; limit += 19997) {
        struct heap heap = {.limit = limit};
        lua_State *lua = state_new(&heap, true);

        if (lua)
            lua_close(lua);
        else
            assert_true(heap.exceeded);
        assert_int_equal(heap.used, 0);
    }
}

static void decimals_compare_by_value(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {
        {"1", "1.0", 0},
        {"10", "1e1", 0},
        {"0.001", "1e-3", 0},
        {"-1", "1", -1},
        {"-2", "-1", -1},
        {"0", "-0.0", 0},
        {"0", "-1", 1},
        {"1.5", "1.50001", -1},
        {"100", "99.9", 1},
        {"1e99999999999999999999", "1e5", 1},
        {"9007199254740993", "9007199254740992", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *a = cases[i].a, *b = cases[i].b;

        assert_int_equal(decimal_compare(a, strlen(a), b, strlen(b)), cases[i].order);
        assert_int_equal(decimal_compare(b, strlen(b), a, strlen(a)), -cases[i].order);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_allowed_names_exist, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_shows_an_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_states_draw_the_same_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exact_numbers_stand_for_what_was_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(json_is_written_with_sorted_keys_and_kept_kinds, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_has_no_json_form_is_named_with_its_path, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(yaml_is_read_and_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(csv_is_read_and_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(regular_expressions_match, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_are_encoded_and_hashed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(moments_are_read_and_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(log_lines_reach_the_host, set_up, tear_down),
        cmocka_unit_test_setup_teardown(require_asks_the_host_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_ends_at_the_limit, set_up, tear_down),
        cmocka_unit_test(a_state_needs_room_to_begin),
        cmocka_unit_test(decimals_compare_by_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
