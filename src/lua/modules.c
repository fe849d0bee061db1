/* See modules.h. A set is a sorted array: it is built once and then only searched. */
#include "lua/modules.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/file.h"
#include "lua/shipped.h"

#define NAME_MAX_LENGTH 63

static const char *const kind_names[] = {
    [LUA_RUNTIME] = "runtime",     [LUA_GENERATOR] = "generator", [LUA_POLICY] = "policy",
    [LUA_TRANSFORM] = "transform", [LUA_LIBRARY] = "library",
};

const char *lua_module_kind_name(enum lua_module_kind kind)
{
    return kind_names[kind];
}

/* Runtime modules ship; nobody gives them by name. */
bool lua_module_kind_parse(const char *text, enum lua_module_kind *kind)
{
    for (size_t i = LUA_GENERATOR; i < sizeof(kind_names) / sizeof(kind_names[0]); i++) {
        if (strcmp(text, kind_names[i]) == 0) {
            *kind = (enum lua_module_kind)i;
            return true;
        }
    }
    return false;
}

static bool name_valid(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > NAME_MAX_LENGTH ||
        (!islower((unsigned char)name[0]) && !isdigit((unsigned char)name[0])))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) &&
            name[i] != '-' && name[i] != '_')
            return false;
    }
    return true;
}

static int compare(enum lua_module_kind kind, const char *name, const struct lua_module *module)
{
    return kind != module->kind ? (kind < module->kind ? -1 : 1) : strcmp(name, module->name);
}

/* Where the module is, or where it belongs. */
static size_t position_of(const struct lua_module_set *set, enum lua_module_kind kind,
                          const char *name)
{
    size_t low = 0;
    size_t high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(kind, name, &set->modules[middle]) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct lua_module *lua_modules_find(const struct lua_module_set *set,
                                          enum lua_module_kind kind, const char *name)
{
    size_t position = position_of(set, kind, name);

    if (position == set->count || compare(kind, name, &set->modules[position]) != 0)
        return NULL;
    return &set->modules[position];
}

static void module_clear(struct lua_module *module)
{
    free(module->name);
    free(module->origin);
    free(module->text);
}

static struct error *refuse(const char *origin, const char *what)
{
    return error_new(ERROR_CONFIGURATION, "InvalidModule", "%s: %s", origin, what);
}

static struct error *check(const struct lua_module_set *set, enum lua_module_kind kind,
                           const char *name, const char *origin, const char *text, size_t length)
{
    if (!name_valid(name))
        return refuse(origin, "a module's name has lower-case letters, digits, '-' and '_' only");
    if (length > LUA_MODULE_MAX)
        return refuse(origin, "larger than the 1 MiB that a module may have");
    if (length > 0 && text[0] == '\x1b')
        return refuse(origin, "is precompiled; accepted: Lua source");
    if (kind == LUA_RUNTIME && lua_modules_find(set, kind, name))
        return refuse(origin, "a runtime module cannot be replaced");
    return NULL;
}

static struct error *insert(struct lua_module_set *set, const struct lua_module *module)
{
    size_t position = position_of(set, module->kind, module->name);
    bool replaces =
        position < set->count && compare(module->kind, module->name, &set->modules[position]) == 0;

    if (replaces) {
        module_clear(&set->modules[position]);
        set->modules[position] = *module;
        return NULL;
    }
    struct lua_module *modules = reallocarray(set->modules, set->count + 1, sizeof(*modules));
    if (!modules)
        return error_out_of_memory();
    set->modules = modules;
    memmove(&modules[position + 1], &modules[position], (set->count - position) * sizeof(*modules));
    modules[position] = *module;
    set->count++;
    return NULL;
}

struct error *lua_modules_add(struct lua_module_set *set, enum lua_module_kind kind,
                              const char *name, const char *origin, const char *text, size_t length)
{
    struct error *error = check(set, kind, name, origin, text, length);
    struct lua_module module = {.kind = kind, .length = length};

    if (error)
        return error;
    module.name = strdup(name);
    module.origin = strdup(origin);
    module.text = malloc(length + 1);
    if (module.name && module.origin && module.text) {
        memcpy(module.text, text, length);
        module.text[length] = '\0';
        sha256_hex(text, length, module.digest);
        error = insert(set, &module);
    } else {
        error = error_out_of_memory();
    }
    if (error)
        module_clear(&module);
    return error;
}

static const struct {
    const char *prefix;
    enum lua_module_kind kind;
} folders[] = {
    {"lua/", LUA_RUNTIME},          {"generators/", LUA_GENERATOR}, {"policies/", LUA_POLICY},
    {"transforms/", LUA_TRANSFORM}, {"libraries/", LUA_LIBRARY},
};

static const size_t folder_count = sizeof(folders) / sizeof(folders[0]);

/* The NAME of "NAME.lua" in fresh memory; NULL if it is not of that form, or without memory. */
static char *module_name(const char *file)
{
    size_t length = strlen(file);

    return length > 4 && strcmp(file + length - 4, ".lua") == 0 ? strndup(file, length - 4) : NULL;
}

static struct error *add_shipped(struct lua_module_set *set, const struct shipped_file *file)
{
    for (size_t i = 0; i < folder_count; i++) {
        size_t length = strlen(folders[i].prefix);

        if (strncmp(file->path, folders[i].prefix, length) != 0)
            continue;
        _cleanup_(free) char *name = module_name(file->path + length);
        if (!name)
            return error_out_of_memory();
        return lua_modules_add(set, folders[i].kind, name, file->path, file->text, file->length);
    }
    return NULL;
}

struct error *lua_modules_shipped(struct lua_module_set **set)
{
    struct error *error = NULL;

    *set = calloc(1, sizeof(**set));
    if (!*set)
        return error_out_of_memory();
    for (size_t i = 0; !error && i < shipped_file_count; i++)
        error = add_shipped(*set, &shipped_files[i]);
    if (error)
        lua_modules_free(TAKE(*set));
    return error;
}

static struct error *read_file(struct lua_module_set *set, enum lua_module_kind kind,
                               const char *name, const char *path)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    struct error *error = file_read(path, LUA_MODULE_MAX, &text);

    return error ? error
                 : lua_modules_add(set, kind, name, path, buffer_string(&text), text.length);
}

static struct error *add_file(struct lua_module_set *set, enum lua_module_kind kind,
                              const char *folder, const char *file,
                              const struct lua_module_filter *filter)
{
    _cleanup_(free) char *name = module_name(file);
    _cleanup_(free) char *path = path_join(folder, file);
    _cleanup_(error) struct error *error = NULL;

    /* A mounted ConfigMap's own links begin with "..". */
    if (!name || strncmp(file, "..", 2) == 0)
        return NULL;
    if (!path)
        return error_out_of_memory();
    if (filter->skip(filter->context, path))
        return NULL;
    error = read_file(set, kind, name, path);
    if (!error || error->kind == ERROR_INTERNAL)
        return TAKE(error);
    return filter->refuse(filter->context, path, error);
}

static struct error *add_folder(struct lua_module_set *set, enum lua_module_kind kind,
                                const char *path, const struct lua_module_filter *filter)
{
    _cleanup_(directory) DIR *directory = opendir(path);
    struct error *error = NULL;
    const struct dirent *item;

    if (!directory && errno != ENOENT)
        return error_from_errno(ERROR_CONFIGURATION, "FileNotFound", errno, "%s", path);
    while (!error && directory && (item = readdir(directory)))
        error = add_file(set, kind, path, item->d_name, filter);
    return error;
}

struct error *lua_modules_add_directory(struct lua_module_set *set, const char *directory,
                                        const struct lua_module_filter *filter)
{
    struct error *error = NULL;
    struct stat found;

    if (stat(directory, &found) != 0 || !S_ISDIR(found.st_mode))
        return error_new(ERROR_CONFIGURATION, "FileNotFound", "%s: no such directory", directory);
    for (size_t i = 0; !error && i < folder_count; i++) {
        if (folders[i].kind == LUA_RUNTIME)
            continue;
        _cleanup_(free) char *folder = path_join(directory, folders[i].prefix);
        if (!folder)
            return error_out_of_memory();
        folder[strlen(folder) - 1] = '\0'; /* without the final slash */
        error = add_folder(set, folders[i].kind, folder, filter);
    }
    return error;
}

bool lua_modules_equal(const struct lua_module_set *a, const struct lua_module_set *b)
{
    if (!a || !b || a->count != b->count)
        return a == b;
    for (size_t i = 0; i < a->count; i++) {
        const struct lua_module *left = &a->modules[i];
        const struct lua_module *right = &b->modules[i];

        if (left->kind != right->kind || strcmp(left->name, right->name) != 0 ||
            strcmp(left->origin, right->origin) != 0 || strcmp(left->digest, right->digest) != 0)
            return false;
    }
    return true;
}

void lua_modules_free(struct lua_module_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++)
        module_clear(&set->modules[i]);
    free(set->modules);
    free(set);
}
