/*
 * Fuzz targets in Lua: each input is the argument of a check, written in Lua, that runs in the very
 * state that people's code gets and raises an error where a promise is broken.
 */
#ifndef SLUICE_TEST_FUZZ_LUA_H
#define SLUICE_TEST_FUZZ_LUA_H

#include <lauxlib.h>
#include <lua.h>

#include "fuzz.h"
#include "lua/libraries.h"
#include "lua/state.h"

#define FUZZ_HEAP ((size_t)64 << 20)

/* Raises nothing; for errors that checks let pass, but not in what they say. */
#define FUZZ_LUA_BEGIN                                                 \
    "local function try(f, ...)\n"                                     \
    "  local ok, value = pcall(f, ...)\n"                              \
    "  if ok then return value end\n"                                  \
    "  json.encode(tostring(value))\n" /* refuses what is not UTF-8 */ \
    "end\n"                                                            \
    "local text = ...\n"

/* One state for all inputs, for making it takes longer than most checks. */
struct fuzz_state {
    struct heap heap;
    lua_State *lua;
};

/* Runs the check over the bytes; aborts where it raises. Out of memory is no broken promise. */
static inline void fuzz_lua(struct fuzz_state *state, const char *check, const uint8_t *data,
                            size_t size)
{
    if (!state->lua) {
        state->heap.limit = FUZZ_HEAP;
        state->lua = state_new(&state->heap, false);
        CHECK(state->lua && luaL_loadbuffer(state->lua, check, strlen(check), "=check") == 0);
    }
    state->heap.exceeded = false;
    lua_pushvalue(state->lua, 1);
    lua_pushlstring(state->lua, (const char *)data, size);
    if (lua_pcall(state->lua, 1, 0, 0) != 0 && !state->heap.exceeded) {
        fprintf(stderr, "%s\n", libraries_tostring(state->lua, -1, NULL));
        abort();
    }
    lua_settop(state->lua, 1);
}

#endif
