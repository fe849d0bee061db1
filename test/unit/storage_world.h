/*
 * For tests of storage: a loop, a backend in a temporary directory, and operations that are waited
 * for.
 */
#ifndef SLUICE_TEST_STORAGE_WORLD_H
#define SLUICE_TEST_STORAGE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "storage/storage.h"

#define KEY_A "artifacts/team-a/app/00aa.tar.gz"
#define KEY_B "artifacts/team-a/app/00bb.tar.gz"
#define KEY_C "artifacts/team-a/app.v2/00cc.tar.gz"
#define KEY_D "artifacts/team-b/app/00dd.tar.gz"

struct world {
    char directory[64];
    struct blob_store *blobs;
    uv_loop_t loop;
    struct storage *storage;
    /* what the last operation brought */
    unsigned calls;
    struct error *error;
    bool found;
    struct storage_object object;
    struct buffer keys; /* each with a line feed */
};

static inline struct world *world_new(void)
{
    struct world *world = calloc(1, sizeof(*world));

    snprintf(world->directory, sizeof(world->directory), "/tmp/sluice-storage-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    assert_int_equal(uv_loop_init(&world->loop), 0);
    world->blobs = blob_store_new(world->directory, (size_t)64 << 20);
    return world;
}

static inline int set_up_memory(void **state)
{
    struct world *world = world_new();

    *state = world;
    assert_null(storage_memory_new(&world->loop, &world->storage));
    return 0;
}

static inline struct error *open_files(struct world *world)
{
    _cleanup_(free) char *directory = path_join(world->directory, "made/for/it");

    return storage_file_new(&world->loop, world->blobs, directory, false, &world->storage);
}

static inline int set_up_file(void **state)
{
    struct world *world = world_new();

    *state = world;
    assert_null(open_files(world));
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *world = *state;
    char command[128];

    storage_free(world->storage);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    assert_int_equal(blob_store_memory(world->blobs), 0);
    blob_store_free(world->blobs);
    error_free(world->error);
    buffer_free(&world->keys);
    snprintf(command, sizeof(command), "rm -rf '%s'", world->directory);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static inline void object_came(void *context, struct error *error,
                               const struct storage_object *object)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
    world->found = object != NULL;
    if (object)
        world->object = *object;
}

static inline void done(void *context, struct error *error)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
}

static inline void keys_came(void *context, struct error *error, const char *const *keys,
                             size_t count)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
    for (size_t i = 0; i < count; i++) {
        buffer_append_string(&world->keys, keys[i]);
        buffer_append_byte(&world->keys, '\n');
    }
}

/* Runs the loop until what was started has completed: once, and not before. */
static inline void wait_for(struct world *world, struct error *started)
{
    assert_null(started);
    assert_int_equal(world->calls, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 1);
    world->calls = 0;
    if (world->error)
        fail_msg("%s", world->error->message);
}

static inline void put(struct world *world, const char *key, const char *bytes, size_t length)
{
    _cleanup_(blob) struct blob *blob = NULL;
    struct operation *operation;

    assert_null(blob_from_bytes(world->blobs, bytes, length, &blob));
    wait_for(world, storage_put(world->storage, key, blob, object_came, world, &operation));
    assert_true(world->found);
}

static inline void put_text(struct world *world, const char *key, const char *text)
{
    put(world, key, text, strlen(text));
}

static inline void stat_key(struct world *world, const char *key)
{
    struct operation *operation;

    wait_for(world, storage_stat(world->storage, key, object_came, world, &operation));
}

static inline void remove_key(struct world *world, const char *key)
{
    struct operation *operation;

    wait_for(world, storage_remove(world->storage, key, done, world, &operation));
}

static inline const char *list(struct world *world, const char *prefix)
{
    struct operation *operation;

    buffer_free(&world->keys);
    wait_for(world, storage_list(world->storage, prefix, keys_came, world, &operation));
    return buffer_string(&world->keys);
}

/* The text under a key as servers see it (free); NULL if there is none. */
static inline char *read_key(struct world *world, const char *key)
{
    _cleanup_(blob) struct blob *blob = NULL;
    char *bytes;
    size_t length;

    assert_null(storage_open(world->storage, key, &blob));
    if (!blob)
        return NULL;
    assert_null(blob_read_all(blob, SIZE_MAX, &bytes, &length));
    return bytes;
}

static inline void assert_holds(struct world *world, const char *key, const char *text)
{
    _cleanup_(free) char *bytes = read_key(world, key);
    char hex[SHA256_HEX_SIZE];

    assert_non_null(bytes);
    assert_string_equal(bytes, text);
    stat_key(world, key);
    assert_true(world->found);
    sha256_hex(text, strlen(text), hex);
    assert_string_equal(world->object.digest, hex);
    assert_int_equal(world->object.size, strlen(text));
}

#endif
