/*
 * A generation: a set of modules, and the processes that loaded it. Private to src/lua.
 *
 * Its two hosts are alike: a process that is given the modules, and then serves requests, each
 * known by an id. A host that dies is started again; the request that had control of it fails, the
 * others are sent again. Which one that was the host's page says, and the page is as hostile as the
 * host: a request with which host after host dies fails too. What a request is about, host.c of the
 * core does not know: see generate.c and policy.c.
 */
#ifndef SLUICE_LUA_GENERATION_H
#define SLUICE_LUA_GENERATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lua/generator_host.h"
#include "lua/process.h"
#include "lua/runtime.h"

struct generation;
struct lua_host;

/* A request to a host, from its start to its end: first in the struct of whoever makes it. */
struct host_request {
    uint64_t id;
    struct lua_host *host;
    struct host_request *next;
    struct host_request *previous;
    bool sent;
    unsigned suspicions; /* how many hosts have died with it without saying which call it was */
    int64_t deadline_ms; /* monotonic */
    /* Sends the request to the host; again, if an earlier one died. */
    struct error *(*send)(struct host_request *request);
    /* A frame that names it. An error (Protocol) means that the host must be killed. */
    struct error *(*received)(struct host_request *request, const char *op,
                              struct channel_frame *frame);
    /* The request has failed, and is no longer the host's. `error` is owned by the receiver. */
    void (*failed)(struct host_request *request, struct error *error);
};

enum host_state { HOST_DOWN, HOST_LOADING, HOST_READY };

struct lua_host {
    struct generation *generation;
    const char *kind; /* "generator" or "policy" */
    enum host_state state;
    struct host_process *process;
    struct host_page *page; /* shared with the process */
    int page_descriptor;
    unsigned failed_starts; /* in a row */
    struct host_request *requests;
    struct error *verdict; /* why it is about to be killed: Timeout */
    uint64_t guilty;       /* the request with whose frame it broke the protocol; 0: see the page */
    uint64_t seen_resumes; /* what the watchdog saw last, since when, and at what CPU time */
    int64_t seen_since_ms;
    int64_t seen_cpu_ms;
    json_t *types;        /* of a generator host: the types there are */
    char *loading_origin; /* of the module that it said it loads, while it loads */
};

struct generation {
    struct generation *next; /* older */
    struct lua_runtime *runtime;
    struct lua_module_set *modules;
    struct lua_host generator;
    struct lua_host policy;
    struct transformer *transformer;
    json_t *answers; /* of policies: "TYPE REQUEST" -> verdict */
    /* While it loads for the first time: */
    lua_loaded loaded;
    void *context;
};

struct lua_runtime {
    struct lua_runtime_options options;
    struct primitive_services services;
    struct generation *current;
    struct generation *loading;
    struct generation *retired; /* older ones that still have calls */
    struct operation load_operation;
    uv_timer_t *watchdog;
    uint64_t last_id;
};

/* Starts the processes of a generation that takes `modules` (also on failure). */
struct error *generation_start(struct lua_runtime *runtime, struct lua_module_set *modules,
                               lua_loaded loaded, void *context, struct generation **generation)
    __attribute__((warn_unused_result));

/* Ends the processes; requests that are left are dropped without a word. */
void generation_free(struct generation *generation);

/* True if nothing is in flight in it. */
bool generation_idle(const struct generation *generation);

/* Both hosts have loaded, or one could not (`error`): for runtime.c. */
void runtime_generation_loaded(struct generation *generation, struct error *error,
                               const char *origin);

/* The watchdog runs while requests are in flight or generations wait to end. */
void runtime_watch(struct lua_runtime *runtime);

/* Starts the host's process and sends it the modules. */
struct error *lua_host_start(struct lua_host *host) __attribute__((warn_unused_result));

/* Makes `request` the host's, and sends it as soon as that is ready. */
struct error *lua_host_begin(struct lua_host *host, struct host_request *request)
    __attribute__((warn_unused_result));

/* Tells the host's process to drop what it has of the request. */
void lua_host_cancel(struct host_request *request);

/* The request is over: the host forgets it. */
void lua_host_end(struct host_request *request);

/* Sends a frame to the host's process. */
struct error *lua_host_send(struct lua_host *host, const json_t *json, const void *bytes,
                            size_t length) __attribute__((warn_unused_result));

/* What the watchdog does for one host: requests past their deadline fail, a process that does not
 * come back is killed. */
void lua_host_watch(struct lua_host *host, int64_t now_ms);

/* True if its process runs Lua, by its own account. */
bool lua_host_running(const struct lua_host *host);

struct error *lua_host_init(struct lua_host *host, struct generation *generation, const char *kind)
    __attribute__((warn_unused_result));
void lua_host_clear(struct lua_host *host);

#endif
