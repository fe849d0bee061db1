/*
 * The Lua modules of a running program: collected from their three layers (shipped, --lua-path
 * directories, the catalog), loaded at the start and loaded again when they change.
 *
 * One module that does not load must not keep the others away: it is told (log, metric, event), its
 * last good text stays, or the layer below, and the rest is loaded. Of two in the catalog with one
 * name the first is used, and the other refused. Changes that come together are read once, after a
 * moment of quiet. Design: "Hot reload".
 */
#ifndef SLUICE_CMD_MODULE_LOADER_H
#define SLUICE_CMD_MODULE_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/log.h"
#include "catalog/catalog.h"
#include "lua/runtime.h"
#include "metrics/metrics.h"

struct module_loader;

/* All of it must outlive the loader. */
struct module_loader_options {
    uv_loop_t *loop;
    struct log *log;
    struct metrics *metrics;
    struct catalog *catalog;
    struct lua_runtime *lua;
    const char *const *paths; /* --lua-path directories */
    size_t path_count;
    /* The first load has ended; `error` (owned by the receiver) where not even what ships loads. */
    void (*loaded)(void *context, struct error *error);
    void (*reloaded)(void *context); /* a later one has, with changes */
    void *context;
};

struct module_loader *module_loader_new(const struct module_loader_options *options); /* NULL: no
                                                                                          memory */

/* Loads for the first time. */
void module_loader_start(struct module_loader *loader);

/* Something in a layer may have changed: it is read again soon. Before the start nothing happens.
 */
void module_loader_changed(struct module_loader *loader);

/* Whether any module was refused at the last load. */
bool module_loader_refused(const struct module_loader *loader);

/* Cancels what it does and frees. The loop must run once more. NULL is fine. */
void module_loader_free(struct module_loader *loader);

#endif
