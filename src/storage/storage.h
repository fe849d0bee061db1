/*
 * Where artifacts are kept.
 *
 * A key is `artifacts/NAMESPACE/NAME/REVISION.tar.gz`, which is also the path of its URL. Bytes
 * once stored under a key are never replaced by others: storing a key that exists succeeds and
 * answers with the digest and size of the bytes that are there, because those are what must be
 * published. A backend is chosen once at start. Everything but storage_open belongs to the loop's
 * thread; storage_open is called by the artifact server's threads.
 */
#ifndef SLUICE_STORAGE_STORAGE_H
#define SLUICE_STORAGE_STORAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/blob.h"
#include "base/digest.h"
#include "base/operation.h"

struct storage;

/* What is stored under a key. */
struct storage_object {
    char digest[SHA256_HEX_SIZE]; /* sha256 of the bytes */
    uint64_t size;
};

/* `object` is valid during the call; NULL with an error, and (for stat) where there is no such key.
 */
typedef void (*storage_object_done)(void *context, struct error *error,
                                    const struct storage_object *object);
typedef void (*storage_done)(void *context, struct error *error);
/* `keys` (count of them, sorted) is valid during the call. */
typedef void (*storage_list_done)(void *context, struct error *error, const char *const *keys,
                                  size_t count);

struct storage_ops {
    const char *name; /* "memory", "file", "s3" */
    bool persistent;  /* survives a restart */
    bool served;      /* storage_open works: the artifact server can serve it */
    struct error *(*put)(struct storage *storage, const char *key, struct blob *blob,
                         storage_object_done done, void *context, struct operation **operation);
    struct error *(*stat)(struct storage *storage, const char *key, storage_object_done done,
                          void *context, struct operation **operation);
    struct error *(*remove)(struct storage *storage, const char *key, storage_done done,
                            void *context, struct operation **operation);
    struct error *(*list)(struct storage *storage, const char *prefix, storage_list_done done,
                          void *context, struct operation **operation);
    struct error *(*open)(struct storage *storage, const char *key, struct blob **blob);
    void (*free)(struct storage *storage);
};

/* Backends put this first in their own struct. */
struct storage {
    const struct storage_ops *ops;
};

/* In this process' memory (spooled like all blobs); gone at a restart. */
struct error *storage_memory_new(uv_loop_t *loop, struct storage **storage)
    __attribute__((warn_unused_result));

/* Below `directory` (made if missing), one file a key: temporary file, fsync, rename, fsync of the
 * directory, so that a key holds whole bytes or is not there. Leftover temporary files are removed;
 * where other processes share the directory, those that are an hour old. */
struct error *storage_file_new(uv_loop_t *loop, struct blob_store *blobs, const char *directory,
                               bool shared, struct storage **storage)
    __attribute__((warn_unused_result));

/* Every operation must have ended or been cancelled. */
void storage_free(struct storage *storage);

/* Stores `blob` (a reference is taken for as long as needed) under `key`; durable when done.
 * Failures are ERROR_STORAGE, reason StorageOperationFailed, naming the backend, the operation and
 * the key. */
struct error *storage_put(struct storage *storage, const char *key, struct blob *blob,
                          storage_object_done done, void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* What is under `key`, read from the bytes themselves (the digest is computed, not remembered);
 * `object` NULL without error if nothing is. */
struct error *storage_stat(struct storage *storage, const char *key, storage_object_done done,
                           void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* Removes `key`; one that is not there is no error. */
struct error *storage_remove(struct storage *storage, const char *key, storage_done done,
                             void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* All keys that begin with `prefix`, which ends with "/". */
struct error *storage_list(struct storage *storage, const char *prefix, storage_list_done done,
                           void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* The bytes under `key`, for a server's thread: *blob is a new reference, or NULL if there are
 * none. */
struct error *storage_open(struct storage *storage, const char *key, struct blob **blob)
    __attribute__((warn_unused_result));

/* True for a key of the form above, with a DNS-1123 namespace and name and a REVISION of hex
 * digits: the only ones that backends take and that the server looks up. */
bool storage_key_valid(const char *key);

#endif
