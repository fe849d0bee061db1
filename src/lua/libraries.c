/*
 * The sandbox: a new global environment into which allowed names are copied, one by one, out of
 * Lua's own libraries. Its one idea: what is not on a list here does not exist for people's code.
 */
#include "lua/libraries.h"

#include <lualib.h>
#include <stdint.h>
#include <string.h>

#include "lua/heap.h"
#include "lua/lib.h"

#define LOADED "sluice.loaded"   /* registry: what `require` has found, by name */
#define REQUIRE "sluice.require" /* registry: the host's function(name) */

struct allowed {
    const char *library; /* NULL for the globals themselves */
    lua_CFunction open;
    const char *const *names;
};

static const char *const base_names[] = {
    "assert",   "error",        "ipairs",       "next",   "pairs",    "pcall",
    "rawequal", "rawget",       "rawset",       "select", "tonumber", "type",
    "unpack",   "getmetatable", "setmetatable", "xpcall", NULL};
static const char *const string_names[] = {"byte",    "char", "find",  "format", "gmatch",
                                           "gsub",    "len",  "lower", "match",  "rep",
                                           "reverse", "sub",  "upper", NULL};
static const char *const table_names[] = {"concat", "insert", "maxn", "move",
                                          "remove", "sort",   NULL};
static const char *const math_names[] = {
    "abs",        "acos", "asin",  "atan", "atan2", "ceil", "cos",   "cosh",
    "deg",        "exp",  "floor", "fmod", "frexp", "huge", "ldexp", "log",
    "log10",      "max",  "min",   "modf", "pi",    "pow",  "rad",   "random",
    "randomseed", "sin",  "sinh",  "sqrt", "tan",   "tanh", NULL};
static const char *const bit_names[] = {"arshift", "band",   "bnot", "bor", "bswap",
                                        "bxor",    "lshift", "rol",  "ror", "rshift",
                                        "tobit",   "tohex",  NULL};
static const char *const coroutine_names[] = {"create", "isyieldable", "resume", "running",
                                              "status", "wrap",        "yield",  NULL};

static const struct allowed allowed[] = {
    {NULL, luaopen_base, base_names},         {"coroutine", NULL, coroutine_names},
    {"string", luaopen_string, string_names}, {"table", luaopen_table, table_names},
    {"math", luaopen_math, math_names},       {"bit", luaopen_bit, bit_names},
};

static const struct {
    const char *name;
    void (*open)(lua_State *lua);
} libraries[] = {
    {"number", lib_number_open}, {"json", lib_json_open},     {"yaml", lib_yaml_open},
    {"csv", lib_csv_open},       {"base64", lib_base64_open}, {"hex", lib_hex_open},
    {"sha256", lib_sha256_open}, {"time", lib_time_open},     {"re", lib_re_open},
    {"log", lib_log_open},
};

int lib_raise_memory(lua_State *lua)
{
    struct heap *heap = heap_of(lua);

    if (heap)
        heap->exceeded = true;
    lua_pushliteral(lua, "not enough memory");
    return lua_error(lua);
}

int lib_raise(lua_State *lua, const char *function, struct error *error)
{
    if (strcmp(error->reason, "OutOfMemory") == 0) {
        error_free(error);
        return lib_raise_memory(lua);
    }
    luaL_where(lua, 1);
    lua_pushfstring(lua, "%s: %s", function, error->message);
    error_free(error);
    lua_concat(lua, 2);
    return lua_error(lua);
}

void lib_check_options(lua_State *lua, int argument, const char *const *names)
{
    if (lua_isnoneornil(lua, argument))
        return;
    luaL_checktype(lua, argument, LUA_TTABLE);
    for (lua_pushnil(lua); lua_next(lua, argument); lua_pop(lua, 1)) {
        const char *name = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "?";
        size_t i = 0;

        while (names[i] && strcmp(name, names[i]) != 0)
            i++;
        if (names[i])
            continue;
        for (i = 0; names[i]; i++)
            lua_pushfstring(lua, "%s'%s'", i > 0 ? ", " : "", names[i]);
        lua_concat(lua, (int)i);
        luaL_error(lua, "unknown option '%s'; there is %s", name, lua_tostring(lua, -1));
    }
}

void lib_new(lua_State *lua, const luaL_Reg *functions)
{
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
}

size_t lib_bytes_max(lua_State *lua)
{
    const struct heap *heap = heap_of(lua);

    return heap ? heap->limit : SIZE_MAX;
}

const char *libraries_tostring(lua_State *lua, int index, size_t *length)
{
    const char *text = lib_exact_text(lua, index, length);

    if (text) {
        lua_pushlstring(lua, text, strlen(text));
    } else if (luaL_callmeta(lua, index, "__tostring")) {
        if (!lua_isstring(lua, -1))
            luaL_error(lua, "'__tostring' must return a string");
    } else {
        switch (lua_type(lua, index)) {
        case LUA_TSTRING:
        case LUA_TNUMBER: /* a copy, for lua_tolstring changes what it converts */
            lua_pushvalue(lua, index);
            break;
        case LUA_TBOOLEAN:
            lua_pushstring(lua, lua_toboolean(lua, index) ? "true" : "false");
            break;
        default: /* Lua would print an address */
            lua_pushstring(lua, luaL_typename(lua, index));
        }
    }
    return lua_tolstring(lua, -1, length);
}

static int base_tostring(lua_State *lua)
{
    luaL_checkany(lua, 1);
    libraries_tostring(lua, 1, NULL);
    return 1;
}

/* Makes the argument at `index` of string.format fit for its conversion. */
static void prepare_argument(lua_State *lua, int index, char conversion)
{
    size_t length;
    const char *text = lib_exact_text(lua, index, &length);

    if (conversion == 'p') {
        luaL_where(lua, 2); /* level 1 is the wrapper */
        lua_pushliteral(lua, "string.format: %p is not available: addresses differ in each run");
        lua_concat(lua, 2);
        lua_error(lua);
    }
    if (conversion == 's') {
        libraries_tostring(lua, index, NULL);
    } else if (text) {
        lua_pushlstring(lua, text, length);
        lua_pushnumber(lua, lua_tonumber(lua, -1));
        lua_remove(lua, -2);
    } else {
        return;
    }
    lua_replace(lua, index);
}

/* The arguments of string.format, with texts for %s that hold no addresses, and doubles for exact
 * numbers. */
static int prepare_format(lua_State *lua)
{
    int count = lua_gettop(lua);
    const char *format = lua_type(lua, 1) == LUA_TSTRING ? lua_tostring(lua, 1) : "";

    for (int index = 2; *format != '\0'; format++) {
        if (*format != '%' || *++format == '%')
            continue;
        format += strspn(format, "-+ #0123456789.");
        if (*format == '\0')
            break;
        if (index <= count)
            prepare_argument(lua, index++, *format);
    }
    return count;
}

/* A Lua function, so that errors of the real string.format name the caller's line. */
static void wrap_format(lua_State *lua)
{
    static const char text[] = "local format, prepare = ...\n"
                               "return function(...) return format(prepare(...)) end\n";

    if (luaL_loadbuffer(lua, text, sizeof text - 1, "=string") != 0)
        lua_error(lua);
    lua_getfield(lua, -2, "format");
    lua_pushcfunction(lua, prepare_format);
    lua_call(lua, 2, 1);
    lua_setfield(lua, -2, "format");
}

/* require(name) */
static int base_require(lua_State *lua)
{
    const char *name = luaL_checkstring(lua, 1);

    lua_settop(lua, 1);
    lua_getfield(lua, LUA_REGISTRYINDEX, LOADED);
    lua_getfield(lua, 2, name);
    if (lua_islightuserdata(lua, 3))
        return luaL_error(lua, "module '%s' requires itself", name);
    if (!lua_isnil(lua, 3))
        return 1;
    lua_getfield(lua, LUA_REGISTRYINDEX, REQUIRE);
    if (lua_isnil(lua, 4))
        return luaL_error(lua, "module '%s' not found", name);
    lua_pushlightuserdata(lua, NULL);
    lua_setfield(lua, 2, name);
    lua_pushvalue(lua, 1);
    if (lua_pcall(lua, 1, 1, 0) != 0) {
        lua_pushnil(lua);
        lua_setfield(lua, 2, name);
        return lua_error(lua);
    }
    lua_pushvalue(lua, -1);
    lua_setfield(lua, 2, name);
    if (lua_isnil(lua, -1))
        return luaL_error(lua, "module '%s' not found", name);
    return 1;
}

void libraries_set_require(lua_State *lua)
{
    lua_setfield(lua, LUA_REGISTRYINDEX, REQUIRE);
}

static void open_own(lua_State *lua, lua_CFunction open)
{
    if (!open)
        return;
    lua_pushcfunction(lua, open);
    lua_call(lua, 0, 0);
}

/* Copies names from the table at the top of the stack to the one at `target`. What this LuaJIT does
 * not have is left out. */
static void copy_names(lua_State *lua, int target, const char *const *names)
{
    for (; *names; names++) {
        lua_getfield(lua, -1, *names);
        lua_setfield(lua, target, *names);
    }
}

/* Opens Lua's own libraries in the state's globals, and copies what is allowed to the table at
 * `target`. */
static void copy_allowed(lua_State *lua, int target)
{
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        const struct allowed *one = &allowed[i];

        open_own(lua, one->open);
        if (!one->library) {
            lua_pushvalue(lua, LUA_GLOBALSINDEX);
            copy_names(lua, target, one->names);
        } else {
            lua_newtable(lua);
            lua_getglobal(lua, one->library);
            copy_names(lua, lua_gettop(lua) - 1, one->names);
            lua_pop(lua, 1);
            lua_setfield(lua, target, one->library);
            lua_pushnil(lua);
        }
        lua_pop(lua, 1);
    }
    open_own(lua, luaopen_jit); /* switches the compiler on; the library itself stays behind */
}

/* Methods of strings come from the new string table, and their metatable is out of reach. */
static void seal_strings(lua_State *lua)
{
    lua_getglobal(lua, "string");
    wrap_format(lua);
    lua_pushliteral(lua, "");
    lua_getmetatable(lua, -1);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pop(lua, 3);
}

/* Every global library can be required by its name. */
static void remember_loaded(lua_State *lua)
{
    lua_newtable(lua);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        libraries[i].open(lua);
        lua_pushvalue(lua, -1);
        lua_setglobal(lua, libraries[i].name);
        lua_setfield(lua, -2, libraries[i].name);
    }
    for (size_t i = 1; i < sizeof allowed / sizeof *allowed; i++) {
        lua_getglobal(lua, allowed[i].library);
        lua_setfield(lua, -2, allowed[i].library);
    }
    lua_setfield(lua, LUA_REGISTRYINDEX, LOADED);
}

void libraries_open(lua_State *lua)
{
    luaL_checkstack(lua, LUA_MINSTACK, "libraries");
    lua_newtable(lua);
    copy_allowed(lua, lua_gettop(lua));
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -2, "_G");
    lua_replace(lua, LUA_GLOBALSINDEX);
    seal_strings(lua);
    remember_loaded(lua);
    lua_pushcfunction(lua, base_tostring);
    lua_setglobal(lua, "tostring");
    lua_pushcfunction(lua, base_require);
    lua_setglobal(lua, "require");
    lua_getglobal(lua, "log");
    lua_getfield(lua, -1, "info");
    lua_setglobal(lua, "print");
    lua_pop(lua, 1);
}
