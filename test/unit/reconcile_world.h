/*
 * The reconciler for tests: a catalog in memory that the test scripts, real storage in memory
 * behind a journal, and a real Lua runtime with one generator whose answers the manifest lists.
 *
 * The generator `script` takes its section's `answers` one after the other, the last one again and
 * again: {data, token, unless, error, seconds}. `unless` is the token with which upstream would say
 * "not modified". What it was asked with is logged as "asked with TOKEN".
 */
#ifndef SLUICE_TEST_RECONCILE_WORLD_H
#define SLUICE_TEST_RECONCILE_WORLD_H

#include "lua_world.h"
#include "metrics/metrics.h"
#include "reconcile/reconcile.h"
#include "source/condition.h"
#include "storage/storage.h"

#define RECONCILE_WORLD_GENERATOR                                                                  \
    "local count = {}\n"                                                                           \
    "return { type = 'script', generate = function(ctx, config)\n"                                 \
    "  local key = ctx.source.namespace .. '/' .. ctx.source.name .. '/' .. "                      \
    "ctx.source.generation\n"                                                                      \
    "  count[key] = (count[key] or 0) + 1\n"                                                       \
    "  log.info('asked with ' .. (ctx.last_modified or 'no token'))\n"                             \
    "  local answers = config.answers\n"                                                           \
    "  local answer = answers[math.min(count[key], #answers)]\n"                                   \
    "  if answer.seconds then time.sleep(answer.seconds) end\n"                                    \
    "  if answer.error then error(answer.error) end\n"                                             \
    "  if answer.unless and answer.unless == ctx.last_modified then return ctx.not_modified end\n" \
    "  return { data = answer.data, last_modified = answer.token, metadata = answer.metadata }\n"  \
    "end }\n"

/* Real storage, whose calls stand in the script's journal and meet its faults. */
struct storage_world {
    struct storage storage; /* first: see storage.h */
    struct script *script;
    struct storage *inner;
};

struct reconcile_world {
    struct lua_world *lua;
    struct storage_world storage;
    struct metrics *metrics;
    struct reconciler *reconciler;
    unsigned reconciled; /* calls of the option of that name */
    unsigned idle;
    unsigned stopped;
    uint64_t random; /* what the backoff draws */
};

/* A call of storage on its way: to a fault, or to the real storage. */
struct storage_call {
    struct operation operation;
    struct operation *inner; /* deferred, and then the real storage's */
    struct storage_world *world;
    const char *verb;
    char *key;
    struct blob *blob;
    void (*done)(void);
    void *context;
};

static inline void storage_call_free(struct storage_call *call)
{
    blob_unref(call->blob);
    free(call->key);
    free(call);
}

static inline void storage_call_cancel(struct operation *operation)
{
    struct storage_call *call =
        (struct storage_call *)((char *)operation - offsetof(struct storage_call, operation));

    operation_cancel(&call->inner);
    storage_call_free(call);
}

static inline void storage_call_note(struct storage_call *call, struct error *error)
{
    _cleanup_(free) char *verb = format_string("%s%s", call->verb, error ? " failed" : "");

    script_note(call->world->script, verb, "");
}

static inline void storage_object_came(void *context, struct error *error,
                                       const struct storage_object *object)
{
    struct storage_call *call = context;

    call->inner = NULL;
    storage_call_note(call, error);
    ((storage_object_done)call->done)(call->context, error, object);
    storage_call_free(call);
}

static inline void storage_removed(void *context, struct error *error)
{
    struct storage_call *call = context;

    call->inner = NULL;
    storage_call_note(call, error);
    ((storage_done)call->done)(call->context, error);
    storage_call_free(call);
}

static inline void storage_listed(void *context, struct error *error, const char *const *keys,
                                  size_t count)
{
    struct storage_call *call = context;

    call->inner = NULL;
    storage_call_note(call, error);
    ((storage_list_done)call->done)(call->context, error, keys, count);
    storage_call_free(call);
}

static inline void storage_call_go(struct deferred *deferred, struct error *fault)
{
    struct storage_call *call = deferred->world;
    struct storage *inner = call->world->inner;

    call->inner = NULL;
    if (strcmp(call->verb, "put") == 0) {
        if (fault)
            storage_object_came(call, fault, NULL);
        else
            assert_null(
                storage_put(inner, call->key, call->blob, storage_object_came, call, &call->inner));
    } else if (strcmp(call->verb, "stat") == 0) {
        if (fault)
            storage_object_came(call, fault, NULL);
        else
            assert_null(storage_stat(inner, call->key, storage_object_came, call, &call->inner));
    } else if (strcmp(call->verb, "remove") == 0) {
        if (fault)
            storage_removed(call, fault);
        else
            assert_null(storage_remove(inner, call->key, storage_removed, call, &call->inner));
    } else if (fault) {
        storage_listed(call, fault, NULL, 0);
    } else {
        assert_null(storage_list(inner, call->key, storage_listed, call, &call->inner));
    }
}

static inline struct error *storage_begin(struct storage *storage, const char *verb,
                                          const char *key, struct blob *blob, void (*done)(void),
                                          void *context, struct operation **operation)
{
    struct storage_call *call = calloc(1, sizeof(*call));

    call->world = (struct storage_world *)storage;
    call->verb = verb;
    call->key = strdup(key);
    call->blob = blob ? blob_ref(blob) : NULL;
    call->done = done;
    call->context = context;
    call->operation.cancel = storage_call_cancel;
    script_call(call->world->script, verb, storage_call_go, call, NULL, NULL, &call->inner);
    *operation = &call->operation;
    return NULL;
}

static inline struct error *storage_world_put(struct storage *storage, const char *key,
                                              struct blob *blob, storage_object_done done,
                                              void *context, struct operation **operation)
{
    return storage_begin(storage, "put", key, blob, (void (*)(void))done, context, operation);
}

static inline struct error *storage_world_stat(struct storage *storage, const char *key,
                                               storage_object_done done, void *context,
                                               struct operation **operation)
{
    return storage_begin(storage, "stat", key, NULL, (void (*)(void))done, context, operation);
}

static inline struct error *storage_world_remove(struct storage *storage, const char *key,
                                                 storage_done done, void *context,
                                                 struct operation **operation)
{
    return storage_begin(storage, "remove", key, NULL, (void (*)(void))done, context, operation);
}

static inline struct error *storage_world_list(struct storage *storage, const char *prefix,
                                               storage_list_done done, void *context,
                                               struct operation **operation)
{
    return storage_begin(storage, "list", prefix, NULL, (void (*)(void))done, context, operation);
}

static const struct storage_ops storage_world_ops = {
    .name = "scripted",
    .put = storage_world_put,
    .stat = storage_world_stat,
    .remove = storage_world_remove,
    .list = storage_world_list,
};

static inline uint64_t reconcile_world_draw(void *context)
{
    return ((struct reconcile_world *)context)->random;
}

static inline struct reconcile_world *reconcile_world_new(void)
{
    struct reconcile_world *world = calloc(1, sizeof(*world));
    struct lua_module_set *set = modules_shipped();

    modules_add(set, LUA_GENERATOR, "script", RECONCILE_WORLD_GENERATOR);
    world->lua = lua_world_new(set);
    world->storage.storage.ops = &storage_world_ops;
    world->storage.script = &world->lua->script;
    assert_null(storage_memory_new(&world->lua->loop, &world->storage.inner));
    world->metrics = metrics_new();
    world->random = UINT64_C(1) << 40;
    return world;
}

static inline void reconcile_world_free(struct reconcile_world *world)
{
    reconciler_free(world->reconciler);
    storage_free(world->storage.inner);
    metrics_free(world->metrics);
    lua_world_free(world->lua);
    free(world);
}

static inline void on_reconciled(void *context, const struct source *source,
                                 const struct source_status *status)
{
    (void)source;
    (void)status;
    ((struct reconcile_world *)context)->reconciled++;
}

static inline void on_idle_(void *context)
{
    ((struct reconcile_world *)context)->idle++;
}

static inline void on_stopped(void *context)
{
    ((struct reconcile_world *)context)->stopped++;
}

/* A new reconciler over what is there, as after a restart of the program. */
static inline void reconciler_begin(struct reconcile_world *world, bool once)
{
    struct reconciler_options options = {
        .loop = &world->lua->loop,
        .log = world->lua->log,
        .clock = &world->lua->clock,
        .metrics = world->metrics,
        .blobs = world->lua->blobs,
        .catalog = &world->lua->catalog.catalog,
        .storage = &world->storage.storage,
        .lua = world->lua->runtime,
        .artifact_base_url = "http://artifacts",
        .backoff = {1000, 300000, 10, reconcile_world_draw, world},
        .concurrency = 10,
        .once = once,
        .reconciled = on_reconciled,
        .idle = on_idle_,
        .context = world,
    };

    world->reconciler = reconciler_new(&options);
    if (!once)
        reconciler_start(world->reconciler);
}

static inline void reconciler_end(struct reconcile_world *world)
{
    reconciler_free(TAKE(world->reconciler));
}

/* Tells the reconciler of a change of the source, as the catalog would. */
static inline void world_wake(struct reconcile_world *world, const char *name)
{
    reconciler_source_changed(world->reconciler, "team", name, false);
}

static inline void world_turn(struct reconcile_world *world)
{
    uv_run(&world->lua->loop, UV_RUN_ONCE);
}

/* Runs the loop until `count` reconciles have ended, from the first on. */
static inline void world_until_reconciled(struct reconcile_world *world, unsigned count)
{
    while (world->reconciled < count)
        world_turn(world);
}

/* One reconcile of team/app, due or not: what it did to catalog and storage is in the journal. */
static inline void reconcile_once(struct reconcile_world *world)
{
    unsigned idle = world->idle;

    script_clear(&world->lua->script);
    buffer_free(&world->lua->catalog.events);
    reconciler_begin(world, true);
    world_wake(world, "app");
    reconciler_start(world->reconciler);
    while (world->idle == idle)
        world_turn(world);
    reconciler_end(world);
}

static inline json_t *world_object(const struct reconcile_world *world)
{
    return json_object_get(world->lua->catalog.sources, "team/app");
}

/* Replaces the spec of team/app, or makes it: `answers` is the list of the generator's, `more`
 * other fields of the spec or "". The generation moves. */
static inline void world_apply(struct reconcile_world *world, const char *answers, const char *more)
{
    struct scripted_catalog *catalog = &world->lua->catalog;
    json_t *object = world_object(world);
    _cleanup_(free) char *text =
        format_string("{\"interval\": \"1h\", \"generator\": {\"type\": \"script\", \"script\": "
                      "{\"answers\": %s}}%s}",
                      answers, more);
    json_t *spec = NULL;

    assert_null(json_parse(text, strlen(text), &spec));
    if (!object) {
        object = json_pack("{s:{s:s, s:s, s:s, s:i, s:{}}}", "metadata", "name", "app", "namespace",
                           "team", "uid", "uid-1", "generation", 0, "annotations");
        json_object_set_new(catalog->sources, "team/app", object);
    }
    json_t *metadata = json_object_get(object, "metadata");
    json_object_set_new(metadata, "generation",
                        json_integer(json_get_integer(metadata, "generation", 0) + 1));
    json_object_set_new(object, "spec", spec);
    scripted_catalog_touch(catalog, "team/app");
}

static inline void world_annotate(struct reconcile_world *world, const char *key, const char *value)
{
    json_t *metadata = json_object_get(world_object(world), "metadata");

    json_object_set_new(json_object_get(metadata, "annotations"), key, json_string(value));
    scripted_catalog_touch(&world->lua->catalog, "team/app");
}

static inline void world_delete(struct reconcile_world *world)
{
    json_t *metadata = json_object_get(world_object(world), "metadata");

    json_object_set_new(metadata, "deletionTimestamp", json_string("2026-01-01T00:00:00Z"));
    scripted_catalog_touch(&world->lua->catalog, "team/app");
}

/* The status that stands in the catalog. Borrowed. */
static inline json_t *world_status(const struct reconcile_world *world)
{
    return json_object_get(world_object(world), "status");
}

/* "STATUS REASON MESSAGE" of a condition in the catalog; "" if it is not there. Free it. */
static inline char *world_condition(const struct reconcile_world *world, const char *type)
{
    size_t index;
    json_t *condition;

    json_array_foreach(json_object_get(world_status(world), "conditions"), index, condition)
    {
        if (strcmp(json_get_string(condition, "type"), type) == 0)
            return format_string("%s %s %s", json_get_string(condition, "status"),
                                 json_get_string(condition, "reason"),
                                 json_get_string(condition, "message"));
    }
    return strdup("");
}

static inline void assert_condition(const struct reconcile_world *world, const char *type,
                                    const char *expected)
{
    _cleanup_(free) char *found = world_condition(world, type);

    if (strncmp(found, expected, strlen(expected)) != 0 || (*found && !*expected))
        fail_msg("%s: expected '%s', found '%s'", type, expected, found);
}

static inline void assert_journal(const struct reconcile_world *world, const char *expected)
{
    assert_string_equal(buffer_string(&world->lua->script.journal), expected);
}

static inline void assert_events(const struct reconcile_world *world, const char *expected)
{
    assert_string_equal(buffer_string(&world->lua->catalog.events), expected);
}

/* The published revision: of the status, or of the child for which there is one. */
static inline const char *status_revision(const struct reconcile_world *world)
{
    return json_get_string(json_object_get(world_status(world), "artifact"), "revision");
}

static inline const char *child_revision(const struct reconcile_world *world)
{
    return json_get_string(json_object_get(world->lua->catalog.children, "team/app"), "revision");
}

/* The exposition of all metrics holds `line`. */
static inline bool world_measured(const struct reconcile_world *world, const char *line)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;

    metrics_render(world->metrics, &text);
    return strstr(buffer_string(&text), line) != NULL;
}

#endif
