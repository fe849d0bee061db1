/* See engine.h. */
#include "cmd/engine.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "base/buffer.h"
#include "base/file.h"

#define BLOB_MEMORY ((size_t)64 << 20)
#define HOST_HEAP_BYTES ((uint64_t)256 << 20)
#define CALL_CPU_MS 2000
#define CALL_WALL_MS 30000
#define STOP_GRACE_MS 10000
#define ARENAS_MAX 2
#define TRIM_MS 2000
#define TRIM_WORTH ((size_t)1 << 20)

/* Ten thousand fetches wait in ten thousand sockets. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static struct error *make_blobs(struct engine *engine)
{
    _cleanup_(free) char *below = path_join(engine->settings->storage_path, "spool");
    const char *directory = engine->settings->spool_path ? engine->settings->spool_path : below;

    if (!directory)
        return error_out_of_memory();
    engine->blobs = blob_store_new(directory, BLOB_MEMORY);
    return engine->blobs ? NULL : error_out_of_memory();
}

struct error *engine_init(struct engine *engine, const struct settings *settings)
{
    memset(engine, 0, sizeof(*engine));
    engine->settings = settings;
    int failed = uv_loop_init(&engine->loop);
    if (failed)
        return error_new(ERROR_INTERNAL, "LoopFailed", "cannot make an event loop: %s",
                         uv_strerror(failed));
    /* Secrets must not be readable in a core dump or by another process of the same user. */
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    /* Each arena keeps its own free memory; the pool's threads allocate little. */
    mallopt(M_ARENA_MAX, ARENAS_MAX);
    engine->log =
        log_new(STDERR_FILENO, settings->log_level, settings->log_encoding, &clock_system);
    engine->metrics = metrics_new();
    if (!engine->log || !engine->metrics)
        return error_out_of_memory();
    return make_blobs(engine);
}

static struct error *make_storage(struct engine *engine)
{
    const struct settings *settings = engine->settings;

    if (strcmp(settings->storage_backend, "memory") == 0) {
        log_info(engine->log, NULL,
                 "artifacts are kept in memory and are gone when the program ends", NULL);
        return storage_memory_new(&engine->loop, &engine->storage);
    }
    return storage_file_new(&engine->loop, engine->blobs, settings->storage_path,
                            settings->storage_shared, &engine->storage);
}

static struct error *make_http(struct engine *engine)
{
    const struct settings *settings = engine->settings;
    struct http_client_options options = {
        .loop = &engine->loop,
        .blobs = engine->blobs,
        .clock = &clock_system,
        .floor = engine->floor,
        .user_agent = settings->http_user_agent,
        .max_requests = settings->concurrent,
        .max_requests_per_host = settings->http_max_conns_per_host,
    };

    return http_client_new(&options, &engine->http);
}

static struct error *make_lua(struct engine *engine)
{
    unsigned processors = uv_available_parallelism();
    struct lua_runtime_options options = {
        .loop = &engine->loop,
        .log = engine->log,
        .clock = &clock_system,
        .blobs = engine->blobs,
        .http = engine->http,
        .catalog = engine->catalog,
        .transform_concurrency = processors > 1 ? processors : 2,
        .heap_bytes = HOST_HEAP_BYTES,
        .call_cpu_ms = CALL_CPU_MS,
        .call_wall_ms = CALL_WALL_MS,
        .http_timeout_ms = engine->settings->http_timeout_ms,
        .max_body = engine->settings->max_body_size,
    };

    engine->lua = lua_runtime_new(&options);
    return engine->lua ? NULL : error_out_of_memory();
}

uint64_t engine_random(void *context)
{
    uint64_t value = 0;

    (void)context;
    if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value))
        value = uv_hrtime();
    return value;
}

void engine_finish(struct engine *engine)
{
    uv_stop(&engine->loop);
}

/* Nothing runs any more. */
static void all_done(void *context)
{
    struct engine *engine = context;

    if (engine->stopped)
        engine->stopped(engine->context);
    else
        engine_finish(engine);
}

static void reconciled(void *context, const struct source *source,
                       const struct source_status *status)
{
    struct engine *engine = context;

    if (engine->reconciled)
        engine->reconciled(engine->context, source, status);
}

static bool may_write(void *context)
{
    struct engine *engine = context;

    return !engine->may_write || engine->may_write(engine->context);
}

static void unreported(void *context, const char *namespace_name, const char *name,
                       const struct error *error)
{
    struct engine *engine = context;

    if (engine->unreported)
        engine->unreported(engine->context, namespace_name, name, error);
}

static struct error *make_reconciler(struct engine *engine)
{
    const struct settings *settings = engine->settings;
    struct reconciler_options options = {
        .loop = &engine->loop,
        .log = engine->log,
        .clock = &clock_system,
        .metrics = engine->metrics,
        .blobs = engine->blobs,
        .catalog = engine->catalog,
        .storage = engine->storage,
        .lua = engine->lua,
        .artifact_base_url = engine->artifact_base_url,
        .backoff = {settings->retry_base_delay_ms, settings->retry_max_delay_ms,
                    settings->retry_max_attempts, engine_random, NULL},
        .concurrency = settings->concurrent,
        .once = settings->once,
        .reconciled = reconciled,
        .may_write = may_write,
        .unreported = unreported,
        .idle = all_done,
        .context = engine,
    };

    engine->reconciler = reconciler_new(&options);
    return engine->reconciler ? NULL : error_out_of_memory();
}

void engine_stop(struct engine *engine, int64_t grace_ms)
{
    if (engine->stopping)
        return;
    engine->stopping = true;
    atomic_store(&engine->ready, false);
    struct error *error = reconciler_stop(engine->reconciler, grace_ms, all_done, engine);
    if (error)
        all_done(engine);
    error_free(error);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct engine *engine = handle->data;

    if (engine->stopping && number == SIGINT) { /* a person who does not want to wait */
        log_info(engine->log, NULL, "stopping at once", "signal", strsignal(number), NULL);
        engine_finish(engine);
        return;
    }
    if (!engine->stopping)
        log_info(engine->log, NULL, "stopping", "signal", strsignal(number), NULL);
    engine_stop(engine, STOP_GRACE_MS);
}

static void watch_signals(struct engine *engine)
{
    static const int numbers[] = {SIGTERM, SIGINT};

    for (size_t i = 0; i < 2; i++) {
        uv_signal_init(&engine->loop, &engine->signals[i]);
        engine->signals[i].data = engine;
        uv_signal_start(&engine->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&engine->signals[i]);
    }
}

static void give_up(struct engine *engine, struct error *error)
{
    log_error(engine->log, NULL, error, "cannot start", NULL);
    error_free(error);
    engine->failed = true;
    engine_finish(engine);
}

/* Ready to serve: everything has loaded, and what is published can be answered for here. */
static void tell_ready(struct engine *engine)
{
    atomic_store(&engine->ready,
                 engine->loaded && (engine->leading || engine->settings->storage_shared));
}

static void begin_when_ready(struct engine *engine)
{
    tell_ready(engine);
    if (engine->loaded && engine->leading && !engine->stopping)
        reconciler_start(engine->reconciler);
}

static void modules_loaded(void *context, struct error *error)
{
    struct engine *engine = context;

    if (error) {
        give_up(engine, error);
        return;
    }
    engine->loaded = true;
    begin_when_ready(engine);
}

static void modules_reloaded(void *context)
{
    struct engine *engine = context;

    reconciler_wake_all(engine->reconciler);
}

static struct error *make_modules(struct engine *engine)
{
    struct module_loader_options options = {
        .loop = &engine->loop,
        .log = engine->log,
        .metrics = engine->metrics,
        .catalog = engine->catalog,
        .lua = engine->lua,
        .paths = engine->settings->lua_paths,
        .path_count = engine->settings->lua_path_count,
        .loaded = modules_loaded,
        .reloaded = modules_reloaded,
        .context = engine,
    };

    engine->modules = module_loader_new(&options);
    return engine->modules ? NULL : error_out_of_memory();
}

static void source_changed(void *context, const char *namespace_name, const char *name,
                           bool deleting)
{
    struct engine *engine = context;

    reconciler_source_changed(engine->reconciler, namespace_name, name, deleting);
}

static void source_gone(void *context, const char *namespace_name, const char *name)
{
    struct engine *engine = context;

    reconciler_source_gone(engine->reconciler, namespace_name, name);
}

static void modules_changed(void *context)
{
    struct engine *engine = context;

    module_loader_changed(engine->modules);
}

/* A list of thousands of objects and a burst of fetches leave holes that glibc keeps. Once as much
 * has been freed as is worth a walk over the heap, they are given back. */
static void trim(uv_timer_t *timer)
{
    struct engine *engine = timer->data;
    size_t used = mallinfo2().uordblks;

    if (used > engine->most_used)
        engine->most_used = used;
    if (engine->most_used - used < TRIM_WORTH)
        return;
    malloc_trim(0);
    engine->most_used = used;
}

static void catalog_synced(void *context)
{
    struct engine *engine = context;

    uv_timer_start(&engine->trim, trim, TRIM_MS, TRIM_MS);
    module_loader_start(engine->modules);
}

static struct error *start_catalog(struct engine *engine)
{
    struct catalog_listener listener = {
        .source_changed = source_changed,
        .source_gone = source_gone,
        .modules_changed = modules_changed,
        .synced = catalog_synced,
        .context = engine,
    };

    return catalog_start(engine->catalog, &listener);
}

void engine_lead(struct engine *engine)
{
    engine->leading = true;
    begin_when_ready(engine);
}

struct error *engine_start(struct engine *engine, struct catalog *catalog)
{
    struct error *error;

    engine->catalog = catalog;
    engine->floor = egress_floor_new();
    if (!engine->floor)
        return error_out_of_memory();
    error = make_storage(engine);
    if (!error && !engine->settings->once)
        error = engine_start_servers(engine);
    if (!error)
        error = engine_name_base_url(engine);
    if (!error)
        error = make_http(engine);
    if (!error)
        error = make_lua(engine);
    if (!error)
        error = make_reconciler(engine);
    if (!error)
        error = make_modules(engine);
    if (error)
        return error;
    watch_signals(engine);
    uv_timer_init(&engine->loop, &engine->trim);
    uv_unref((uv_handle_t *)&engine->trim);
    engine->trim.data = engine;
    return start_catalog(engine);
}

void engine_run(struct engine *engine)
{
    uv_run(&engine->loop, UV_RUN_DEFAULT);
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void engine_free(struct engine *engine)
{
    if (!engine->settings)
        return;
    module_loader_free(engine->modules);
    for (size_t i = 0; i < ENGINE_SERVERS; i++)
        http_server_free(engine->servers[i]);
    reconciler_free(engine->reconciler);
    lua_runtime_free(engine->lua);
    if (engine->http)
        http_client_free(engine->http);
    catalog_free(engine->catalog);
    if (engine->free_parts)
        engine->free_parts(engine->context);
    if (engine->storage)
        storage_free(engine->storage);
    /* What parts have closed is closed on the loop; our own handles are the only ones that are
     * left. */
    if (engine->trim.data)
        close_handle((uv_handle_t *)&engine->trim, NULL);
    for (size_t i = 0; i < 2; i++) {
        if (engine->signals[i].data)
            close_handle((uv_handle_t *)&engine->signals[i], NULL);
    }
    uv_run(&engine->loop, UV_RUN_DEFAULT);
    uv_loop_close(&engine->loop);
    egress_floor_free(engine->floor);
    if (engine->blobs)
        blob_store_free(engine->blobs);
    metrics_free(engine->metrics);
    log_free(engine->log);
    free(engine->artifact_base_url);
}
