/*
 * For tests of the reflector: a world with a loop, a client, a server that plays a script, and a
 * listener that notes what it is told.
 */
#ifndef SLUICE_TEST_REFLECTOR_WORLD_H
#define SLUICE_TEST_REFLECTOR_WORLD_H

#include "kube_script.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/json.h"
#include "kube/reflector_state.h"

struct world {
    uv_loop_t loop;
    struct script script;
    struct blob_store *blobs;
    int log_descriptor;
    struct log *log;
    struct kube_client *client;
    struct reflector *reflector;
    struct reflector_options options;
    struct buffer told; /* "+NAME" new, "~NAME" changed, "-NAME" gone, "!" synced; a space each */
    uint64_t draw;      /* what random gives */
    struct clock clock;
    int64_t skipped_ms; /* by which the clock is ahead */
    void (*on_change)(struct world *world, const struct reflector_object *before,
                      const struct reflector_object *now);
    bool free_when_synced;
};

static inline uint64_t generation_of(void *context, const json_t *object)
{
    (void)context;
    return (uint64_t)json_get_integer(json_object_get(object, "metadata"), "generation", 0);
}

static inline void note_change(void *context, const struct reflector_object *before,
                               const struct reflector_object *now)
{
    struct world *world = context;

    buffer_appendf(&world->told, "%c%s ",
                   !before ? '+'
                   : now   ? '~'
                           : '-',
                   now ? now->name : before->name);
    if (world->on_change)
        world->on_change(world, before, now);
}

static inline void note_synced(void *context)
{
    struct world *world = context;

    buffer_append_string(&world->told, "! ");
    if (world->free_when_synced)
        reflector_free(TAKE(world->reflector));
}

static inline int64_t read_wall(void *context)
{
    (void)context;
    return clock_wall_ms(&clock_system);
}

static inline int64_t read_monotonic(void *context)
{
    return clock_monotonic_ms(&clock_system) + ((struct world *)context)->skipped_ms;
}

static inline uint64_t draw(void *context)
{
    return ((struct world *)context)->draw;
}

static inline void world_open(struct world *world, const struct act *acts, size_t count)
{
    *world = (struct world){.told = BUFFER_INIT};
    assert_int_equal(uv_loop_init(&world->loop), 0);
    script_start(&world->script, &world->loop, acts, count);
    world->blobs = blob_store_new("/tmp", 64 << 20);
    world->log_descriptor = memfd_create("log", MFD_CLOEXEC);
    world->log = log_new(world->log_descriptor, LOG_LEVEL_INFO, LOG_JSON, &clock_system);
    _cleanup_(free) char *server = format_string("http://127.0.0.1:%u", world->script.port);
    struct kube_config config = {.server = server, .namespace_name = (char *)"default"};
    const struct kube_client_options options = {
        .loop = &world->loop,
        .blobs = world->blobs,
        .clock = &clock_system,
        .log = world->log,
        .config = &config,
        .random = draw,
        .random_context = world,
    };
    assert_null(kube_client_new(&options, &world->client));
    world->clock = (struct clock){read_wall, read_monotonic, world};
    world->options = (struct reflector_options){
        .loop = &world->loop,
        .clock = &world->clock,
        .log = world->log,
        .client = world->client,
        .resource = {"/api/v1", "configmaps"},
        .random = draw,
        .random_context = world,
    };
}

static inline void world_start(struct world *world)
{
    const struct reflector_listener listener = {generation_of, note_change, note_synced, world};

    world->reflector = reflector_new(&world->options, &listener);
    assert_non_null(world->reflector);
    assert_null(reflector_start(world->reflector));
}

static inline void world_close(struct world *world)
{
    reflector_free(world->reflector);
    kube_client_free(world->client);
    script_stop(&world->script);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    log_free(world->log);
    close(world->log_descriptor);
    blob_store_free(world->blobs);
    buffer_free(&world->told);
}

/* Until the script has been played to its end and this has been told: all of it, in this order. */
static inline void run_until_told(struct world *world, const char *expected)
{
    while (world->script.played < world->script.count ||
           strlen(buffer_string(&world->told)) < strlen(expected))
        uv_run(&world->loop, UV_RUN_ONCE);
    assert_string_equal(buffer_string(&world->told), expected);
}

static inline void play(const struct act *acts, size_t count, const char *expected)
{
    struct world world;

    world_open(&world, acts, count);
    world_start(&world);
    run_until_told(&world, expected);
    world_close(&world);
}

#define PLAY(acts, expected) play(acts, sizeof(acts) / sizeof((acts)[0]), expected)

/* How often `part` is in the log. */
static inline size_t logged(const struct world *world, const char *part)
{
    static char text[1 << 16];
    size_t found = 0;
    ssize_t length = pread(world->log_descriptor, text, sizeof(text) - 1, 0);

    assert_true(length >= 0);
    text[length] = '\0';
    for (const char *at = text; (at = strstr(at, part)); at++)
        found++;
    return found;
}

#define OBJECT(name, uid, version, generation)                                      \
    "{\"metadata\":{\"namespace\":\"default\",\"name\":\"" name "\",\"uid\":\"" uid \
    "\",\"resourceVersion\":\"" version "\",\"generation\":" generation "}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define BOOKMARK(version)                                                                          \
    EVENT("BOOKMARK", "{\"kind\":\"ConfigMap\",\"metadata\":{\"resourceVersion\":\"" version "\"}" \
                      "}")
#define LIST(version, items)                                                               \
    "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":" \
    "\"" version "\"},\"items\":[" items "]}"
#define PAGE(version, token, items)                                                        \
    "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":" \
    "\"" version "\",\"continue\":\"" token "\"},\"items\":[" items "]}"
#define STATUS(code, reason)                                                                      \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"scripted\"," \
    "\"reason\":\"" reason "\",\"code\":" code "}"
#define TOO_LARGE                                                                         \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":"      \
    "\"Too large resource version: 10, current: 5\",\"reason\":\"Timeout\",\"code\":504," \
    "\"details\":{\"causes\":[{\"reason\":\"ResourceVersionTooLarge\",\"message\":\"\"}]}}"

#define ONE OBJECT("a", "u1", "5", "1")
#define LIST_ONE                                          \
    {                                                     \
        .expect = {"?limit=500"}, .body = LIST("10", ONE) \
    }
#define WATCH_HANGS_AT(version)                                                    \
    {                                                                              \
        .expect = {"watch=true", "&resourceVersion=" version " "}, .end = ACT_HANG \
    }

#endif
