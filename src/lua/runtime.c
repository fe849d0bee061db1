/*
 * The runtime: which generation is current, which one loads, and which old ones wait for their last
 * call. One timer serves as watchdog for all their hosts, and only while there is something to
 * watch.
 */
#include "lua/runtime.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lua/generation.h"

#define WATCHDOG_MS 250

static void timer_closed(uv_handle_t *handle)
{
    free(handle);
}

/* What the primitives ask: see struct primitive_services. */
static struct error *ask_policy(void *context, const char *type, const json_t *request,
                                policy_answered done, void *done_context,
                                struct operation **operation)
{
    return lua_ask_policy(context, type, request, done, done_context, operation);
}

struct lua_runtime *lua_runtime_new(const struct lua_runtime_options *options)
{
    struct lua_runtime *runtime = calloc(1, sizeof(*runtime));

    if (!runtime)
        return NULL;
    runtime->options = *options;
    runtime->services = (struct primitive_services){
        .loop = options->loop,
        .log = options->log,
        .clock = options->clock,
        .blobs = options->blobs,
        .http = options->http,
        .catalog = options->catalog,
        .http_timeout_ms = options->http_timeout_ms,
        .max_body = options->max_body,
        .ask_policy = ask_policy,
        .policy_context = runtime,
    };
    runtime->watchdog = calloc(1, sizeof(uv_timer_t));
    if (!runtime->watchdog) {
        free(runtime);
        return NULL;
    }
    uv_timer_init(options->loop, runtime->watchdog);
    runtime->watchdog->data = runtime;
    return runtime;
}

void lua_runtime_free(struct lua_runtime *runtime)
{
    if (!runtime)
        return;
    generation_free(runtime->current);
    generation_free(runtime->loading);
    while (runtime->retired) {
        struct generation *next = runtime->retired->next;

        generation_free(runtime->retired);
        runtime->retired = next;
    }
    uv_close((uv_handle_t *)runtime->watchdog, timer_closed);
    free(runtime);
}

/* Old generations end with their last call. A transform that still runs keeps its own. */
static void end_retired(struct lua_runtime *runtime)
{
    struct generation **link = &runtime->retired;

    while (*link) {
        struct generation *generation = *link;

        if (!generation_idle(generation) || transformer_busy(generation->transformer)) {
            link = &generation->next;
            continue;
        }
        *link = generation->next;
        generation_free(generation);
    }
}

/* A host may still run what nobody waits for any more. */
static bool watched(const struct lua_runtime *runtime)
{
    const struct generation *current = runtime->current;

    return runtime->retired || runtime->loading ||
           (current && (!generation_idle(current) || lua_host_running(&current->generator) ||
                        lua_host_running(&current->policy)));
}

static void watch_hosts(struct generation *generation, int64_t now_ms)
{
    lua_host_watch(&generation->generator, now_ms);
    lua_host_watch(&generation->policy, now_ms);
}

static void on_watchdog(uv_timer_t *timer)
{
    struct lua_runtime *runtime = timer->data;
    int64_t now = clock_monotonic_ms(runtime->options.clock);

    for (struct generation *old = runtime->retired; old; old = old->next)
        watch_hosts(old, now);
    if (runtime->current)
        watch_hosts(runtime->current, now);
    if (runtime->loading)
        watch_hosts(runtime->loading, now);
    end_retired(runtime);
    if (!watched(runtime))
        uv_timer_stop(timer);
}

void runtime_watch(struct lua_runtime *runtime)
{
    if (!uv_is_active((uv_handle_t *)runtime->watchdog))
        uv_timer_start(runtime->watchdog, on_watchdog, WATCHDOG_MS, WATCHDOG_MS);
}

static void load_cancel(struct operation *operation)
{
    struct lua_runtime *runtime =
        (struct lua_runtime *)((char *)operation - offsetof(struct lua_runtime, load_operation));

    generation_free(TAKE(runtime->loading));
}

struct error *lua_runtime_load(struct lua_runtime *runtime, struct lua_module_set *modules,
                               lua_loaded done, void *context, struct operation **operation)
{
    if (runtime->loading) {
        lua_modules_free(modules);
        return error_new(ERROR_INTERNAL, "Busy", "modules are being loaded already");
    }
    struct error *error = generation_start(runtime, modules, done, context, &runtime->loading);
    if (error)
        return error;
    runtime->load_operation.cancel = load_cancel;
    runtime_watch(runtime);
    *operation = &runtime->load_operation;
    return NULL;
}

/* It ends with its last call. */
static void retire(struct lua_runtime *runtime, struct generation *generation)
{
    generation->next = runtime->retired;
    runtime->retired = generation;
    runtime_watch(runtime);
}

/* New calls go to the new generation from here on. */
static void adopt(struct lua_runtime *runtime, struct generation *generation)
{
    if (runtime->current)
        retire(runtime, runtime->current);
    runtime->current = generation;
}

void runtime_generation_loaded(struct generation *generation, struct error *error,
                               const char *origin)
{
    struct lua_runtime *runtime = generation->runtime;
    lua_loaded loaded = generation->loaded;
    void *context = generation->context;

    if (generation != runtime->loading) {
        error_free(error); /* a host of a generation that had loaded before was started again */
        return;
    }
    if (!error &&
        (generation->generator.state != HOST_READY || generation->policy.state != HOST_READY))
        return;
    runtime->loading = NULL;
    if (error)
        retire(runtime, generation); /* we may be inside of a call of its hosts */
    else
        adopt(runtime, generation);
    loaded(context, error, origin);
}

const struct lua_module_set *lua_runtime_modules(const struct lua_runtime *runtime)
{
    return runtime->current ? runtime->current->modules : NULL;
}

const struct lua_module *lua_runtime_module(const struct lua_runtime *runtime,
                                            enum lua_module_kind kind, const char *name)
{
    return runtime->current ? lua_modules_find(runtime->current->modules, kind, name) : NULL;
}

/* Every generator counts, not only the type's own: which module has a type is known to the host
 * alone. */
static bool shapes_generation(const struct lua_module *module)
{
    return module->kind == LUA_RUNTIME || module->kind == LUA_LIBRARY ||
           module->kind == LUA_GENERATOR;
}

struct error *lua_runtime_generator_digest(const struct lua_runtime *runtime, const char *type,
                                           char hex[SHA256_HEX_SIZE])
{
    _cleanup_(sha256) struct sha256 *digest = sha256_new();
    const struct lua_module_set *modules = runtime->current ? runtime->current->modules : NULL;
    const struct lua_module *own = lua_runtime_module(runtime, LUA_GENERATOR, type);

    if (!digest)
        return error_out_of_memory();
    for (size_t i = 0; modules && i < modules->count; i++) {
        const struct lua_module *module = &modules->modules[i];

        /* By convention a module is called like its type; then the others do not matter. */
        if (!shapes_generation(module) || (own && module->kind == LUA_GENERATOR && module != own))
            continue;
        sha256_update(digest, module->digest, sizeof(module->digest));
    }
    sha256_final(digest, hex);
    return NULL;
}

void lua_runtime_digest(const struct lua_runtime *runtime, struct sha256 *digest)
{
    const struct lua_module_set *modules = runtime->current ? runtime->current->modules : NULL;

    for (size_t i = 0; modules && i < modules->count; i++)
        sha256_update(digest, modules->modules[i].digest, sizeof(modules->modules[i].digest));
}

struct transformer *lua_runtime_transformer(struct lua_runtime *runtime)
{
    return runtime->current ? runtime->current->transformer : NULL;
}
