/* log.debug, log.info and log.error, and print, which is log.info. */
#include "lua/lib.h"
#include "lua/libraries.h"

#define SINK "sluice.log.sink"
#define CONTEXT "sluice.log.context"

void libraries_set_log(lua_State *lua, libraries_log sink, void *context)
{
    libraries_log *kept;

    lua_getfield(lua, LUA_REGISTRYINDEX, SINK);
    kept = lua_touserdata(lua, -1);
    kept[0] = sink;
    lua_getfield(lua, LUA_REGISTRYINDEX, CONTEXT);
    *(void **)lua_touserdata(lua, -1) = context;
    lua_pop(lua, 2);
}

/* The arguments as text with tabs between them, on the stack. */
static void join(lua_State *lua)
{
    int count = lua_gettop(lua);
    luaL_Buffer text;

    luaL_buffinit(lua, &text);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&text, '\t');
        libraries_tostring(lua, i, NULL);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
}

static int say(lua_State *lua, const char *level)
{
    libraries_log *sink;
    void **context;
    const char *text;
    size_t length;

    join(lua);
    text = lua_tolstring(lua, -1, &length);
    lua_getfield(lua, LUA_REGISTRYINDEX, SINK);
    lua_getfield(lua, LUA_REGISTRYINDEX, CONTEXT);
    sink = lua_touserdata(lua, -2);
    context = lua_touserdata(lua, -1);
    if (*sink)
        (*sink)(*context, level, text, length);
    return 0;
}

static int log_debug(lua_State *lua)
{
    return say(lua, "debug");
}

static int log_info(lua_State *lua)
{
    return say(lua, "info");
}

static int log_error(lua_State *lua)
{
    return say(lua, "error");
}

void lib_log_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"debug", log_debug}, {"info", log_info}, {"error", log_error}, {NULL, NULL}};

    *(libraries_log *)lua_newuserdata(lua, sizeof(libraries_log)) = NULL;
    lua_setfield(lua, LUA_REGISTRYINDEX, SINK);
    *(void **)lua_newuserdata(lua, sizeof(void *)) = NULL;
    lua_setfield(lua, LUA_REGISTRYINDEX, CONTEXT);
    lib_new(lua, functions);
}
