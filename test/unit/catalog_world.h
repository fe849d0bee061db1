/*
 * For tests of the directory catalog: a temporary directory that the test works in, with manifests
 * below "m" and the data directory "data", a loop, and operations that are waited for.
 */
#ifndef SLUICE_TEST_CATALOG_WORLD_H
#define SLUICE_TEST_CATALOG_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "catalog/dir.h"

#define NOW_MS 1795576080000 /* 2026-11-25T03:08:00Z */
#define NOW_TEXT "2026-11-25T03:08:00Z"

#define SPEC "{interval: 5m, generator: {type: http, http: {url: 'http://127.0.0.1:9/'}}}"
#define SOURCE_OF(name, spec)                                                                  \
    "apiVersion: source.flux.oddkin.co/v1alpha1\nkind: ExternalSource\nmetadata: {name: " name \
    "}\nspec: " spec "\n"
#define SOURCE(name) SOURCE_OF(name, SPEC)
#define OBJECT(kind, name, rest) \
    "apiVersion: v1\nkind: " kind "\nmetadata: {name: " name "}\n" rest "\n"

struct world {
    char directory[64];
    uv_loop_t loop;
    int log_descriptor;
    struct log *log;
    int64_t now_ms;
    struct clock clock;
    const char *secrets[4];
    size_t secret_count;
    struct catalog *catalog;
    struct buffer told; /* by the listener: a line each */
    /* what the last operation brought */
    unsigned calls;
    struct error *error;
    struct source *source;
    json_t *data; /* of an object */
    char *version;
};

static inline int64_t world_now(void *context)
{
    return ((struct world *)context)->now_ms;
}

static inline int set_up(void **state)
{
    struct world *world = *state = calloc(1, sizeof(*world));

    snprintf(world->directory, sizeof(world->directory), "/tmp/sluice-catalog-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    assert_int_equal(chdir(world->directory), 0);
    assert_int_equal(mkdir("m", 0755), 0);
    assert_int_equal(uv_loop_init(&world->loop), 0);
    world->now_ms = NOW_MS;
    world->clock = (struct clock){world_now, world_now, world};
    world->log_descriptor = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    world->log = log_new(world->log_descriptor, LOG_LEVEL_INFO, LOG_JSON, &world->clock);
    assert_non_null(world->log);
    return 0;
}

/* Forgets what the last operation brought. */
static inline void world_forget(struct world *world)
{
    error_free(TAKE(world->error));
    source_unref(TAKE(world->source));
    json_decref(TAKE(world->data));
    free(TAKE(world->version));
}

static inline void close_catalog(struct world *world)
{
    catalog_free(TAKE(world->catalog));
    uv_run(&world->loop, UV_RUN_DEFAULT);
}

static inline int tear_down(void **state)
{
    struct world *world = *state;
    char command[128];

    close_catalog(world);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    world_forget(world);
    buffer_free(&world->told);
    log_free(world->log);
    close(world->log_descriptor);
    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", world->directory);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

/* Files, with directories as needed. */
static inline void put_bytes(const char *path, const void *bytes, size_t length)
{
    _cleanup_(free) char *directory = strdup(path);

    *strrchr(directory, '/') = '\0';
    assert_null(file_make_directories(directory));
    assert_null(file_write_atomically(path, bytes, length));
}

static inline void put(const char *path, const char *text)
{
    put_bytes(path, text, strlen(text));
}

/* The file's text (free), or NULL if there is none. */
static inline char *text_of(const char *path)
{
    struct buffer text = BUFFER_INIT;
    struct error *error = file_read(path, (size_t)64 << 20, &text);

    if (error) {
        assert_string_equal(error->reason, "FileNotFound");
        error_free(error);
        return NULL;
    }
    buffer_append_byte(&text, '\0');
    return buffer_steal(&text);
}

static inline bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* How often the log holds `text`. */
static inline unsigned logged(const char *text)
{
    _cleanup_(free) char *log = text_of("log");
    unsigned count = 0;

    for (const char *at = log; (at = strstr(at, text)); at++)
        count++;
    return count;
}

/* Opens the catalog over these paths, in place of the one that was open. */
static inline struct error *open_paths(struct world *world, const char *const *paths, size_t count)
{
    const struct dir_catalog_options options = {
        .loop = &world->loop,
        .log = world->log,
        .clock = &world->clock,
        .data_directory = "data",
        .paths = paths,
        .path_count = count,
        .secrets = world->secrets,
        .secret_count = world->secret_count,
    };

    close_catalog(world);
    return dir_catalog_new(&options, &world->catalog);
}

static inline void load(struct world *world)
{
    _cleanup_(error) struct error *error = open_paths(world, (const char *const[]){"m"}, 1);

    if (error)
        fail_msg("%s", error->message);
}

static inline void assert_fault_count(struct world *world, size_t expected)
{
    size_t count;
    const struct dir_catalog_fault *faults = dir_catalog_faults(world->catalog, &count);

    if (count != expected)
        fail_msg("%zu faults, expected %zu; the first: %s: %s", count, expected,
                 count ? faults[0].place : "", count ? faults[0].message : "none");
}

/* The only fault. */
static inline void assert_fault(struct world *world, const char *place, const char *message)
{
    size_t count;
    const struct dir_catalog_fault *faults = dir_catalog_faults(world->catalog, &count);

    assert_fault_count(world, 1);
    assert_string_equal(faults[0].place, place);
    assert_string_equal(faults[0].message, message);
}

static inline void source_came(void *context, struct error *error, struct source *source)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
    world->source = source;
}

static inline void object_came(void *context, struct error *error,
                               const struct catalog_object *object)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
    if (object) {
        world->data = json_deep_copy(object->data);
        world->version = strdup(object->resource_version);
    }
}

static inline void done(void *context, struct error *error)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
}

static inline void version_came(void *context, struct error *error, const char *version)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
    world->version = version ? strdup(version) : NULL;
}

/* Runs the loop until what was started has completed: once, and not before. */
static inline void wait_for(struct world *world, struct error *started)
{
    if (started)
        fail_msg("%s", started->message);
    assert_int_equal(world->calls, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 1);
    world->calls = 0;
}

/* The source as it is now, or NULL; the world's until the next operation. */
static inline struct source *get_in(struct world *world, const char *namespace_name,
                                    const char *name)
{
    struct operation *operation;

    world_forget(world);
    wait_for(world,
             catalog_get(world->catalog, namespace_name, name, source_came, world, &operation));
    if (world->error)
        fail_msg("%s", world->error->message);
    return world->source;
}

static inline struct source *get(struct world *world, const char *name)
{
    return get_in(world, "default", name);
}

/* A snapshot that stays (unref it). */
static inline struct source *snapshot(struct world *world, const char *name)
{
    struct source *source = get(world, name);

    assert_non_null(source);
    return source_ref(source);
}

/* The base64 of one key of an object, or NULL. */
static inline const char *value_of(struct world *world, const char *kind, const char *name,
                                   const char *key)
{
    struct operation *operation;

    world_forget(world);
    wait_for(world, catalog_get_object(world->catalog, kind, "default", name, object_came, world,
                                       &operation));
    assert_null(world->error);
    return json_get_string(world->data, key);
}

/* Writes a status with this etag for the version of `source`. */
static inline struct error *start_status(struct world *world, const struct source *source,
                                         const char *etag, struct operation **operation)
{
    _cleanup_(source_status) struct source_status *status = source_status_copy(source->status);

    world_forget(world);
    assert_non_null(status);
    free(status->last_handled_etag);
    status->last_handled_etag = strdup(etag);
    return catalog_patch_status(world->catalog, source, source->resource_version, status,
                                version_came, world, operation);
}

static inline void patch_etag(struct world *world, const char *name, const char *etag)
{
    _cleanup_(source) struct source *source = snapshot(world, name);
    struct operation *operation;

    wait_for(world, start_status(world, source, etag, &operation));
    if (world->error)
        fail_msg("%s", world->error->message);
    assert_non_null(world->version);
}

static inline void patch_finalizer(struct world *world, const char *name, bool present)
{
    _cleanup_(source) struct source *source = snapshot(world, name);
    struct operation *operation;

    world_forget(world);
    wait_for(world, catalog_patch_finalizer(world->catalog, source, present, version_came, world,
                                            &operation));
    if (world->error)
        fail_msg("%s", world->error->message);
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
