/*
 * One load is a loop over collect and load: each time a module is refused its origin joins
 * `refused`, and the set is collected again without it, until what is left loads. See
 * module_loader.h.
 */
#include "cmd/module_loader.h"

#include <stdlib.h>
#include <string.h>

#include "base/operation.h"

#define QUIET_MS 100

struct module_loader {
    struct module_loader_options options;
    uv_timer_t *quiet;
    struct operation *loading;
    bool started;
    bool loaded; /* once */
    bool again;  /* something changed while we loaded */
    char **refused;
    size_t refused_count;
};

static bool is_refused(void *context, const char *origin)
{
    const struct module_loader *loader = context;

    for (size_t i = 0; i < loader->refused_count; i++) {
        if (strcmp(loader->refused[i], origin) == 0)
            return true;
    }
    return false;
}

static void clear_refused(struct module_loader *loader)
{
    for (size_t i = 0; i < loader->refused_count; i++)
        free(loader->refused[i]);
    free(TAKE(loader->refused));
    loader->refused_count = 0;
}

/* Tells whoever can mend it, and leaves `origin` out from now on. */
static struct error *refuse(void *context, const char *origin, const struct error *error)
{
    struct module_loader *loader = context;
    const struct module_loader_options *options = &loader->options;
    char **grown = reallocarray(loader->refused, loader->refused_count + 1, sizeof(char *));
    char *copy = strdup(origin);

    if (grown)
        loader->refused = grown;
    if (!grown || !copy) {
        free(copy);
        return error_out_of_memory();
    }
    grown[loader->refused_count++] = copy;
    log_error(options->log, NULL, error, "a Lua module does not load and is left out", "origin",
              origin, NULL);
    metrics_add(options->metrics, &metric_module_refused_total, (const char *[]){origin}, 1);
    catalog_module_refused(options->catalog, origin, error);
    return NULL;
}

static struct error *add_directories(struct module_loader *loader, struct lua_module_set *set)
{
    const struct lua_module_filter filter = {is_refused, refuse, loader};

    for (size_t i = 0; i < loader->options.path_count; i++) {
        const char *path = loader->options.paths[i];

        if (is_refused(loader, path))
            continue;
        _cleanup_(error) struct error *error =
            error_wrap(lua_modules_add_directory(set, path, &filter), "--lua-path");
        if (error && error->kind != ERROR_CONFIGURATION)
            return TAKE(error);
        struct error *failed = error ? refuse(loader, path, error) : NULL;
        if (failed)
            return failed;
    }
    return NULL;
}

/* What is wrong with modules[index] before anybody looks at its text; NULL for nothing. A second
 * one of a kind and name is refused: nobody takes another's place, least of all a policy's, unseen.
 */
static struct error *fault_of(const struct catalog_module *modules, size_t index,
                              enum lua_module_kind *kind)
{
    const struct catalog_module *module = &modules[index];

    if (!lua_module_kind_parse(module->kind, kind))
        return error_new(ERROR_CONFIGURATION, "InvalidModule",
                         "%s: label " LABEL_LUA ": found '%s'; accepted: generator, policy, "
                         "transform or library",
                         module->origin, module->kind);
    for (size_t i = 0; i < index; i++) {
        if (strcmp(modules[i].kind, module->kind) == 0 &&
            strcmp(modules[i].name, module->name) == 0)
            return error_new(ERROR_CONFIGURATION, "InvalidModule",
                             "%s: there is a %s '%s' already, from %s; rename one of them",
                             module->origin, module->kind, module->name, modules[i].origin);
    }
    return NULL;
}

static struct error *add_from_catalog(struct module_loader *loader, struct lua_module_set *set,
                                      const struct catalog_module *modules, size_t index)
{
    const struct catalog_module *module = &modules[index];
    enum lua_module_kind kind;

    if (is_refused(loader, module->origin))
        return NULL;
    _cleanup_(error) struct error *error = fault_of(modules, index, &kind);
    if (!error)
        error =
            lua_modules_add(set, kind, module->name, module->origin, module->text, module->length);
    if (!error || error->kind != ERROR_CONFIGURATION)
        return TAKE(error);
    return refuse(loader, module->origin, error);
}

static struct error *add_catalog(struct module_loader *loader, struct lua_module_set *set)
{
    size_t count;
    const struct catalog_module *modules = catalog_modules(loader->options.catalog, &count);

    for (size_t i = 0; i < count; i++) {
        struct error *error = add_from_catalog(loader, set, modules, i);

        if (error)
            return error;
    }
    return NULL;
}

/* What was refused keeps its last good text, if it had one. */
static struct error *keep_last_good(struct module_loader *loader, struct lua_module_set *set)
{
    const struct lua_module_set *current = lua_runtime_modules(loader->options.lua);

    for (size_t i = 0; current && i < current->count; i++) {
        const struct lua_module *module = &current->modules[i];

        if (!is_refused(loader, module->origin))
            continue;
        struct error *error = lua_modules_add(set, module->kind, module->name, module->origin,
                                              module->text, module->length);
        if (error)
            return error;
    }
    return NULL;
}

static struct error *collect(struct module_loader *loader, struct lua_module_set **set)
{
    struct error *error = lua_modules_shipped(set);

    if (!error)
        error = add_directories(loader, *set);
    if (!error)
        error = add_catalog(loader, *set);
    if (!error)
        error = keep_last_good(loader, *set);
    if (error)
        lua_modules_free(TAKE(*set));
    return error;
}

static void begin(struct module_loader *loader);
static void finish(struct module_loader *loader, struct error *error);

static void on_loaded(void *context, struct error *error, const char *origin)
{
    struct module_loader *loader = context;

    loader->loading = NULL;
    if (!error || !origin || is_refused(loader, origin)) {
        finish(loader, error);
        return;
    }
    struct error *failed = refuse(loader, origin, error);
    error_free(error);
    if (failed)
        finish(loader, failed);
    else
        begin(loader);
}

static void begin(struct module_loader *loader)
{
    struct lua_module_set *set = NULL;
    struct error *error = collect(loader, &set);
    bool changed = !error && !lua_modules_equal(set, lua_runtime_modules(loader->options.lua));

    if (!error && changed)
        error =
            lua_runtime_load(loader->options.lua, TAKE(set), on_loaded, loader, &loader->loading);
    if (error)
        finish(loader, error);
    lua_modules_free(set);
}

static void finish(struct module_loader *loader, struct error *error)
{
    const struct module_loader_options *options = &loader->options;

    if (!loader->loaded) {
        loader->loaded = !error;
        options->loaded(options->context, error);
    } else if (error) {
        log_error(options->log, NULL, error,
                  "Lua modules cannot be loaded again; the last ones go on", NULL);
        error_free(error);
    } else {
        log_info(options->log, NULL, "Lua modules were loaded again", NULL);
        options->reloaded(options->context);
    }
    if (loader->again)
        module_loader_changed(loader);
}

static void on_quiet(uv_timer_t *timer)
{
    struct module_loader *loader = timer->data;

    loader->again = loader->loading != NULL;
    if (loader->again)
        return;
    clear_refused(loader);
    begin(loader);
}

struct module_loader *module_loader_new(const struct module_loader_options *options)
{
    struct module_loader *loader = calloc(1, sizeof(*loader));

    if (!loader)
        return NULL;
    loader->options = *options;
    loader->quiet = calloc(1, sizeof(uv_timer_t));
    if (!loader->quiet) {
        free(loader);
        return NULL;
    }
    uv_timer_init(options->loop, loader->quiet);
    loader->quiet->data = loader;
    return loader;
}

void module_loader_start(struct module_loader *loader)
{
    loader->started = true;
    begin(loader);
}

void module_loader_changed(struct module_loader *loader)
{
    if (loader->started)
        uv_timer_start(loader->quiet, on_quiet, QUIET_MS, 0);
}

bool module_loader_refused(const struct module_loader *loader)
{
    return loader->refused_count > 0;
}

static void quiet_closed(uv_handle_t *handle)
{
    free(handle);
}

void module_loader_free(struct module_loader *loader)
{
    if (!loader)
        return;
    operation_cancel(&loader->loading);
    uv_close((uv_handle_t *)loader->quiet, quiet_closed);
    clear_refused(loader);
    free(loader);
}
