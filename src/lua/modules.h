/*
 * Lua modules as text: what ships in the program, what a --lua-path directory holds, what the
 * catalog knows; later layers win by kind and name. A set is immutable once it is loaded into a
 * generation.
 */
#ifndef SLUICE_LUA_MODULES_H
#define SLUICE_LUA_MODULES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/error.h"

#define LUA_MODULE_MAX ((size_t)1 << 20) /* bytes of one module's text */

enum lua_module_kind {
    LUA_RUNTIME, /* lua/NAME.lua: the interface that modules build on; ships, never replaced */
    LUA_GENERATOR,
    LUA_POLICY,
    LUA_TRANSFORM,
    LUA_LIBRARY,
};

struct lua_module {
    enum lua_module_kind kind;
    char *name;   /* [a-z0-9]([-_a-z0-9]*) */
    char *origin; /* "generators/http.lua", "ConfigMap ops/lua key weather.lua": for messages */
    char *text;   /* `length` bytes and a NUL */
    size_t length;
    char digest[SHA256_HEX_SIZE]; /* of the text */
};

struct lua_module_set {
    struct lua_module *modules; /* sorted by kind and name */
    size_t count;
};

/* A set with the modules that ship inside the program. */
struct error *lua_modules_shipped(struct lua_module_set **set) __attribute__((warn_unused_result));

/* Adds a module or replaces the one of that kind and name. A bad name, a text over LUA_MODULE_MAX,
 * one that is precompiled (begins with ESC) or a replaced LUA_RUNTIME module: ERROR_CONFIGURATION,
 * InvalidModule, naming `origin`. */
struct error *lua_modules_add(struct lua_module_set *set, enum lua_module_kind kind,
                              const char *name, const char *origin, const char *text, size_t length)
    __attribute__((warn_unused_result));

/* Which files of a directory are left out, and what is done about those that cannot be modules. */
struct lua_module_filter {
    bool (*skip)(void *context, const char *origin);
    /* Returns NULL to go on without it. */
    struct error *(*refuse)(void *context, const char *origin, const struct error *error);
    void *context;
};

/* Adds generators/, policies/, transforms/ and libraries/ of a --lua-path directory; names that
 * begin with
 * ".." are skipped (a mounted ConfigMap's own links), other files than NAME.lua too. A directory
 * that is not there: ERROR_CONFIGURATION, FileNotFound. */
struct error *lua_modules_add_directory(struct lua_module_set *set, const char *directory,
                                        const struct lua_module_filter *filter)
    __attribute__((warn_unused_result));

const struct lua_module *lua_modules_find(const struct lua_module_set *set,
                                          enum lua_module_kind kind, const char *name);

/* Whether both hold the same modules with the same texts and origins; either may be NULL, which
 * only NULL equals. */
bool lua_modules_equal(const struct lua_module_set *a, const struct lua_module_set *b);

/* "generator", "policy", ... as the label and messages say it; false if unknown. */
const char *lua_module_kind_name(enum lua_module_kind kind);
bool lua_module_kind_parse(const char *text, enum lua_module_kind *kind);

void lua_modules_free(struct lua_module_set *set);

CLEANUP_DEFINE(lua_modules, struct lua_module_set *, lua_modules_free)

#endif
