/*
 * The engine: the parts that every command which reconciles needs, put together in one place. It
 * owns them all and ends them in the reverse order. What differs between commands is the catalog.
 */
#ifndef SLUICE_CMD_ENGINE_H
#define SLUICE_CMD_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/log.h"
#include "catalog/catalog.h"
#include "cmd/module_loader.h"
#include "cmd/settings.h"
#include "http/client.h"
#include "http/egress.h"
#include "http/server.h"
#include "lua/runtime.h"
#include "metrics/metrics.h"
#include "reconcile/reconcile.h"
#include "storage/storage.h"

enum engine_server { ENGINE_ARTIFACTS, ENGINE_METRICS, ENGINE_HEALTH, ENGINE_SERVERS };

struct engine {
    const struct settings *settings;
    uv_loop_t loop;
    struct log *log;
    struct blob_store *blobs;
    struct metrics *metrics;
    struct storage *storage;
    struct egress_floor *floor;
    struct http_client *http;
    struct catalog *catalog; /* the engine's from engine_start on */
    struct lua_runtime *lua;
    struct reconciler *reconciler;
    struct http_server *servers[ENGINE_SERVERS];
    char *artifact_base_url;
    struct module_loader *modules;
    uv_timer_t trim;        /* gives memory back */
    size_t most_used;       /* bytes allocated at most since it last did */
    uv_signal_t signals[2]; /* SIGTERM, SIGINT */
    atomic_bool ready;      /* what /readyz says; read by the server's thread */
    bool loaded;            /* the catalog is there and the modules have loaded */
    bool leading;           /* we may reconcile; true from the start where nobody competes */
    bool stopping;
    bool failed; /* it could not start */
    /* What a command adds; each may be NULL: */
    void (*reconciled)(void *context, const struct source *source,
                       const struct source_status *status);
    void (*unreported)(void *context, const char *namespace_name, const char *name,
                       const struct error *error);
    void (*stopped)(void *context); /* nothing is reconciled any more: engine_finish must follow */
    bool (*may_write)(void *context);  /* asked before each write to storage; NULL: always */
    void (*free_parts)(void *context); /* nothing of the engine uses the catalog any more */
    void *context;                     /* of all of these */
};

/* Makes what does not depend on the catalog: loop, log, blobs, metrics. `settings` outlives the
 * engine. engine_free must follow, also on failure. */
struct error *engine_init(struct engine *engine, const struct settings *settings)
    __attribute__((warn_unused_result));

/* Makes the rest over `catalog` (owned from here on), starts it, loads the Lua modules and, when
 * these have loaded and we lead, begins to reconcile. With settings->once the loop ends by itself.
 */
struct error *engine_start(struct engine *engine, struct catalog *catalog)
    __attribute__((warn_unused_result));

/* For engine_start alone (engine_servers.c): starts the servers, and names the base URL of
 * artifacts, which may depend on where they listen. */
struct error *engine_start_servers(struct engine *engine) __attribute__((warn_unused_result));
struct error *engine_name_base_url(struct engine *engine) __attribute__((warn_unused_result));

/* We lead from now on. */
void engine_lead(struct engine *engine);

/* Begins no more reconciles, cancels after `grace_ms` what still runs, and ends the loop. */
void engine_stop(struct engine *engine, int64_t grace_ms);

/* Any 64 bits; for struct backoff and the like, which need no context. */
uint64_t engine_random(void *context);

/* Ends the loop. */
void engine_finish(struct engine *engine);

/* Runs the loop until the work is done (once) or SIGTERM or SIGINT has come and what was running
 * has ended. */
void engine_run(struct engine *engine);

void engine_free(struct engine *engine);

#endif
