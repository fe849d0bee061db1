/* What the files of the generator host share. Private to generator_host.c and host_*.c. */
#ifndef SLUICE_LUA_HOST_STATE_H
#define SLUICE_LUA_HOST_STATE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "lua/channel.h"
#include "lua/generator_host.h"
#include "lua/heap.h"
#include "lua/modules.h"

#define HOST_HEAP_BYTES ((size_t)256 << 20)
#define HOST_HOOK_INSTRUCTIONS 10000
#define HOST_CALL_INSTRUCTIONS UINT64_C(200000000) /* about two seconds of interpreted Lua */

/* A call in flight, or the loading of modules. */
struct host_call {
    uint64_t id;
    lua_State *thread;
    int reference; /* keeps the thread alive, in the registry */
    uint64_t instructions;
    bool exceeded; /* it used up its budget: whatever it still does, it has failed */
    bool waiting;  /* for the answer of a primitive */
    struct host_call *next;
};

struct host {
    struct heap heap; /* first: the state's allocator finds the host by it */
    bool policy;
    lua_State *lua;
    struct channel_input *input;
    struct host_page *page; /* NULL where the core gave none */
    struct lua_module_set *modules;
    struct host_call **calls; /* a hash table by id */
    struct host_call *running;
    int entry; /* registry: the function that runs a call or answers a question */
};

/* The host of a state. */
struct host *host_of(lua_State *lua);

/* Sends a frame whose JSON is in `json`; the process ends if the core is gone. */
void host_send(const struct buffer *json, const void *bytes, size_t length);

/* host_modules.c: `require`, the runtime modules, and the entry function. Raises. */
void host_modules_open(struct host *host);
/* Loads every generator or policy; pushes nothing, sends loaded or load_failed. */
void host_modules_start(struct host *host);
/* Pushes the value of a runtime module. Raises if there is none. */
void host_runtime_module(lua_State *lua, const char *name);

/* host_calls.c: the primitives' `call` for runtime modules (pushes a function). */
void host_push_call(lua_State *lua);
/* Begins a call; the request is at the top of the stack and is popped. */
void host_call_begin(struct host *host, uint64_t id);
/* Goes on with a call that waits, with the `count` values at the top of the stack, which are
 * popped. An id of no such call is ignored: the core's cancel and our messages cross. */
void host_call_answer(struct host *host, uint64_t id, int count);
void host_call_cancel(struct host *host, uint64_t id);
/* Runs the function below its `count` arguments under a budget of its own, as lua_pcall does. `id`
 * is the question that it answers; 0 while modules load. */
int host_bounded_call(struct host *host, lua_State *lua, uint64_t id, int count, int results);

#define HOST_CALL_BUCKETS 1024

#endif
