/*
 * Exact numbers: what a double would change, carried as it was read.
 *
 * Lua 5.1 calls __eq and __lt only for two values of one type, so a userdata could not be compared
 * with a plain number. LuaJIT does call them for its C data, whatever the other operand is; an
 * exact number is therefore an empty C struct, and its text stands in a weak table under it.
 * Nothing else of the FFI can be reached from Lua code: the library stays in the registry, and
 * the struct has nothing to read or write.
 *
 * Such a number prints, concatenates and encodes as it was read. Arithmetic, and comparison with a
 * plain number, use its nearest double; two exact numbers compare exactly. As a key of a table it
 * stands for itself alone: use tostring(n).
 */
#include "lua/lib.h"

#include <lualib.h>

#include "base/json_text.h"
#include "lua/decimal.h"

#define TEXTS "sluice.number.texts" /* registry: weak table, exact number -> text */
#define NEW "sluice.number.new"     /* registry: function() -> exact number without text */
#define FFI "sluice.number.ffi"     /* registry: the library, out of reach of Lua code */
#define LUA_TCDATA 10

/* In Lua, so that the JIT compiler can look through it. It gets ffi, the texts and compare; it
 * returns the constructor, and what the sandbox puts in place of Lua's own. */
static const char prelude[] =
    "local ffi, texts, compare, math = ...\n"
    "local tonumber, type, error, max, min = tonumber, type, error, math.max, math.min\n"
    "local function operand(v)\n"
    "  local n = tonumber(texts[v] or v)\n"
    "  if not n then error('attempt to perform arithmetic on a ' .. type(v) .. ' value', 3) end\n"
    "  return n\n"
    "end\n"
    "local function order(a, b)\n"
    "  local x, y = texts[a], texts[b]\n"
    "  if x and y then return compare(x, y) end\n"
    "  if not x and type(a) ~= 'number' or not y and type(b) ~= 'number' then\n"
    "    error('attempt to compare number with ' .. type(x and b or a), 3)\n"
    "  end\n"
    "  x, y = tonumber(x or a), tonumber(y or b)\n"
    "  return x < y and -1 or x == y and 0 or 1\n"
    "end\n"
    "local function text(v)\n"
    "  local t = texts[v] or v\n"
    "  if type(t) ~= 'string' and type(t) ~= 'number' then\n"
    "    error('attempt to concatenate a ' .. type(v) .. ' value', 3)\n"
    "  end\n"
    "  return t\n"
    "end\n"
    "ffi.cdef 'struct exact_number {};'\n"
    "local new = ffi.metatype('struct exact_number', {\n"
    "  __add = function(a, b) return operand(a) + operand(b) end,\n"
    "  __sub = function(a, b) return operand(a) - operand(b) end,\n"
    "  __mul = function(a, b) return operand(a) * operand(b) end,\n"
    "  __div = function(a, b) return operand(a) / operand(b) end,\n"
    "  __mod = function(a, b) return operand(a) % operand(b) end,\n"
    "  __pow = function(a, b) return operand(a) ^ operand(b) end,\n"
    "  __unm = function(a) return -operand(a) end,\n"
    "  __eq = function(a, b)\n"
    "    local x, y = texts[a], texts[b]\n"
    "    if x and y then return compare(x, y) == 0 end\n"
    "    return x and type(b) == 'number' and tonumber(x) == b\n"
    "      or y and type(a) == 'number' and tonumber(y) == a or false\n"
    "  end,\n"
    "  __lt = function(a, b) local o = order(a, b) return o < 0 end,\n"
    "  __le = function(a, b) local o = order(a, b) return o <= 0 end,\n"
    "  __concat = function(a, b) return text(a) .. text(b) end,\n"
    "  __tostring = function(a) return texts[a] end,\n"
    "})\n"
    "local function plain(v)\n"
    "  if type(v) == 'cdata' then return tonumber(texts[v]) end\n"
    "  return v\n"
    "end\n"
    "local names = { 'abs', 'acos', 'asin', 'atan', 'ceil', 'cos', 'cosh', 'deg', 'exp', 'floor',\n"
    "  'frexp', 'log10', 'modf', 'rad', 'sin', 'sinh', 'sqrt', 'tan', 'tanh' }\n"
    "for i = 1, #names do\n"
    "  local f = math[names[i]]\n"
    "  math[names[i]] = function(v) return f(plain(v)) end\n"
    "end\n"
    "for _, name in ipairs { 'atan2', 'fmod', 'ldexp', 'pow' } do\n"
    "  local f = math[name]\n"
    "  math[name] = function(a, b) return f(plain(a), plain(b)) end\n"
    "end\n"
    "local function fold(f)\n"
    "  local function folded(a, b, ...)\n"
    "    if b == nil then return f(plain(a)) end\n"
    "    if ... == nil then return f(plain(a), plain(b)) end\n"
    "    return folded(f(plain(a), plain(b)), ...)\n"
    "  end\n"
    "  return folded\n"
    "end\n"
    "math.max, math.min = fold(max), fold(min)\n"
    "local log = math.log\n"
    "function math.log(v, base)\n"
    "  if base == nil then return log(plain(v)) end\n"
    "  return log(plain(v), plain(base))\n"
    "end\n"
    "return new, function(v)\n"
    "  local t = type(v)\n"
    "  if t == 'cdata' then return 'number' end\n"
    "  return t\n"
    "end, function(v, base)\n"
    "  if base ~= nil then return tonumber(v, base) end\n"
    "  return tonumber(plain(v))\n"
    "end\n";

/* compare(text, text) -> -1, 0 or 1 */
static int compare_texts(lua_State *lua)
{
    size_t a_length, b_length;
    const char *a = luaL_checklstring(lua, 1, &a_length);
    const char *b = luaL_checklstring(lua, 2, &b_length);

    lua_pushinteger(lua, decimal_compare(a, a_length, b, b_length));
    return 1;
}

const char *lib_exact_text(lua_State *lua, int index, size_t *length)
{
    const char *text;

    if (lua_type(lua, index) != LUA_TCDATA)
        return NULL;
    lua_pushvalue(lua, index);
    lua_getfield(lua, LUA_REGISTRYINDEX, TEXTS);
    lua_insert(lua, -2);
    lua_rawget(lua, -2);
    text = lua_tolstring(lua, -1, length);
    lua_pop(lua, 2);
    return text;
}

static void push_exact(lua_State *lua, const char *text, size_t length)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, TEXTS);
    lua_getfield(lua, LUA_REGISTRYINDEX, NEW);
    lua_call(lua, 0, 1);
    lua_pushvalue(lua, -1);
    lua_pushlstring(lua, text, length);
    lua_rawset(lua, -4);
    lua_remove(lua, -2);
}

void lib_push_number(lua_State *lua, const char *text, size_t length)
{
    double value;

    if (decimal_is_plain(text, length, &value))
        lua_pushnumber(lua, value);
    else
        push_exact(lua, text, length);
}

size_t lib_format_number(double value, char text[LIB_NUMBER_SIZE])
{
    return decimal_format(value, text);
}

/* Whether the text is one JSON number and nothing else. */
static bool is_number(const char *text, size_t length)
{
    _cleanup_(json_reader) struct json_reader reader = JSON_READER_INIT(text, length, 0);
    enum json_event event;
    struct error *error = json_reader_next(&reader, &event);
    bool whole = !error && event == JSON_EVENT_NUMBER && reader.value_length == length;

    error_free(error);
    return whole;
}

/* number.exact(text) */
static int number_exact(lua_State *lua)
{
    size_t length;
    const char *text = luaL_checklstring(lua, 1, &length);

    if (!is_number(text, length))
        return luaL_error(lua, "number.exact: a JSON number is needed, such as \"12.50\"");
    lib_push_number(lua, text, length);
    return 1;
}

/* number.is_exact(value) */
static int number_is_exact(lua_State *lua)
{
    lua_pushboolean(lua, lib_exact_text(lua, 1, NULL) != NULL);
    return 1;
}

static void new_texts(lua_State *lua)
{
    lua_newtable(lua);
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "k");
    lua_setfield(lua, -2, "__mode");
    lua_setmetatable(lua, -2);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, LUA_REGISTRYINDEX, TEXTS);
}

/* Opens the FFI, and lets the prelude take from it what it needs. Replaces the globals
 * type and tonumber and the functions of math. */
void lib_number_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"exact", number_exact}, {"is_exact", number_is_exact}, {NULL, NULL}};

    if (luaL_loadbuffer(lua, prelude, sizeof prelude - 1, "=number") != 0)
        lua_error(lua);
    lua_pushcfunction(lua, luaopen_ffi);
    lua_call(lua, 0, 1);
    lua_pushvalue(lua, -1); /* LuaJIT uses tables of the library that nothing else keeps alive */
    lua_setfield(lua, LUA_REGISTRYINDEX, FFI);
    new_texts(lua);
    lua_pushcfunction(lua, compare_texts);
    lua_getglobal(lua, "math");
    lua_call(lua, 4, 3);
    lua_setglobal(lua, "tonumber");
    lua_setglobal(lua, "type");
    lua_setfield(lua, LUA_REGISTRYINDEX, NEW);
    lib_new(lua, functions);
}
