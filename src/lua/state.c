/* See state.h. Everything that may run out of memory runs protected, so that nothing can panic. */
#include "lua/state.h"

#include <lua.h>
#include <luajit.h>

#include "lua/libraries.h"

/* A collection begins when the heap has grown to this many percent of what the last one left. Lua's
 * 200 would fail a state at its limit although half of the heap is garbage: LuaJIT does not collect
 * when memory runs out. */
#define COLLECT_PERCENT 150

static int open_protected(lua_State *lua)
{
    const bool *jit = lua_touserdata(lua, 1);

    libraries_open(lua);
    luaJIT_setmode(lua, 0, LUAJIT_MODE_ENGINE | (*jit ? LUAJIT_MODE_ON : LUAJIT_MODE_OFF));
    lua_gc(lua, LUA_GCSETPAUSE, COLLECT_PERCENT);
    return 0;
}

struct lua_State *state_new(struct heap *heap, bool jit)
{
    lua_State *lua = lua_newstate(heap_allocate, heap);

    if (!lua)
        return NULL;
    if (lua_cpcall(lua, open_protected, &jit) != 0) {
        lua_close(lua);
        return NULL;
    }
    return lua;
}
