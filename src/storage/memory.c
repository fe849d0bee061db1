/*
 * Artifacts in this process: a sorted table of keys and blobs under one mutex. Blobs are immutable
 * and counted, so whoever looked one up reads it without the mutex, also after it was removed.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "storage/local.h"

struct entry {
    char *key;
    struct blob *blob;
};

struct memory {
    pthread_mutex_t mutex; /* guards all below */
    struct entry *entries; /* sorted by key */
    size_t count;
    size_t capacity;
};

/* The first entry that is not less than `key`. */
static size_t position(const struct memory *memory, const char *key)
{
    size_t low = 0;
    size_t high = memory->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(memory->entries[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct memory *memory, size_t at, const char *key)
{
    return at < memory->count && strcmp(memory->entries[at].key, key) == 0;
}

static struct error *insert(struct memory *memory, size_t at, const char *key, struct blob *blob)
{
    if (memory->count == memory->capacity) {
        size_t capacity = memory->capacity ? memory->capacity * 2 : 16;
        struct entry *entries = reallocarray(memory->entries, capacity, sizeof(*entries));

        if (!entries)
            return error_out_of_memory();
        memory->entries = entries;
        memory->capacity = capacity;
    }

    char *copy = strdup(key);
    if (!copy)
        return error_out_of_memory();
    memmove(&memory->entries[at + 1], &memory->entries[at],
            (memory->count - at) * sizeof(*memory->entries));
    memory->entries[at] = (struct entry){.key = copy, .blob = blob_ref(blob)};
    memory->count++;
    return NULL;
}

/* A reference to the blob under `key`, or NULL. */
static struct blob *look_up(struct memory *memory, const char *key)
{
    pthread_mutex_lock(&memory->mutex);
    size_t at = position(memory, key);
    struct blob *blob = is_at(memory, at, key) ? blob_ref(memory->entries[at].blob) : NULL;
    pthread_mutex_unlock(&memory->mutex);
    return blob;
}

static struct error *memory_put(void *state, const char *key, const struct key_parts *parts,
                                struct blob *blob, struct storage_object *object)
{
    struct memory *memory = state;
    struct error *error = NULL;

    (void)parts;
    pthread_mutex_lock(&memory->mutex);
    size_t at = position(memory, key);
    if (!is_at(memory, at, key))
        error = insert(memory, at, key, blob);
    _cleanup_(blob) struct blob *stored = error ? NULL : blob_ref(memory->entries[at].blob);
    pthread_mutex_unlock(&memory->mutex);
    return error ? error : storage_object_of(stored, object);
}

static struct error *memory_stat(void *state, const char *key, const struct key_parts *parts,
                                 bool *found, struct storage_object *object)
{
    _cleanup_(blob) struct blob *blob = look_up(state, key);

    (void)parts;
    *found = blob != NULL;
    return blob ? storage_object_of(blob, object) : NULL;
}

static struct error *memory_remove(void *state, const char *key, const struct key_parts *parts)
{
    struct memory *memory = state;
    struct entry removed = {0};

    (void)parts;
    pthread_mutex_lock(&memory->mutex);
    size_t at = position(memory, key);
    if (is_at(memory, at, key)) {
        removed = memory->entries[at];
        memory->count--;
        memmove(&memory->entries[at], &memory->entries[at + 1],
                (memory->count - at) * sizeof(*memory->entries));
    }
    pthread_mutex_unlock(&memory->mutex);
    free(removed.key);
    blob_unref(removed.blob);
    return NULL;
}

static struct error *memory_list(void *state, const char *prefix, const struct key_parts *parts,
                                 struct key_list *keys)
{
    struct memory *memory = state;
    size_t length = strlen(prefix);
    struct error *error = NULL;

    (void)parts;
    pthread_mutex_lock(&memory->mutex);
    for (size_t at = position(memory, prefix); !error && at < memory->count; at++) {
        if (strncmp(memory->entries[at].key, prefix, length) != 0)
            break;
        error = key_list_add(keys, memory->entries[at].key);
    }
    pthread_mutex_unlock(&memory->mutex);
    return error;
}

static struct error *memory_open(void *state, const char *key, const struct key_parts *parts,
                                 struct blob **blob)
{
    (void)parts;
    *blob = look_up(state, key);
    return NULL;
}

static void memory_free(void *state)
{
    struct memory *memory = state;

    for (size_t i = 0; i < memory->count; i++) {
        free(memory->entries[i].key);
        blob_unref(memory->entries[i].blob);
    }
    free(memory->entries);
    pthread_mutex_destroy(&memory->mutex);
    free(memory);
}

static const struct local_backend memory_backend = {
    .name = "memory",
    .persistent = false,
    .put = memory_put,
    .stat = memory_stat,
    .remove = memory_remove,
    .list = memory_list,
    .open = memory_open,
    .free = memory_free,
};

struct error *storage_memory_new(uv_loop_t *loop, struct storage **storage)
{
    struct memory *memory = calloc(1, sizeof(*memory));

    *storage = NULL;
    if (!memory)
        return error_out_of_memory();
    if (pthread_mutex_init(&memory->mutex, NULL) != 0) {
        free(memory);
        return error_out_of_memory();
    }
    return storage_local_new(loop, &memory_backend, memory, storage);
}
