/* The Lua state of transforms: warm in the zygote, bounded and told of its run in the child. */
#ifndef SLUICE_LUA_SCRIPT_STATE_H
#define SLUICE_LUA_SCRIPT_STATE_H

#include <lua.h>

#include "lua/script.h"

lua_State *script_state_lua(const struct script_state *state);

/* In the child: the run's heap limit, log lines and modules count from here on. `run` must stay. */
void script_state_begin(struct script_state *state, const struct script_run *run);

#endif
