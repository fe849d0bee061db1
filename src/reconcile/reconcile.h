/*
 * The reconciler: makes what a source's manifest asks for true, again and again.
 *
 * A reconcile is a walk down a table of phases (phases.c), each a step function that starts at most
 * one asynchronous operation. The reconciler owns the queue of sources, one reconcile for each that
 * runs, and nothing else: it does not know whether the catalog is a cluster or a directory, which
 * storage is used, or which generators exist.
 */
#ifndef SLUICE_RECONCILE_RECONCILE_H
#define SLUICE_RECONCILE_RECONCILE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/log.h"
#include "catalog/catalog.h"
#include "lua/runtime.h"
#include "metrics/metrics.h"
#include "reconcile/schedule.h"
#include "source/source.h"
#include "storage/storage.h"

struct reconciler;

/* What the reconciler works with; all of it outlives the reconciler. */
struct reconciler_options {
    uv_loop_t *loop;
    struct log *log;
    const struct clock *clock;
    struct metrics *metrics;
    struct blob_store *blobs;
    struct catalog *catalog;
    struct storage *storage;
    struct lua_runtime *lua;
    const char *artifact_base_url; /* "http://127.0.0.1:8080", before "/artifacts/…" */
    struct backoff backoff;
    unsigned concurrency; /* reconciles at once */
    bool once; /* reconcile each source once, whether it is due or not, and never again */
    /* Asked before each write to storage: false once another replica may lead. */
    bool (*may_write)(void *context);
    /* A reconcile ended: the source with the status that now stands (valid during the call). NULL,
     * or: */
    void (*reconciled)(void *context, const struct source *source,
                       const struct source_status *status);
    /* A reconcile could not read its source, or could not write its outcome, which then does not
     * stand anywhere. NULL, or called instead of `reconciled`: */
    void (*unreported)(void *context, const char *namespace_name, const char *name,
                       const struct error *error);
    /* Every source that the catalog told of has been reconciled and none is left (with `once`). */
    void (*idle)(void *context);
    void *context;
};

struct reconciler *reconciler_new(const struct reconciler_options *options); /* NULL: no memory */

/* What the catalog tells: for struct catalog_listener, with the reconciler as context. Sources are
 * queued before the start too. */
void reconciler_source_changed(void *reconciler, const char *namespace_name, const char *name,
                               bool deleting);
void reconciler_source_gone(void *reconciler, const char *namespace_name, const char *name);

/* Begins to reconcile. With `once`, every source must have been told. */
void reconciler_start(struct reconciler *reconciler);

/* Looks at every source again, spread over a time that grows with their number: after the modules
 * have changed. Those that nothing changed for ask nothing of upstream. */
void reconciler_wake_all(struct reconciler *reconciler);

/* Begins no more reconciles; `stopped` is called on the loop when none is left, at the latest after
 * `grace_ms`, when those still running are cancelled. */
struct error *reconciler_stop(struct reconciler *reconciler, int64_t grace_ms,
                              void (*stopped)(void *context), void *context)
    __attribute__((warn_unused_result));

/* Cancels what still runs and frees. The loop must run once more, to close handles. */
void reconciler_free(struct reconciler *reconciler);

#endif
