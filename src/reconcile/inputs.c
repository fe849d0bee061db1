/*
 * The inputs digest: everything but upstream that shapes an artifact.
 *
 * Upstream's token is trusted only while this digest is what it was when the artifact was made: the
 * spec's generation, the texts of the modules used, and uid and resource version of the Secrets and
 * ConfigMaps that the generator's section names. Never a hash of a secret's value, which could be
 * guessed from it.
 */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "reconcile/phase.h"

/* Moves when the same inputs would make other bytes: the tar's form, the order of phases. */
#define INPUTS_FORMAT "sluice inputs 1"

static void update(struct sha256 *digest, const char *text)
{
    sha256_update(digest, text,
                  strlen(text) + 1); /* with the NUL, so that fields cannot run together */
}

static struct error *missing_module(const struct hook_spec *hook)
{
    _cleanup_(free) char *field = format_string("%s.module", hook->path);
    struct error *error = error_new(
        ERROR_CONFIGURATION, "InvalidSpec",
        "%s.module: found '%s', but there is no transform module of that name; add one to "
        "a ConfigMap with the label source.flux.oddkin.co/lua: transform or to a "
        "--lua-path directory",
        hook->path, hook->module);

    return error_about_field(error, field);
}

static struct error *add_modules(struct reconcile *reconcile)
{
    const struct source_spec *spec = reconcile->source->spec;
    char hex[SHA256_HEX_SIZE];
    struct error *error =
        lua_runtime_generator_digest(reconcile->options->lua, spec->generator_type, hex);

    if (error)
        return error;
    update(reconcile->inputs, hex);
    for (size_t i = 0; i < spec->post_request.count; i++) {
        const struct hook_spec *hook = &spec->post_request.hooks[i];

        if (hook->kind != HOOK_MODULE)
            continue;
        const struct lua_module *module =
            lua_runtime_module(reconcile->options->lua, LUA_TRANSFORM, hook->module);
        if (!module)
            return missing_module(hook);
        update(reconcile->inputs, module->digest);
    }
    return NULL;
}

static struct error *begin(struct reconcile *reconcile)
{
    char generation[24];

    reconcile->inputs = sha256_new();
    reconcile->objects = source_references(reconcile->source);
    if (!reconcile->inputs || !reconcile->objects)
        return error_out_of_memory();
    snprintf(generation, sizeof(generation), "%lld", (long long)reconcile->source->generation);
    update(reconcile->inputs, INPUTS_FORMAT);
    update(reconcile->inputs, reconcile->source->uid);
    update(reconcile->inputs, generation);
    return add_modules(reconcile);
}

static const char *object_field(const struct reconcile *reconcile, size_t field)
{
    return json_string_value(
        json_array_get(json_array_get(reconcile->objects, reconcile->cursor), field));
}

static void object_read(void *context, struct error *error, const struct catalog_object *object)
{
    struct reconcile *reconcile = context;

    if (!error) {
        update(reconcile->inputs, object_field(reconcile, 0));
        update(reconcile->inputs, object_field(reconcile, 1));
        update(reconcile->inputs, object ? object->uid : "missing");
        update(reconcile->inputs, object ? object->resource_version : "missing");
        reconcile->cursor++;
    }
    reconcile_resume(reconcile, error);
}

struct error *attempt_digest(const struct reconcile *reconcile, char hex[SHA256_HEX_SIZE])
{
    _cleanup_(sha256) struct sha256 *digest = sha256_new();

    hex[0] = '\0';
    if (!digest)
        return error_out_of_memory();
    if (!reconcile->inputs_hex[0])
        return NULL;
    sha256_update(digest, reconcile->inputs_hex, SHA256_HEX_SIZE);
    lua_runtime_digest(reconcile->options->lua, digest);
    sha256_final(digest, hex);
    return NULL;
}

struct step phase_inputs(struct reconcile *reconcile)
{
    struct error *error = TAKE(reconcile->error);

    if (!reconcile->returned)
        error = begin(reconcile);
    if (error)
        return step_failed(error);
    if (reconcile->cursor < json_array_size(reconcile->objects))
        return step_started(catalog_get_object(
            reconcile->options->catalog, object_field(reconcile, 0), reconcile->namespace_name,
            object_field(reconcile, 1), object_read, reconcile, &reconcile->operation));
    sha256_final(reconcile->inputs, reconcile->inputs_hex);
    return step_next();
}
