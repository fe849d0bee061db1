/*
 * Blobs: immutable bytes that pass between the parts of the program, counted and never copied.
 *
 * A blob under BLOB_MEMORY_MAX lives in memory; a larger one, and every one once the store's memory
 * limit is reached, in an unlinked file of the spool directory, so that neither a huge body nor ten
 * thousand small ones can exhaust memory. Written once through a writer, then sealed. References
 * are counted atomically because server threads and the thread pool read blobs too; reading is
 * thread-safe.
 */
#ifndef SLUICE_BASE_BLOB_H
#define SLUICE_BASE_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define BLOB_MEMORY_MAX ((size_t)1 << 20)

struct blob;
struct blob_store;
struct blob_writer;

/* A store whose spooled files go to `spool_directory` (created when first needed) and whose blobs
 * hold at most `memory_limit` bytes of memory together. Thread-safe. NULL without memory. */
struct blob_store *blob_store_new(const char *spool_directory, size_t memory_limit);

/* Every blob and writer of the store must be gone. */
void blob_store_free(struct blob_store *store);

/* Bytes of memory that the store's blobs hold now. */
size_t blob_store_memory(struct blob_store *store);

/* Begins a blob of at most `limit` bytes. NULL without memory. One thread at a time writes. */
struct blob_writer *blob_writer_new(struct blob_store *store, uint64_t limit);

/* Appends. Past the limit: ERROR_UPSTREAM, reason OutputLimit, naming the limit, and nothing is
 * written. A full or failing spool disk is ERROR_TRANSIENT, reason SpoolFailed. */
struct error *blob_writer_write(struct blob_writer *writer, const void *bytes, size_t length)
    __attribute__((warn_unused_result));

uint64_t blob_writer_length(const struct blob_writer *writer);

/* Ends the writer in any case; on success *blob is the caller's only reference. */
struct error *blob_writer_seal(struct blob_writer *writer, struct blob **blob)
    __attribute__((warn_unused_result));

/* Drops what was written. */
void blob_writer_free(struct blob_writer *writer);

/* A sealed blob with a copy of `bytes`. */
struct error *blob_from_bytes(struct blob_store *store, const void *bytes, size_t length,
                              struct blob **blob) __attribute__((warn_unused_result));

/* A sealed blob over a file that the caller hands over: `descriptor` is owned by the blob from here
 * on, also on error. `length` bytes from offset 0. Whoever else can write the file must be gone. */
struct error *blob_from_descriptor(struct blob_store *store, int descriptor, uint64_t length,
                                   struct blob **blob) __attribute__((warn_unused_result));

struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob *blob);

uint64_t blob_length(const struct blob *blob);

/* Copies up to `length` bytes from `offset`; *count says how many (0 at the end). */
struct error *blob_read(const struct blob *blob, uint64_t offset, void *bytes, size_t length,
                        size_t *count) __attribute__((warn_unused_result));

/* Writes all bytes to `descriptor`, from where it stands. Its failure: ERROR_STORAGE,
 * FileWriteFailed. */
struct error *blob_copy(const struct blob *blob, int descriptor)
    __attribute__((warn_unused_result));

/* The bytes if the blob is in memory, else NULL. Valid as long as a reference is held. */
const void *blob_memory(const struct blob *blob);

/* All bytes in fresh memory, NUL-terminated (free). More than `limit`: ERROR_UPSTREAM, OutputLimit.
 */
struct error *blob_read_all(const struct blob *blob, size_t limit, char **bytes, size_t *length)
    __attribute__((warn_unused_result));

/* A new descriptor that can only read the bytes, at offset 0, with an offset of its own: a memfd
 * for a blob in memory, the spool file opened again through /proc/self/fd else. The caller closes
 * it. */
struct error *blob_open(const struct blob *blob, int *descriptor)
    __attribute__((warn_unused_result));

/* sha256 of the bytes as 64 hex digits; computed once, then remembered. */
struct error *blob_sha256(struct blob *blob, const char **hex) __attribute__((warn_unused_result));

CLEANUP_DEFINE(blob, struct blob *, blob_unref)
CLEANUP_DEFINE(blob_writer, struct blob_writer *, blob_writer_free)

#endif
