/*
 * Backends that block: memory and disk. They are written as plain functions, which local.c runs on
 * the thread pool and turns into the asynchronous operations of storage.h. Internal to this folder.
 */
#ifndef SLUICE_STORAGE_LOCAL_H
#define SLUICE_STORAGE_LOCAL_H

#include "storage/key.h"
#include "storage/storage.h"

/* All functions but free are called on several threads at once. Keys and prefixes are valid, and
 * come with their parts. Errors say what failed only ("cannot write: No space left on device"):
 * local.c adds backend, operation and key. */
struct local_backend {
    const char *name;
    bool persistent;
    struct error *(*put)(void *state, const char *key, const struct key_parts *parts,
                         struct blob *blob, struct storage_object *object);
    struct error *(*stat)(void *state, const char *key, const struct key_parts *parts, bool *found,
                          struct storage_object *object);
    struct error *(*remove)(void *state, const char *key, const struct key_parts *parts);
    struct error *(*list)(void *state, const char *prefix, const struct key_parts *parts,
                          struct key_list *keys);
    struct error *(*open)(void *state, const char *key, const struct key_parts *parts,
                          struct blob **blob);
    void (*free)(void *state);
};

/* Takes `state` in any case. */
struct error *storage_local_new(uv_loop_t *loop, const struct local_backend *backend, void *state,
                                struct storage **storage) __attribute__((warn_unused_result));

/* The object that a blob is. */
struct error *storage_object_of(struct blob *blob, struct storage_object *object)
    __attribute__((warn_unused_result));

#endif
