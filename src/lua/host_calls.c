/*
 * Calls as coroutines. A primitive yields to the host, which goes on with other calls until the
 * answer comes. The instruction budget is a count hook that, once it has struck, strikes at every
 * instruction: a pcall in a loop catches one error, and the next one is raised outside it.
 */
#include <lauxlib.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lua/host_state.h"
#include "lua/libraries.h"
#include "lua/text.h"

static struct host_call **bucket_of(struct host *host, uint64_t id)
{
    return &host->calls[id % HOST_CALL_BUCKETS];
}

static struct host_call *find_call(struct host *host, uint64_t id)
{
    struct host_call *call = *bucket_of(host, id);

    while (call && call->id != id)
        call = call->next;
    return call;
}

static void drop_call(struct host *host, struct host_call *call)
{
    struct host_call **link = bucket_of(host, call->id);

    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    luaL_unref(host->lua, LUA_REGISTRYINDEX, call->reference);
    free(call);
}

static void count_instructions(lua_State *lua, lua_Debug *activation)
{
    struct host *host = host_of(lua);
    struct host_call *call = host->running;

    (void)activation;
    if (!call)
        return;
    call->instructions += HOST_HOOK_INSTRUCTIONS;
    if (!call->exceeded && call->instructions < HOST_CALL_INSTRUCTIONS)
        return;
    call->exceeded = true;
    lua_sethook(lua, count_instructions, LUA_MASKCOUNT, 1);
    luaL_error(lua, "it used more instructions than a call may");
}

/* Marks who has control of the process, for the watchdog and for the hook. */
static void enter(struct host *host, struct host_call *call)
{
    host->running = call;
    lua_sethook(host->lua, count_instructions, LUA_MASKCOUNT, HOST_HOOK_INSTRUCTIONS);
    if (!host->page)
        return;
    atomic_fetch_add(&host->page->resumes, 1);
    atomic_store(&host->page->call, call->id);
}

static void leave(struct host *host)
{
    if (host->page)
        atomic_store(&host->page->call, 0);
    lua_sethook(host->lua, NULL, 0, 0);
    host->running = NULL;
}

int host_bounded_call(struct host *host, lua_State *lua, uint64_t id, int count, int results)
{
    struct host_call bounded = {.id = id, .thread = lua};

    enter(host, &bounded);
    int status = lua_pcall(lua, count, results, 0);
    leave(host);
    return bounded.exceeded ? LUA_ERRRUN : status;
}

static void begin_frame(struct buffer *json, const char *op, uint64_t id)
{
    buffer_appendf(json, "{\"op\":\"%s\",\"call\":%llu", op, (unsigned long long)id);
}

/* `message` is whatever Lua said. */
static void send_error(uint64_t id, const char *reason, const char *kind, const char *message)
{
    struct buffer clean = BUFFER_INIT;
    struct buffer json = BUFFER_INIT;

    text_clean(&clean, message, strlen(message), TEXT_MESSAGE_MAX);
    json_t *error = json_pack("{s:s, s:s, s:s}", "reason", reason, "kind", kind, "message",
                              buffer_string(&clean));
    begin_frame(&json, "error", id);
    buffer_append_string(&json, ",\"error\":");
    if (error)
        json_write(&json, error);
    else
        json.failed = true;
    buffer_append_byte(&json, '}');
    host_send(&json, NULL, 0);
    json_decref(error);
    buffer_free(&clean);
    buffer_free(&json);
}

/* Sends the value at `index` as member `key` of a frame; what has no JSON form is the module's
 * error. */
static void send_value(lua_State *lua, uint64_t id, const char *op, const char *key, int index,
                       const char *bytes, size_t length)
{
    struct buffer json = BUFFER_INIT;

    begin_frame(&json, op, id);
    buffer_appendf(&json, ",\"%s\":", key);
    struct error *error = lua_json_encode(lua, index, &json);
    buffer_append_byte(&json, '}');
    if (error)
        send_error(id, "InvalidResult", "transient", error->message);
    else if (json.length + length > CHANNEL_FRAME_MAX)
        send_error(id, "OutputLimit", "upstream",
                   "the result is larger than 16 MiB; leave large bodies in blobs");
    else
        host_send(&json, bytes, length);
    error_free(error);
    buffer_free(&json);
}

/* The coroutine has ended with true, value, bytes or with false, error. */
static void finish(struct host *host, struct host_call *call)
{
    lua_State *thread = call->thread;
    bool ok = lua_toboolean(thread, 1);
    size_t length = 0;
    const char *bytes = lua_tolstring(thread, 3, &length);

    if (ok)
        send_value(thread, call->id, "return", "value", 2, bytes, length);
    else
        send_value(thread, call->id, "error", "error", 2, NULL, 0);
    drop_call(host, call);
}

/* The coroutine has failed below generate.lua, or must not go on. */
static void fail(struct host *host, struct host_call *call, bool out_of_memory)
{
    if (call->exceeded) {
        send_error(call->id, "Timeout", "transient", "it used more instructions than a call may");
    } else if (out_of_memory) {
        host->heap.exceeded = false;
        send_error(call->id, "MemoryLimit", "transient", "it used more memory than a host may");
    } else {
        const char *text = libraries_tostring(call->thread, -1, NULL);

        send_error(call->id, "GeneratorFailed", "transient", text);
    }
    drop_call(host, call);
    if (out_of_memory)
        lua_gc(host->lua, LUA_GCCOLLECT, 0);
}

static void resume(struct host *host, struct host_call *call, int count)
{
    host->heap.exceeded = false;
    enter(host, call);
    int status = lua_resume(call->thread, count);
    leave(host);

    bool out_of_memory = status == LUA_ERRMEM || (host->heap.exceeded && status != LUA_YIELD);
    if (call->exceeded || out_of_memory) {
        fail(host, call, out_of_memory);
    } else if (status == LUA_YIELD && !call->waiting) {
        lua_settop(call->thread, 0);
        lua_pushstring(call->thread, "it yielded outside a primitive");
        fail(host, call, false);
    } else if (status == 0) {
        finish(host, call);
    } else if (status != LUA_YIELD) {
        fail(host, call, false);
    }
}

void host_call_begin(struct host *host, uint64_t id)
{
    lua_State *lua = host->lua;
    struct host_call *call = calloc(1, sizeof(*call));

    if (!call || find_call(host, id)) {
        free(call);
        luaL_error(lua, "cannot begin a call");
        return;
    }
    call->id = id;
    call->thread = lua_newthread(lua);
    call->reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    call->next = *bucket_of(host, id);
    *bucket_of(host, id) = call;
    lua_rawgeti(call->thread, LUA_REGISTRYINDEX, host->entry);
    lua_xmove(lua, call->thread, 1);
    resume(host, call, 1);
}

void host_call_answer(struct host *host, uint64_t id, int count)
{
    struct host_call *call = find_call(host, id);

    if (!call || !call->waiting) {
        lua_pop(host->lua, count);
        return;
    }
    call->waiting = false;
    luaL_checkstack(call->thread, count, "answer");
    lua_xmove(host->lua, call->thread, count);
    resume(host, call, count);
}

void host_call_cancel(struct host *host, uint64_t id)
{
    struct host_call *call = find_call(host, id);

    if (call)
        drop_call(host, call);
}

/* primitive(name, arguments, bytes): one message and a yield; comes back with true, value, bytes or
 * with false, error. */
static int primitive(lua_State *lua)
{
    struct host *host = host_of(lua);
    struct host_call *call = host->running;
    const char *name = luaL_checkstring(lua, 1);
    struct buffer json = BUFFER_INIT;
    size_t length = 0;
    const char *bytes = luaL_optlstring(lua, 3, NULL, &length);

    if (!call || call->thread != lua || call->id == 0 || host->policy || !lua_isyieldable(lua))
        return luaL_error(lua,
                          "%s: cannot be called here: not while a module loads, nor inside "
                          "require, table.sort, string.gsub or a coroutine of the module's own",
                          name);
    begin_frame(&json, "primitive", call->id);
    buffer_appendf(&json, ",\"name\":\"%s\",\"arguments\":", name);
    struct error *error = lua_json_encode(lua, 2, &json);
    buffer_append_byte(&json, '}');
    if (error || json.length + length > CHANNEL_FRAME_MAX) {
        lua_pushfstring(lua, "%s: %s", name, error ? error->message : "larger than 16 MiB");
        error_free(error);
        buffer_free(&json);
        return lua_error(lua);
    }
    host_send(&json, bytes, length);
    buffer_free(&json);
    call->waiting = true;
    return lua_yield(lua, 0);
}

void host_push_call(lua_State *lua)
{
    static const char text[] = "local primitive = ...\n"
                               "return function(name, arguments, bytes)\n"
                               "  local ok, value, result = primitive(name, arguments, bytes)\n"
                               "  if not ok then error(value, 0) end\n"
                               "  return value, result\n"
                               "end\n";

    if (luaL_loadbuffer(lua, text, sizeof(text) - 1, "=call") != 0)
        lua_error(lua);
    lua_pushcfunction(lua, primitive);
    lua_call(lua, 1, 1);
}
