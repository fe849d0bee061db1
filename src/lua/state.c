/* See state.h. Everything that may run out of memory runs protected, so that nothing can panic. */
#include "lua/state.h"

#include <lua.h>
#include <luajit.h>
#include <stdint.h>

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

static lua_State *open_state(struct heap *heap, bool jit)
{
    lua_State *lua = lua_newstate(heap_allocate, heap);

    if (lua && lua_cpcall(lua, open_protected, &jit) != 0) {
        lua_close(lua);
        return NULL;
    }
    return lua;
}

/* The limit counts afterwards, for LuaJIT can crash or leak when it is refused memory in the midst
 * of making a state (seen); what a new state takes, 64 KB, is known. */
struct lua_State *state_new(struct heap *heap, bool jit)
{
    size_t limit = heap->limit;
    lua_State *lua;

    heap->limit = SIZE_MAX;
    lua = open_state(heap, jit);
    heap->limit = limit;
    if (lua && heap->used > limit) {
        heap->exceeded = true;
        lua_close(lua);
        return NULL;
    }
    return lua;
}
