/*
 * The core's door to Lua: generators, policies and transforms, none of which runs in this process.
 *
 * A generation is a set of modules and the processes that loaded it: a generator host, a policy
 * host and a zygote. lua_runtime_load starts a new generation beside the old one; when it has
 * loaded and checked every module, new calls go to it, and the old one ends with its last call. One
 * that does not load changes nothing. So a reload can neither leak nor leave state behind. Design:
 * "Trust boundaries" and "Hot reload".
 */
#ifndef SLUICE_LUA_RUNTIME_H
#define SLUICE_LUA_RUNTIME_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/operation.h"
#include "lua/modules.h"
#include "lua/transform.h"
#include "primitives/primitives.h"
#include "source/payload.h"
#include "source/source.h"

struct lua_runtime;

struct lua_runtime_options {
    uv_loop_t *loop;
    struct log *log;
    const struct clock *clock;
    struct blob_store *blobs;
    struct http_client *http; /* for the primitives */
    struct catalog *catalog;  /* for secrets */
    unsigned transform_concurrency;
    uint64_t heap_bytes;     /* of a generator or policy host */
    int64_t call_cpu_ms;     /* watchdog: CPU time without coming back, 2,000 */
    int64_t call_wall_ms;    /* and wall time, 30,000 */
    int64_t http_timeout_ms; /* default of a fetch */
    uint64_t max_body;       /* of one response */
};

struct lua_runtime *
lua_runtime_new(const struct lua_runtime_options *options); /* NULL: no memory */

/* Every call must have ended or been cancelled. Ends the processes. */
void lua_runtime_free(struct lua_runtime *runtime);

/* `origin` is of the module that does not load, NULL where the error is about none. */
typedef void (*lua_loaded)(void *context, struct error *error, const char *origin);

/* Loads `modules` (taken, also on failure) as a new generation. Errors: ERROR_CONFIGURATION,
 * InvalidModule, naming the module's origin, the line and the fault. */
struct error *lua_runtime_load(struct lua_runtime *runtime, struct lua_module_set *modules,
                               lua_loaded done, void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* The current generation's modules; NULL before the first load. Borrowed until the next one. */
const struct lua_module_set *lua_runtime_modules(const struct lua_runtime *runtime);

/* The current generation's module, or NULL. Borrowed until the next load. */
const struct lua_module *lua_runtime_module(const struct lua_runtime *runtime,
                                            enum lua_module_kind kind, const char *name);

/* The sha256 over the digests of every module that may shape what `type` generates: its own,
 * runtime and library modules. For the inputs digest. */
struct error *lua_runtime_generator_digest(const struct lua_runtime *runtime, const char *type,
                                           char hex[SHA256_HEX_SIZE])
    __attribute__((warn_unused_result));

/* Adds the digests of all modules to `digest`. */
void lua_runtime_digest(const struct lua_runtime *runtime, struct sha256 *digest);

struct generator_call {
    const struct source *source; /* ctx.source, spec.generator; must live until the call ends */
    const char *token;           /* ctx.last_modified; NULL: fetch whatever upstream has */
    int64_t timeout_ms;          /* of the whole call; 0: the default */
};

struct generator_result {
    bool not_modified;          /* nothing else is set */
    struct payload *data;       /* the receiver takes it with TAKE */
    const char *token;          /* last_modified; NULL if upstream has none */
    const json_t *metadata;     /* object of strings, or NULL */
    const char *revision_label; /* NULL for "latest" */
};

/* Exactly one of `error` and `result` (valid during the call) is not NULL. Errors come with the
 * kind that the generator or the primitive gave; an unknown type is ERROR_CONFIGURATION,
 * InvalidSpec, naming the types there are; a section that the module's schema refuses likewise,
 * naming the field; EmptyResult unless the spec allows it. */
typedef void (*generator_done)(void *context, struct error *error, struct generator_result *result);

struct error *lua_generate(struct lua_runtime *runtime, const struct generator_call *call,
                           generator_done done, void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* Asks all policies of `type` ("egress", "secrets", "whitelist") about `request`; answers are
 * cached for the generation. An error, a crash or silence denies. */
struct error *lua_ask_policy(struct lua_runtime *runtime, const char *type, const json_t *request,
                             policy_answered done, void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* The current generation's transformer; NULL before the first load. */
struct transformer *lua_runtime_transformer(struct lua_runtime *runtime);

#endif
