/*
 * Modules in a host: `require` finds runtime modules, which ship inside the program, and libraries;
 * the generators or policies are loaded and checked all together, when the core has sent the last
 * of them.
 */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "lua/host_state.h"
#include "lua/libraries.h"
#include "lua/shipped.h"

/* Runtime modules of each host; others do not exist there. */
static const char *const generator_runtime[] = {"schema", "http", "blob",    "secrets",
                                                "time",   NULL,   "factory", "generate"};
static const char *const policy_runtime[] = {"schema", NULL, "policy"};

static const struct shipped_file *find_shipped(const char *name)
{
    struct buffer path = BUFFER_INIT;
    const struct shipped_file *found = NULL;

    buffer_appendf(&path, "lua/%s.lua", name);
    for (size_t i = 0; i < shipped_file_count; i++) {
        if (strcmp(shipped_files[i].path, buffer_string(&path)) == 0)
            found = &shipped_files[i];
    }
    buffer_free(&path);
    return found;
}

/* Pushes the chunk of a text; raises its syntax error, which names origin and line. */
static void load_text(lua_State *lua, const char *text, size_t length, const char *origin)
{
    lua_pushfstring(lua, "@%s", origin);
    if (luaL_loadbufferx(lua, text, length, lua_tostring(lua, -1), "t") != 0)
        lua_error(lua);
    lua_remove(lua, -2);
}

/* new_handle(metatable): a value of that metatable which holds nothing. */
static int new_handle(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_newuserdata(lua, 0);
    lua_pushvalue(lua, 1);
    lua_setmetatable(lua, -2);
    return 1;
}

void host_runtime_module(lua_State *lua, const char *name)
{
    const struct shipped_file *file = find_shipped(name);

    if (!file) {
        luaL_error(lua, "the program lacks lua/%s.lua", name);
        return;
    }
    load_text(lua, file->text, file->length, file->path);
    host_push_call(lua);
    lua_pushcfunction(lua, new_handle);
    lua_call(lua, 2, 1);
}

/* True if modules of this host may require the runtime module; those after the NULL are the host's
 * own, which find each other but are not for everybody. */
static bool is_runtime(const struct host *host, const char *name)
{
    const char *const *names = host->policy ? policy_runtime : generator_runtime;
    size_t count = host->policy ? sizeof(policy_runtime) / sizeof(policy_runtime[0])
                                : sizeof(generator_runtime) / sizeof(generator_runtime[0]);

    for (size_t i = 0; i < count; i++) {
        if (names[i] && strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

/* function(name) for `require`: the module's value, or nil. */
static int find_module(lua_State *lua)
{
    struct host *host = host_of(lua);
    const char *name = luaL_checkstring(lua, 1);
    const struct lua_module *library = lua_modules_find(host->modules, LUA_LIBRARY, name);

    if (is_runtime(host, name)) {
        host_runtime_module(lua, name);
        return 1;
    }
    if (!library)
        return 0;
    load_text(lua, library->text, library->length, library->origin);
    lua_call(lua, 0, 1);
    return 1;
}

/* Pushes the value of require(name). */
static void require(lua_State *lua, const char *name)
{
    lua_getglobal(lua, "require");
    lua_pushstring(lua, name);
    lua_call(lua, 1, 1);
}

void host_modules_open(struct host *host)
{
    lua_State *lua = host->lua;

    lua_pushcfunction(lua, find_module);
    libraries_set_require(lua);
    require(lua, "schema");
    lua_setglobal(lua, "schema");
    if (host->policy) {
        require(lua, "policy");
        lua_getfield(lua, -1, "ask");
    } else {
        host_runtime_module(lua, "time"); /* adds to the library of that name */
        lua_pop(lua, 1);
        require(lua, "generate");
    }
    host->entry = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_settop(lua, 0);
}

/* register(value of the module's chunk, origin); arguments: the registry's function, the module.
 * Libraries run when they are required and transforms in processes of their own: of those only the
 * syntax is checked, so that a slip is told when it is made. */
static int load_module(lua_State *lua)
{
    const struct lua_module *module = lua_touserdata(lua, 2);

    load_text(lua, module->text, module->length, module->origin);
    if (module->kind == LUA_LIBRARY || module->kind == LUA_TRANSFORM)
        return 0;
    lua_call(lua, 0, 1);
    lua_pushvalue(lua, 1);
    lua_insert(lua, -2);
    lua_pushstring(lua, module->origin);
    lua_call(lua, 2, 0);
    return 0;
}

static void send_load_failure(lua_State *lua, const struct lua_module *module)
{
    struct buffer json = BUFFER_INIT;

    lua_newtable(lua);
    if (lua_istable(lua, -2))
        lua_getfield(lua, -2, "message");
    else
        lua_pushvalue(lua, -2);
    const char *text = libraries_tostring(lua, lua_gettop(lua), NULL);
    lua_setfield(lua, -3, "message");
    lua_pop(lua, 1);
    lua_pushstring(lua, module->origin);
    lua_setfield(lua, -2, "origin");
    (void)text;
    buffer_append_string(&json, "{\"op\":\"load_failed\",\"error\":");
    struct error *error = lua_json_encode(lua, -1, &json);
    if (error) {
        buffer_free(&json);
        buffer_append_string(&json, "{\"op\":\"load_failed\",\"error\":{\"message\":\"its message "
                                    "is no text\",\"origin\":\"\"}");
        error_free(error);
    }
    buffer_append_byte(&json, '}');
    host_send(&json, NULL, 0);
    buffer_free(&json);
}

/* {op: "loaded", types: [...]} */
static void send_loaded(struct host *host)
{
    lua_State *lua = host->lua;
    struct buffer json = BUFFER_INIT;

    buffer_append_string(&json, "{\"op\":\"loaded\",\"types\":[");
    if (!host->policy) {
        require(lua, "factory");
        lua_getfield(lua, -1, "supported_types");
        lua_call(lua, 0, 1);
        for (int i = 1;; i++) {
            lua_rawgeti(lua, -1, i);
            if (lua_isnil(lua, -1))
                break;
            buffer_appendf(&json, "%s\"%s\"", i > 1 ? "," : "", lua_tostring(lua, -1));
            lua_pop(lua, 1);
        }
    }
    buffer_append_string(&json, "]}");
    host_send(&json, NULL, 0);
    buffer_free(&json);
}

/* {op: "loading", origin: …}: if the module never comes back, the core knows its name. */
static void send_loading(lua_State *lua, const struct lua_module *module)
{
    struct buffer json = BUFFER_INIT;

    buffer_append_string(&json, "{\"op\":\"loading\",\"origin\":");
    lua_pushstring(lua, module->origin);
    struct error *error = lua_json_encode(lua, -1, &json);
    lua_pop(lua, 1);
    buffer_append_byte(&json, '}');
    if (!error)
        host_send(&json, NULL, 0);
    error_free(error);
    buffer_free(&json);
}

void host_modules_start(struct host *host)
{
    lua_State *lua = host->lua;

    lua_settop(lua, 0);
    require(lua, host->policy ? "policy" : "factory");
    lua_getfield(lua, 1, "register");
    for (size_t i = 0; i < host->modules->count; i++) {
        const struct lua_module *module = &host->modules->modules[i];

        lua_settop(lua, 2);
        send_loading(lua, module);
        lua_pushcfunction(lua, load_module);
        lua_pushvalue(lua, 2);
        lua_pushlightuserdata(lua, (void *)module);
        if (host_bounded_call(host, lua, 0, 2, 0) != 0) {
            send_load_failure(lua, module);
            return;
        }
    }
    send_loaded(host);
}
