/* Choosing, copying and sending modules: a zygote that is started again gets the same ones. */
#include "lua/transform_modules.h"

#include <stdlib.h>

#include "base/json.h"

static bool is_for_transforms(const struct lua_module *module)
{
    return module->kind == LUA_TRANSFORM || module->kind == LUA_LIBRARY;
}

struct error *transform_modules_copy(const struct lua_module_set *modules,
                                     struct lua_module_set **copy)
{
    _cleanup_(lua_modules) struct lua_module_set *made = calloc(1, sizeof(*made));

    *copy = NULL;
    if (!made)
        return error_out_of_memory();
    for (size_t i = 0; modules && i < modules->count; i++) {
        const struct lua_module *module = &modules->modules[i];

        if (!is_for_transforms(module))
            continue;
        struct error *error = lua_modules_add(made, module->kind, module->name, module->origin,
                                              module->text, module->length);

        if (error)
            return error;
    }
    *copy = TAKE(made);
    return NULL;
}

struct error *transform_modules_send(const struct lua_module_set *modules, struct channel *channel)
{
    for (size_t i = 0; i < modules->count; i++) {
        const struct lua_module *module = &modules->modules[i];
        _cleanup_(json) json_t *json = json_pack("{s:s, s:s, s:s, s:s}", "type", "module", "kind",
                                                 lua_module_kind_name(module->kind), "name",
                                                 module->name, "origin", module->origin);

        if (!json)
            return error_out_of_memory();
        struct error *error = channel_send(channel, json, module->text, module->length, NULL, 0);

        if (error)
            return error;
    }
    return NULL;
}

struct error *transform_modules_missing(const struct lua_module_set *modules, const char *label,
                                        const char *name)
{
    _cleanup_(buffer) struct buffer names = BUFFER_INIT;

    for (size_t i = 0; i < modules->count; i++) {
        if (modules->modules[i].kind == LUA_TRANSFORM)
            buffer_appendf(&names, "%s%s", names.length ? ", " : "", modules->modules[i].name);
    }
    return error_new(ERROR_CONFIGURATION, "InvalidSpec",
                     "hook '%s': there is no transform module '%s'; %s%s", label ? label : "", name,
                     names.length ? "there are: " : "there are none", buffer_string(&names));
}
