/*
 * One run of a script, all of it inside one protected call: what Lua may raise anywhere, running
 * out of memory above all, ends in the message handler or in a status, never outside.
 */
#include "lua/script.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/json.h"
#include "lua/script_failure.h"
#include "lua/script_result.h"
#include "lua/script_state.h"

struct call {
    const struct script_run *run;
    struct script_failure failure;
};

/* Pushes JSON of ours: strings, integers, booleans, lists and objects. */
static void push_json(lua_State *state, const json_t *json)
{
    const char *key;
    json_t *value;
    size_t index;

    luaL_checkstack(state, 4, "ctx is nested too deeply");
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        lua_createtable(state, 0, (int)json_object_size(json));
        json_object_foreach((json_t *)json, key, value)
        {
            push_json(state, value);
            lua_setfield(state, -2, key);
        }
        break;
    case JSON_ARRAY:
        lua_createtable(state, (int)json_array_size(json), 0);
        json_array_foreach(json, index, value)
        {
            push_json(state, value);
            lua_rawseti(state, -2, (int)index + 1);
        }
        break;
    case JSON_STRING:
        lua_pushlstring(state, json_string_value(json), json_string_length(json));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        lua_pushnumber(state, json_number_value(json));
        break;
    default:
        lua_pushboolean(state, json_is_true(json));
    }
}

static void push_context(lua_State *state, const json_t *request)
{
    static const char *const members[] = {"env", "source", "metadata"};

    lua_createtable(state, 0, 3);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        push_json(state, json_object_get(request, members[i]));
        lua_setfield(state, -2, members[i]);
    }
}

/* The table of path = content that a step before gave. */
static void push_files(lua_State *state, const struct script_run *run)
{
    const json_t *files = json_object_get(run->request, "files");
    size_t offset = 0;
    size_t index;
    json_t *file;

    lua_createtable(state, 0, (int)json_array_size(files));
    json_array_foreach(files, index, file)
    {
        const json_t *path = json_array_get(file, 0);
        size_t length = (size_t)json_integer_value(json_array_get(file, 1));

        if (length > run->input_length - offset)
            luaL_error(state, "the input is shorter than it should be");
        lua_pushlstring(state, json_string_value(path), json_string_length(path));
        lua_pushlstring(state, length ? run->input + offset : "", length);
        lua_rawset(state, -3);
        offset += length;
    }
}

static void push_data(lua_State *state, const struct script_run *run)
{
    if (json_is_true(json_object_get(run->request, "single")))
        lua_pushlstring(state, run->input_length ? run->input : "", run->input_length);
    else
        push_files(state, run);
}

/* Runs the chunk and pushes the function that it returned, by itself or as member `transform`. */
static void push_function(lua_State *state, struct call *call)
{
    /* Text only ("t"): bytecode can do what no text can, and crash the process. */
    if (call->run->text_length > 0 && call->run->text[0] == LUA_SIGNATURE[0])
        script_fail(&call->failure, state, "HookFailed",
                    "precompiled Lua is not accepted; give the script as text");
    if (luaL_loadbufferx(state, call->run->text, call->run->text_length, "=" SCRIPT_CHUNK, "t"))
        lua_error(state);
    lua_call(state, 0, 1);
    if (lua_istable(state, -1)) {
        lua_pushliteral(state, "transform");
        lua_rawget(state, -2);
        lua_remove(state, -2);
    }
    if (!lua_isfunction(state, -1))
        script_fail(&call->failure, state, "HookFailed",
                    "the script must return a function (data, ctx) or { transform = function }; "
                    "it returned %s%s",
                    lua_isnil(state, -1) ? "" : "a ",
                    lua_isnil(state, -1) ? "nothing" : luaL_typename(state, -1));
}

static int run_protected(lua_State *state)
{
    struct call *call = lua_touserdata(state, lua_upvalueindex(1));

    push_function(state, call);
    push_data(state, call->run);
    push_context(state, call->run->request);
    lua_call(state, 2, 2);
    script_result_write(state, 1, 2, call->run, &call->failure);
    return 0;
}

static int on_error(lua_State *state)
{
    struct call *call = lua_touserdata(state, lua_upvalueindex(1));

    script_failure_describe(&call->failure, state);
    return 0;
}

static void push_with_call(lua_State *state, lua_CFunction function, struct call *call)
{
    lua_pushlightuserdata(state, call);
    lua_pushcclosure(state, function, 1);
}

/* Under lua_cpcall, which needs no memory: making the closures may fail already. */
static int run_with_handler(lua_State *state)
{
    struct call *call = lua_touserdata(state, 1);
    int status;

    push_with_call(state, on_error, call);
    push_with_call(state, run_protected, call);
    status = lua_pcall(state, 0, 0, -2);
    if (status == LUA_ERRMEM)
        call->failure.out_of_memory = true;
    if (status != 0 && !call->failure.set)
        script_failure_describe(&call->failure, state);
    return 0;
}

int script_run(struct script_state *state, const struct script_run *run)
{
    struct call call = {.run = run};
    int status;

    script_state_begin(state, run);
    status = lua_cpcall(script_state_lua(state), run_with_handler, &call);
    if (status != 0)
        call.failure.set = call.failure.out_of_memory = true;
    status = call.failure.set || call.failure.out_of_memory
                 ? script_failure_write(run, &call.failure)
                 : 0;
    buffer_free(&call.failure.message);
    return status;
}
