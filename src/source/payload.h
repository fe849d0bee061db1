/*
 * What travels down the pipeline: one run of bytes, or named files once a step has given files.
 *
 * A generator or a hook makes one, the next hook takes it, pack ends it. Paths are relative to the
 * source's destinationPath, which is applied once, after the last hook.
 */
#ifndef SLUICE_SOURCE_PAYLOAD_H
#define SLUICE_SOURCE_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/error.h"

struct payload_file {
    char *path; /* NULL for the one file of a payload that is a single run of bytes */
    struct blob *blob;
};

struct payload {
    struct payload_file *files; /* sorted by path (bytewise), no two alike */
    size_t count;
    size_t capacity; /* of `files` */
    bool single;     /* one run of bytes: count is 1 and the path NULL */
};

/* A payload of one blob; takes the reference. NULL without memory (the reference is dropped). */
struct payload *payload_new_single(struct blob *blob);

/* A payload of files, empty at first. */
struct payload *payload_new_files(void);

/* Adds a file to a payload of files; takes the blob's reference in any case. The path is checked
 * with path_fault; it must not be there already, nor be a file where another needs a directory.
 * ERROR_HOOK, reason InvalidResult, naming the path. */
struct error *payload_add(struct payload *payload, const char *path, size_t path_length,
                          struct blob *blob) __attribute__((warn_unused_result));

/* A payload of the same files, with references of its own to their blobs. */
struct error *payload_copy(const struct payload *from, struct payload **payload)
    __attribute__((warn_unused_result));

/* Sum of the files' bytes. */
uint64_t payload_size(const struct payload *payload);

/* True if it has no file or only one run of no bytes at all. */
bool payload_empty(const struct payload *payload);

void payload_free(struct payload *payload);

/* The rule for relative paths in artifacts, also for spec.destinationPath: at most 1024 bytes of
 * valid UTF-8, no empty, "." or ".." segment and none over 255 bytes, no backslash, no NUL or
 * control byte, no
 * "../" anywhere (Flux's untar refuses "x../y" too). NULL if `path` is good, else a static phrase
 * that says what is wrong with it ("is absolute", "contains '..'"). */
const char *path_fault(const char *path, size_t length);

CLEANUP_DEFINE(payload, struct payload *, payload_free)

#endif
