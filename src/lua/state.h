/* Making the Lua states in which people's code runs. */
#ifndef SLUICE_LUA_STATE_H
#define SLUICE_LUA_STATE_H

#include <stdbool.h>

#include "lua/heap.h"

struct lua_State;

/* A state with the sandbox of libraries_open, whose memory is `heap`'s (which must outlive it).
 * NULL if there is not enough. End it with lua_close. */
struct lua_State *state_new(struct heap *heap, bool jit);

#endif
