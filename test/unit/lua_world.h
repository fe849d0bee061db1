/*
 * The Lua runtime for tests, over real hosts: they are the test program itself, started again by
 * /proc/self/exe. The clock runs as the machine's, and the test may put it forward.
 */
#ifndef SLUICE_TEST_LUA_WORLD_H
#define SLUICE_TEST_LUA_WORLD_H

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/digest.h"
#include "http/client.h"
#include "lua/host.h"
#include "lua/runtime.h"
#include "scripted_catalog.h"

/* A program whose hosts are itself begins its main with this. */
#define LUA_WORLD_MAIN(argc, argv)                        \
    if ((argc) > 1 && strcmp((argv)[1], "lua-host") == 0) \
    return lua_host_main((argc)-1, (argv) + 1)

struct lua_world {
    uv_loop_t loop;
    struct script script;
    struct scripted_catalog catalog;
    struct clock clock;
    int64_t ahead_ms;      /* of the machine's clocks */
    int64_t wall_ahead_ms; /* the wall clock beyond that */
    int log_descriptor;
    struct log *log;
    struct blob_store *blobs;
    struct egress_floor *floor;
    struct http_client *http;
    struct lua_runtime *runtime;
    unsigned loads; /* that have come to an end */
    struct error *load_error;
    char refused[128]; /* the origin of the module that did not load, or "" */
    struct operation *loading;
};

/* What came of one call. */
struct generated {
    struct lua_world *world;
    struct operation *operation;
    unsigned done;
    struct error *error;
    bool not_modified;
    char *text; /* a single content, or "PATH=CONTENT;" of each file */
    char *token;
    char *label;
    json_t *metadata;
    void (*then)(struct generated *generated); /* called at its end; may be NULL */
    void *context;                             /* of `then` */
};

static inline int64_t lua_world_wall(void *context)
{
    const struct lua_world *world = context;

    return clock_wall_ms(&clock_system) + world->ahead_ms + world->wall_ahead_ms;
}

static inline int64_t lua_world_monotonic(void *context)
{
    return clock_monotonic_ms(&clock_system) + ((struct lua_world *)context)->ahead_ms;
}

static inline struct lua_runtime_options lua_world_options(struct lua_world *world)
{
    return (struct lua_runtime_options){
        .loop = &world->loop,
        .log = world->log,
        .clock = &world->clock,
        .blobs = world->blobs,
        .http = world->http,
        .catalog = &world->catalog.catalog,
        .transform_concurrency = 2,
        .heap_bytes = (uint64_t)256 << 20,
        .call_cpu_ms = 2000,
        .call_wall_ms = 300000,
        .http_timeout_ms = 120000,
        .max_body = (uint64_t)64 << 20,
    };
}

/* All but the runtime, for which a test may change the options. */
static inline struct lua_world *lua_world_prepare(void)
{
    struct lua_world *world = calloc(1, sizeof(*world));

    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&world->loop), 0);
    world->script.loop = &world->loop;
    scripted_catalog_init(&world->catalog, &world->script);
    world->clock = (struct clock){lua_world_wall, lua_world_monotonic, world};
    world->log_descriptor = memfd_create("log", MFD_CLOEXEC);
    world->log = log_new(world->log_descriptor, LOG_LEVEL_DEBUG, LOG_JSON, &world->clock);
    world->blobs = blob_store_new("/tmp", (size_t)64 << 20);
    world->floor = egress_floor_new();
    const struct http_client_options http = {
        .loop = &world->loop,
        .blobs = world->blobs,
        .clock = &world->clock,
        .floor = world->floor,
        .user_agent = "sluice-test",
        .max_requests = 100,
        .max_requests_per_host = 100,
    };
    assert_null(http_client_new(&http, &world->http));
    return world;
}

static inline void lua_world_free(struct lua_world *world)
{
    operation_cancel(&world->loading);
    lua_runtime_free(world->runtime);
    http_client_free(world->http);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    assert_int_equal(blob_store_memory(world->blobs), 0);
    blob_store_free(world->blobs);
    egress_floor_free(world->floor);
    catalog_free(&world->catalog.catalog);
    script_clear(&world->script);
    log_free(world->log);
    close(world->log_descriptor);
    error_free(world->load_error);
    free(world);
}

/* Everything logged so far. Free it. */
static inline char *lua_world_log(const struct lua_world *world)
{
    off_t length = lseek(world->log_descriptor, 0, SEEK_END);
    char *text = calloc(1, (size_t)length + 1);

    assert_int_equal(pread(world->log_descriptor, text, (size_t)length, 0), length);
    return text;
}

static inline void lua_world_forget_log(const struct lua_world *world)
{
    assert_int_equal(ftruncate(world->log_descriptor, 0), 0);
    assert_int_equal(lseek(world->log_descriptor, 0, SEEK_SET), 0);
}

static inline bool lua_world_logged(const struct lua_world *world, const char *text)
{
    _cleanup_(free) char *log = lua_world_log(world);

    return strstr(log, text) != NULL;
}

static inline struct lua_module_set *modules_shipped(void)
{
    struct lua_module_set *set = NULL;

    assert_null(lua_modules_shipped(&set));
    return set;
}

static inline void modules_add(struct lua_module_set *set, enum lua_module_kind kind,
                               const char *name, const char *text)
{
    _cleanup_(free) char *origin = format_string("%ss/%s.lua", lua_module_kind_name(kind), name);

    assert_null(lua_modules_add(set, kind, name, origin, text, strlen(text)));
}

static inline void lua_world_on_loaded(void *context, struct error *error, const char *origin)
{
    struct lua_world *world = context;

    snprintf(world->refused, sizeof(world->refused), "%s", origin ? origin : "");
    world->loading = NULL;
    world->loads++;
    error_free(world->load_error);
    world->load_error = error;
}

/* Loads the set and waits; what came of it is in load_error. */
static inline void lua_world_try_load(struct lua_world *world, struct lua_module_set *set)
{
    unsigned before = world->loads;

    assert_null(lua_runtime_load(world->runtime, set, lua_world_on_loaded, world, &world->loading));
    assert_int_equal(world->loads, before);
    while (world->loads == before)
        uv_run(&world->loop, UV_RUN_ONCE);
}

static inline void lua_world_load(struct lua_world *world, struct lua_module_set *set)
{
    lua_world_try_load(world, set);
    if (world->load_error)
        fail_msg("not loaded: %s", world->load_error->message);
}

/* The shipped modules with one generator of the type "g", whose generate(ctx, config) is `body`;
 * `head` stands before it. */
static inline struct lua_module_set *modules_with(const char *head, const char *body)
{
    struct lua_module_set *set = modules_shipped();
    _cleanup_(free) char *text = format_string(
        "local http, blob = require 'http', require 'blob'; %s\n"
        "local M = { type = 'g' }\nfunction M.generate(ctx, config)\n%s\nend\nreturn M\n",
        head, body);

    modules_add(set, LUA_GENERATOR, "g", text);
    return set;
}

/* A world whose runtime has loaded the set. */
static inline struct lua_world *lua_world_new(struct lua_module_set *set)
{
    struct lua_world *world = lua_world_prepare();
    const struct lua_runtime_options options = lua_world_options(world);

    world->runtime = lua_runtime_new(&options);
    lua_world_load(world, set);
    return world;
}

/* One with the generator of modules_with. */
static inline struct lua_world *lua_world_of(const char *head, const char *body)
{
    return lua_world_new(modules_with(head, body));
}

/* ExternalSource team/app of the type; `config` is JSON of its section, `more` of other fields of
 * the spec (", \"allowEmpty\": true") or "". */
static inline struct source *source_of(const char *type, const char *config, const char *more)
{
    _cleanup_(free) char *text = format_string(
        "{\"metadata\": {\"name\": \"app\", \"namespace\": \"team\", \"uid\": \"u\","
        " \"resourceVersion\": \"1\", \"generation\": 7, \"labels\": {\"tier\": \"gold\"}},"
        " \"spec\": {\"interval\": \"1h\", \"generator\": {\"type\": \"%s\", \"%s\": %s}%s}}",
        type, type, config, more);
    _cleanup_(json) json_t *json = NULL;
    struct source *source = NULL;

    assert_null(json_parse(text, strlen(text), &json));
    assert_null(source_parse(json, &source, NULL));
    if (source->fault)
        fail_msg("%s", source->fault->message);
    return source;
}

static inline char *payload_text(const struct payload *payload)
{
    struct buffer text = BUFFER_INIT;

    for (size_t i = 0; i < payload->count; i++) {
        char *bytes = NULL;
        size_t length;

        assert_null(blob_read_all(payload->files[i].blob, SIZE_MAX / 2, &bytes, &length));
        if (payload->files[i].path)
            buffer_appendf(&text, "%s=", payload->files[i].path);
        buffer_append(&text, bytes, length);
        if (payload->files[i].path)
            buffer_append_byte(&text, ';');
        free(bytes);
    }
    buffer_append(&text, "", 0);
    return text.bytes ? buffer_steal(&text) : strdup("");
}

static inline void on_generated(void *context, struct error *error, struct generator_result *result)
{
    struct generated *generated = context;

    assert_int_equal(error == NULL, result != NULL);
    generated->done++;
    generated->operation = NULL;
    generated->error = error;
    if (result) {
        generated->not_modified = result->not_modified;
        generated->text = result->data ? payload_text(result->data) : NULL;
        generated->token = result->token ? strdup(result->token) : NULL;
        generated->label = result->revision_label ? strdup(result->revision_label) : NULL;
        generated->metadata = json_deep_copy(result->metadata);
    }
    if (generated->then)
        generated->then(generated);
}

static inline void generated_free(struct generated *generated)
{
    error_free(generated->error);
    free(generated->text);
    free(generated->token);
    free(generated->label);
    json_decref(generated->metadata);
    *generated = (struct generated){0};
}

/* Begins a call for the source, which stays the caller's. */
static inline void generate_begin(struct lua_world *world, const struct generator_call *call,
                                  struct generated *generated)
{
    generated->world = world;
    struct error *error =
        lua_generate(world->runtime, call, on_generated, generated, &generated->operation);

    if (error)
        fail_msg("not begun: %s", error->message);
    assert_int_equal(generated->done, 0);
}

static inline void generate_wait(struct generated *generated)
{
    while (!generated->done)
        uv_run(&generated->world->loop, UV_RUN_ONCE);
    assert_int_equal(generated->done, 1);
}

/* Begins a call of the type "g" with this section. */
static inline void generate_start(struct lua_world *world, const char *config,
                                  struct generated *generated)
{
    _cleanup_(source) struct source *source = source_of("g", config, "");

    generate_begin(world, &(struct generator_call){.source = source}, generated);
}

static inline struct generated generate(struct lua_world *world, const char *config)
{
    struct generated generated = {0};

    generate_start(world, config, &generated);
    generate_wait(&generated);
    return generated;
}

static inline void assert_generated(const struct generated *generated, const char *text)
{
    if (generated->error)
        fail_msg("%s: %s", generated->error->reason, generated->error->message);
    assert_non_null(generated->text);
    assert_string_equal(generated->text, text);
}

static inline void assert_error(const struct error *error, enum error_kind kind, const char *reason,
                                const char *message)
{
    assert_non_null(error);
    assert_string_equal(error->message, message);
    assert_string_equal(error->reason, reason);
    assert_string_equal(error_kind_name(error->kind), error_kind_name(kind));
}

/* The call of this section gives `text`. */
static inline void assert_call(struct lua_world *world, const char *config, const char *text)
{
    struct generated generated = generate(world, config);

    assert_generated(&generated, text);
    generated_free(&generated);
}

/* It fails like this. */
static inline void assert_call_fails(struct lua_world *world, const char *config,
                                     enum error_kind kind, const char *reason, const char *message)
{
    struct generated generated = generate(world, config);

    if (!generated.error)
        fail_msg("gave '%s', expected %s", generated.text ? generated.text : "", message);
    assert_error(generated.error, kind, reason, message);
    generated_free(&generated);
}

/* Runs the loop until the log holds `text`. */
static inline void wait_for_log(struct lua_world *world, const char *text)
{
    while (!lua_world_logged(world, text))
        uv_run(&world->loop, UV_RUN_ONCE);
}

/* This process' children that run `lua-host KIND` (any kind for ""), in no order; zombies count.
 */
static inline size_t host_pids(const char *kind, pid_t *pids, size_t room)
{
    _cleanup_(directory) DIR *directory = opendir("/proc");
    const struct dirent *item;
    size_t count = 0;

    while ((item = readdir(directory))) {
        char path[64], line[512] = "";
        int parent = 0;
        char state = 0;
        FILE *file;

        if (item->d_name[0] < '0' || item->d_name[0] > '9')
            continue;
        snprintf(path, sizeof(path), "/proc/%.20s/stat", item->d_name);
        file = fopen(path, "re");
        if (!file)
            continue;
        const char *rest = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
        fclose(file);
        if (!rest || sscanf(rest + 1, " %c %d", &state, &parent) != 2 || parent != getpid())
            continue;
        if (*kind) {
            char arguments[128] = "";

            snprintf(path, sizeof(path), "/proc/%.20s/cmdline", item->d_name);
            file = fopen(path, "re");
            size_t length = file ? fread(arguments, 1, sizeof(arguments) - 1, file) : 0;
            if (file)
                fclose(file);
            if (length < strlen(kind) + 1 ||
                strcmp(arguments + length - strlen(kind) - 1, kind) != 0)
                continue;
        }
        if (count < room)
            pids[count] = (pid_t)strtol(item->d_name, NULL, 10);
        count++;
    }
    return count;
}

/* The one process of the kind that there is. */
static inline pid_t host_pid(const char *kind)
{
    pid_t pid = 0;

    assert_int_equal(host_pids(kind, &pid, 1), 1);
    return pid;
}

static inline size_t open_descriptors(void)
{
    _cleanup_(directory) DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;

    while (readdir(directory))
        count++;
    return count;
}

#endif
