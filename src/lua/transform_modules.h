/* The modules that transforms may use, as a transformer keeps them and sends them to its zygote. */
#ifndef SLUICE_LUA_TRANSFORM_MODULES_H
#define SLUICE_LUA_TRANSFORM_MODULES_H

#include "lua/channel.h"
#include "lua/modules.h"

/* A copy with the transform and library modules of `modules` alone. NULL modules: none. */
struct error *transform_modules_copy(const struct lua_module_set *modules,
                                     struct lua_module_set **copy)
    __attribute__((warn_unused_result));

/* Queues a frame for each module (zygote.h). */
struct error *transform_modules_send(const struct lua_module_set *modules, struct channel *channel)
    __attribute__((warn_unused_result));

/* ERROR_CONFIGURATION, InvalidSpec: there is no transform module `name`, but these. */
struct error *transform_modules_missing(const struct lua_module_set *modules, const char *label,
                                        const char *name)
    __attribute__((returns_nonnull, warn_unused_result));

#endif
