/*
 * json: the library's functions, null and arrays. The decoder and the encoder have files of their
 * own.
 *
 * null is one userdata, truthy, shown as "null". An array is a table with a metatable that only
 * marks it, so that an empty list stays a list; a table without it is an array if it has the keys 1
 * to n, and an object if it is empty or has text for keys.
 */
#include "lua/lib_json.h"

#include <string.h>

#include "lua/libraries.h"

#define NULL_VALUE "sluice.json.null"
#define ARRAY_MARK "sluice.json.array"

void lib_push_null(lua_State *lua)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, NULL_VALUE);
}

bool lib_is_null(lua_State *lua, int index)
{
    bool is;

    if (lua_type(lua, index) != LUA_TUSERDATA)
        return false;
    lua_pushvalue(lua, index);
    lib_push_null(lua);
    is = lua_rawequal(lua, -1, -2) != 0;
    lua_pop(lua, 2);
    return is;
}

void lib_mark_array(lua_State *lua)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, ARRAY_MARK);
    lua_setmetatable(lua, -2);
}

bool lib_is_array(lua_State *lua, int index)
{
    bool is;

    if (!lua_getmetatable(lua, index))
        return false;
    lua_getfield(lua, LUA_REGISTRYINDEX, ARRAY_MARK);
    is = lua_rawequal(lua, -1, -2) != 0;
    lua_pop(lua, 2);
    return is;
}

static int null_tostring(lua_State *lua)
{
    lua_pushliteral(lua, "null");
    return 1;
}

static int null_index(lua_State *lua)
{
    const char *key = libraries_tostring(lua, 2, NULL);

    return luaL_error(lua, "attempt to index null (field '%s')", key);
}

/* json.decode(text [, {null = "drop"}]) */
static int json_decode(lua_State *lua)
{
    static const char *const options[] = {"null", NULL};
    size_t length;
    const char *text = luaL_checklstring(lua, 1, &length);
    struct error *error;
    bool drop = false;

    lib_check_options(lua, 2, options);
    if (lua_istable(lua, 2)) {
        lua_getfield(lua, 2, "null");
        drop = !lua_isnil(lua, -1);
        if (drop &&
            (lua_type(lua, -1) != LUA_TSTRING || strcmp(lua_tostring(lua, -1), "drop") != 0))
            return luaL_error(lua, "json.decode: option 'null' may be \"drop\"");
    }
    error = lib_json_decode(lua, text, length, drop);
    return error ? lib_raise(lua, "json.decode", error) : 1;
}

/* json.encode(value [, {indent = spaces}]) */
static int json_encode(lua_State *lua)
{
    static const char *const options[] = {"indent", NULL};
    _cleanup_(buffer) struct buffer out = BUFFER_INIT;
    struct error *error;
    int indent = 0;

    luaL_checkany(lua, 1);
    lib_check_options(lua, 2, options);
    if (lua_istable(lua, 2)) {
        lua_getfield(lua, 2, "indent");
        indent = (int)luaL_optinteger(lua, -1, 0);
        luaL_argcheck(lua, indent >= 0 && indent <= 16, 2, "indent must be from 0 to 16");
    }
    error = lib_json_encode(lua, 1, &out, (unsigned)indent);
    if (error)
        return lib_raise(lua, "json.encode", error);
    lua_pushlstring(lua, buffer_string(&out), out.length);
    return 1;
}

/* json.array([table]): marks the table, or a new one */
static int json_array(lua_State *lua)
{
    if (lua_isnoneornil(lua, 1)) {
        lua_settop(lua, 0);
        lua_newtable(lua);
    }
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 1);
    if (lua_getmetatable(lua, 1)) {
        lua_pop(lua, 1);
        if (!lib_is_array(lua, 1))
            return luaL_error(lua, "json.array: the table has a metatable already");
        return 1;
    }
    lib_mark_array(lua);
    return 1;
}

static void make_null(lua_State *lua)
{
    static const luaL_Reg metamethods[] = {
        {"__tostring", null_tostring}, {"__index", null_index}, {NULL, NULL}};

    lua_newuserdata(lua, 0);
    lib_new(lua, metamethods);
    lua_pushliteral(lua, "null");
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_setfield(lua, LUA_REGISTRYINDEX, NULL_VALUE);
}

static void make_array_mark(lua_State *lua)
{
    lua_newtable(lua);
    lua_pushliteral(lua, "array");
    lua_setfield(lua, -2, "__metatable");
    lua_setfield(lua, LUA_REGISTRYINDEX, ARRAY_MARK);
}

void lib_json_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"decode", json_decode}, {"encode", json_encode}, {"array", json_array}, {NULL, NULL}};

    make_null(lua);
    make_array_mark(lua);
    lib_new(lua, functions);
    lib_push_null(lua);
    lua_setfield(lua, -2, "null");
}

struct error *lua_json_decode(lua_State *lua, const char *text, size_t length)
{
    return lib_json_decode(lua, text, length, false);
}

struct error *lua_json_encode(lua_State *lua, int index, struct buffer *out)
{
    return lib_json_encode(lua, index, out, 0);
}
