/* See generation.h. */
#include "lua/generation.h"

#include <stdlib.h>

#include "base/json.h"

bool generation_idle(const struct generation *generation)
{
    return !generation->generator.requests && !generation->policy.requests;
}

void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    lua_host_clear(&generation->generator);
    lua_host_clear(&generation->policy);
    transformer_free(generation->transformer);
    lua_modules_free(generation->modules);
    json_decref(generation->answers);
    free(generation);
}

static struct error *start_transformer(struct generation *generation)
{
    const struct lua_runtime_options *options = &generation->runtime->options;
    struct transformer_options transformer = {
        .loop = options->loop,
        .log = options->log,
        .blobs = options->blobs,
        .clock = options->clock,
        .concurrency = options->transform_concurrency,
    };

    return transformer_new(&transformer, generation->modules, &generation->transformer);
}

/* Both hosts begin to load at once; each tells when it has. */
static struct error *start_hosts(struct generation *generation)
{
    struct error *error = lua_host_init(&generation->generator, generation, "generator");

    if (!error)
        error = lua_host_init(&generation->policy, generation, "policy");
    if (!error)
        error = lua_host_start(&generation->generator);
    if (!error)
        error = lua_host_start(&generation->policy);
    return error ? error : start_transformer(generation);
}

struct error *generation_start(struct lua_runtime *runtime, struct lua_module_set *modules,
                               lua_loaded loaded, void *context, struct generation **generation)
{
    struct generation *made = calloc(1, sizeof(*made));

    if (!made) {
        lua_modules_free(modules);
        return error_out_of_memory();
    }
    made->runtime = runtime;
    made->modules = modules;
    made->loaded = loaded;
    made->context = context;
    made->generator.page_descriptor = -1;
    made->policy.page_descriptor = -1;
    made->answers = json_object();
    struct error *error = made->answers ? start_hosts(made) : error_out_of_memory();
    if (error) {
        generation_free(made);
        return error;
    }
    *generation = made;
    return NULL;
}
