/*
 * A tar stream that is a function of names and bytes alone: ustar (POSIX.1-2017, pax) with PAX
 * headers where a name or size needs one; no times, no owners, fixed modes. Internal to this
 * folder.
 */
#ifndef SLUICE_ARTIFACT_TAR_H
#define SLUICE_ARTIFACT_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/buffer.h"
#include "base/error.h"

/* The stream leaves in chunks of exactly this size, but for the last one. */
#define TAR_CHUNK ((size_t)256 << 10)

struct tar_sink {
    struct error *(*write)(void *context, const void *bytes, size_t length);
    void *context;
};

struct tar;

/* NULL without memory. */
struct tar *tar_new(struct tar_sink sink);
void tar_free(struct tar *tar);

/* An entry for a directory, mode 0755, or for a file with the blob's bytes, mode 0644. `path` is
 * relative, without a slash at its end, checked with path_fault. Errors are the sink's, the blob's,
 * or out of memory; after one the stream is of no use. */
struct error *tar_directory(struct tar *tar, const char *path) __attribute__((warn_unused_result));
struct error *tar_file(struct tar *tar, const char *path, const struct blob *blob)
    __attribute__((warn_unused_result));

/* The end: two blocks of zeros. */
struct error *tar_finish(struct tar *tar) __attribute__((warn_unused_result));

/* The header blocks of one entry, on their own so that sizes no test can write are tested too:
 * appends a PAX header, where one is needed, and the entry's. `type` is '0' (file) or '5'
 * (directory, whose `path` then ends with a slash). */
void tar_header(struct buffer *blocks, const char *path, char type, uint64_t size);

CLEANUP_DEFINE(tar, struct tar *, tar_free)

#endif
