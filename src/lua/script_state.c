/*
 * The warm state: made without a limit in the zygote, where only our own text runs; the child sets
 * the run's limit, its log and what `require` finds before the first line of a user's.
 */
#include "lua/script_state.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <unistd.h>

#include "lua/heap.h"
#include "lua/libraries.h"
#include "lua/state.h"
#include "lua/text.h"

#define SCHEMA "sluice.schema" /* registry: the module, which is a global too */

struct script_state {
    struct heap heap;
    lua_State *lua;
    const struct script_run *run; /* NULL in the zygote */
};

/* Memory that runs out where no protected call is: there is nothing to go back to. */
static int on_panic(lua_State *lua)
{
    (void)lua;
    _exit(RUN_OUT_OF_MEMORY);
}

/* The schema library is Lua that ships; what needs the core is for generators alone. */
static int open_schema(lua_State *lua)
{
    const struct lua_module *module = lua_touserdata(lua, 1);

    if (luaL_loadbufferx(lua, module->text, module->length, "=schema", "t") != 0)
        return lua_error(lua);
    lua_call(lua, 0, 1);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, LUA_REGISTRYINDEX, SCHEMA);
    lua_setglobal(lua, "schema");
    return 0;
}

static bool load_schema(lua_State *lua)
{
    _cleanup_(lua_modules) struct lua_module_set *shipped = NULL;
    _cleanup_(error) struct error *error = lua_modules_shipped(&shipped);
    const struct lua_module *module =
        error ? NULL : lua_modules_find(shipped, LUA_RUNTIME, "schema");

    return module && lua_cpcall(lua, open_schema, (void *)module) == 0;
}

struct script_state *script_state_new(void)
{
    struct script_state *state = calloc(1, sizeof(*state));

    if (!state)
        return NULL;
    state->heap.limit = SIZE_MAX;
    state->lua = state_new(&state->heap, true);
    if (!state->lua || !load_schema(state->lua)) {
        if (state->lua)
            lua_close(state->lua);
        free(state);
        return NULL;
    }
    lua_atpanic(state->lua, on_panic);
    return state;
}

lua_State *script_state_lua(const struct script_state *state)
{
    return state->lua;
}

/* A line into the ring that outlives this process. */
static void on_log(void *context, const char *level, const char *text, size_t length)
{
    struct run_logs *logs = ((const struct script_state *)context)->run->logs;
    struct run_log_line *line = &logs->lines[logs->count % RUN_LOGS_MAX];
    _cleanup_(buffer) struct buffer clean = BUFFER_INIT;

    buffer_appendf(&clean, "%s: ", level);
    text_clean(&clean, text, length, RUN_LOG_LENGTH - clean.length);
    if (clean.failed || clean.length > RUN_LOG_LENGTH)
        return;
    line->length = (uint32_t)clean.length;
    memcpy(line->text, clean.bytes, clean.length);
    logs->count++;
}

/* What `require` asks for a name that is no library of ours: the platform's library modules. */
static int find_library(lua_State *lua)
{
    const struct script_state *state = lua_touserdata(lua, lua_upvalueindex(1));
    const char *name = luaL_checkstring(lua, 1);
    const struct lua_module *module = lua_modules_find(state->run->modules, LUA_LIBRARY, name);

    if (strcmp(name, "schema") == 0) {
        lua_getfield(lua, LUA_REGISTRYINDEX, SCHEMA);
        return 1;
    }
    if (!module)
        return 0;
    lua_pushfstring(lua, "=%s", module->origin);
    if (luaL_loadbufferx(lua, module->text, module->length, lua_tostring(lua, -1), "t") != 0)
        return lua_error(lua);
    lua_call(lua, 0, 1);
    return 1;
}

void script_state_begin(struct script_state *state, const struct script_run *run)
{
    state->run = run;
    state->heap.limit = run->heap_bytes;
    libraries_set_log(state->lua, on_log, state);
    lua_pushlightuserdata(state->lua, state);
    lua_pushcclosure(state->lua, find_library, 1);
    libraries_set_require(state->lua);
}
