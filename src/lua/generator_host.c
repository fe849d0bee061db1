/*
 * The host's loop: one message in, handled to its end, until the core is gone. Everything that
 * touches Lua happens inside one protected call for each message, so that running out of memory
 * ends the process with a status that says so, and never a panic. See generator_host.h.
 */
#include "lua/generator_host.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lua/host_state.h"
#include "lua/libraries.h"
#include "lua/sandbox.h"
#include "lua/state.h"

struct host *host_of(lua_State *lua)
{
    return (struct host *)heap_of(lua);
}

void host_send(const struct buffer *json, const void *bytes, size_t length)
{
    if (json->failed)
        _exit(HOST_EXIT_MEMORY);
    if (channel_write(HOST_CHANNEL_DESCRIPTOR, json->bytes, json->length, bytes, length, NULL, 0))
        _exit(HOST_EXIT_CHANNEL);
}

/* A member of the message, which is at index 1. */
static uint64_t message_id(lua_State *lua, const char *key)
{
    lua_getfield(lua, 1, key);
    uint64_t id = (uint64_t)lua_tonumber(lua, -1);
    lua_pop(lua, 1);
    return id;
}

static const char *message_text(lua_State *lua, const char *key)
{
    lua_getfield(lua, 1, key);
    return luaL_checkstring(lua, -1); /* stays on the stack, and so alive */
}

static void take_module(struct host *host, const struct channel_message *message)
{
    lua_State *lua = host->lua;
    enum lua_module_kind kind;

    if (!lua_module_kind_parse(message_text(lua, "kind"), &kind))
        luaL_error(lua, "unknown kind of module");
    struct error *error =
        lua_modules_add(host->modules, kind, message_text(lua, "name"), message_text(lua, "origin"),
                        message->bytes, message->length);
    if (error)
        _exit(HOST_EXIT_MEMORY); /* the core has checked everything else */
}

/* The answer of a primitive: true, value, bytes; or false, error. */
static void take_reply(struct host *host, const struct channel_message *message)
{
    lua_State *lua = host->lua;
    uint64_t id = message_id(lua, "call");

    lua_getfield(lua, 1, "error");
    if (!lua_isnil(lua, -1)) {
        lua_pushboolean(lua, 0);
        lua_insert(lua, -2);
        host_call_answer(host, id, 2);
        return;
    }
    lua_pop(lua, 1);
    lua_pushboolean(lua, 1);
    lua_getfield(lua, 1, "value");
    lua_pushlstring(lua, message->bytes, message->length);
    host_call_answer(host, id, 3);
}

static void take_question(struct host *host)
{
    lua_State *lua = host->lua;
    struct buffer json = BUFFER_INIT;
    uint64_t id = message_id(lua, "ask");

    lua_rawgeti(lua, LUA_REGISTRYINDEX, host->entry);
    message_text(lua, "type");
    lua_getfield(lua, 1, "request");
    int status = host_bounded_call(host, lua, id, 2, 1);

    buffer_appendf(&json, "{\"op\":\"verdict\",\"ask\":%llu,\"value\":", (unsigned long long)id);
    size_t head = json.length;
    struct error *error = status == 0 ? lua_json_encode(lua, -1, &json) : NULL;
    if (status != 0 || error) {
        json.length = head;
        buffer_append_string(
            &json, "{\"allowed\":false,\"failed\":true,\"reason\":\"the policies failed\"}");
        error_free(error);
    }
    buffer_append_byte(&json, '}');
    host_send(&json, NULL, 0);
    buffer_free(&json);
}

static void dispatch(struct host *host, const struct channel_message *message)
{
    lua_State *lua = host->lua;
    const char *op = message_text(lua, "op");

    if (strcmp(op, "module") == 0) {
        take_module(host, message);
    } else if (strcmp(op, "start") == 0) {
        host_modules_start(host);
    } else if (strcmp(op, "call") == 0 && !host->policy) {
        uint64_t id = message_id(lua, "call");

        lua_getfield(lua, 1, "request");
        host_call_begin(host, id);
    } else if (strcmp(op, "reply") == 0) {
        take_reply(host, message);
    } else if (strcmp(op, "cancel") == 0) {
        host_call_cancel(host, message_id(lua, "call"));
    } else if (strcmp(op, "ask") == 0 && host->policy) {
        take_question(host);
    } else {
        luaL_error(lua, "unknown message");
    }
}

struct delivery {
    struct host *host;
    const struct channel_message *message;
};

static int handle(lua_State *lua)
{
    struct delivery *delivery = lua_touserdata(lua, 1);
    const struct channel_message *message = delivery->message;

    lua_settop(lua, 0);
    struct error *error = lua_json_decode(lua, message->json, message->json_length);
    if (error || !lua_istable(lua, 1))
        _exit(HOST_EXIT_CHANNEL);
    dispatch(delivery->host, message);
    return 0;
}

/* What a module logs, with the call that it logs in. */
static void send_log(void *context, const char *level, const char *text, size_t length)
{
    struct host *host = context;
    struct buffer json = BUFFER_INIT;

    if (length > CHANNEL_FRAME_MAX / 2)
        length = CHANNEL_FRAME_MAX / 2;
    buffer_appendf(&json, "{\"op\":\"log\",\"call\":%llu,\"level\":\"%s\"}",
                   (unsigned long long)(host->running ? host->running->id : 0), level);
    host_send(&json, text, length);
    buffer_free(&json);
}

static int open_modules(lua_State *lua)
{
    struct host *host = lua_touserdata(lua, 1);

    lua_settop(lua, 0);
    libraries_set_log(lua, send_log, host);
    host_modules_open(host);
    return 0;
}

static bool host_open(struct host *host, bool policy)
{
    void *page = mmap(NULL, sizeof(struct host_page), PROT_READ | PROT_WRITE, MAP_SHARED,
                      HOST_SHARED_DESCRIPTOR, 0);

    host->policy = policy;
    host->page = page == MAP_FAILED ? NULL : page;
    host->heap.limit = HOST_HEAP_BYTES;
    host->input = channel_input_new(HOST_CHANNEL_DESCRIPTOR);
    host->modules = calloc(1, sizeof(*host->modules));
    host->calls = calloc(HOST_CALL_BUCKETS, sizeof(struct host_call *));
    host->lua = state_new(&host->heap, false);
    return host->input && host->modules && host->calls && host->lua &&
           lua_cpcall(host->lua, open_modules, host) == 0;
}

int generator_host_main(bool policy)
{
    struct host *host = calloc(1, sizeof(*host));
    struct channel_message message;

    if (!host || !host_open(host, policy))
        return HOST_EXIT_MEMORY;
    for (;;) {
        struct delivery delivery = {host, &message};
        int status = channel_input_next(host->input, true, &message);

        if (status != 1)
            return status == 0 ? 0 : HOST_EXIT_CHANNEL;
        if (lua_cpcall(host->lua, handle, &delivery) != 0)
            return HOST_EXIT_MEMORY;
        lua_settop(host->lua, 0);
    }
}
