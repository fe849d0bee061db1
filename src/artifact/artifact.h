/*
 * Artifacts: a payload packed as a deterministic tar.gz.
 *
 * The way there has two steps, so that an unchanged revision is known before anything is compressed
 * or stored: artifact_revision hashes the tar that would be made, artifact_pack makes it and
 * compresses it. Both stream: neither the tar nor the payload is ever whole in memory. Both run on
 * the thread pool.
 *
 * The tar is a function of paths and bytes alone: entries sorted, each directory before what is in
 * it with mode 0755, files 0644, no times, no owners, ustar with PAX headers where a name needs one
 * (POSIX.1-2017, pax). The same input gives the same tar everywhere, hence the same revision; the
 * tar.gz's bytes may differ between machines (ISA-L, zlib, CPU), so nothing but its digest depends
 * on them.
 */
#ifndef SLUICE_ARTIFACT_ARTIFACT_H
#define SLUICE_ARTIFACT_ARTIFACT_H

#include <uv.h>

#include "base/blob.h"
#include "base/digest.h"
#include "base/operation.h"
#include "source/payload.h"

/* Where a payload's files stand in the tar: a single run of bytes is the file `destination_path`,
 * which must then name one; files are below the directory `destination_path` ("." or "" puts them
 * at the top), which is there even if no file is. */
struct artifact_layout {
    const char *destination_path; /* checked with path_fault; copied by the start functions */
};

typedef void (*artifact_revision_done)(void *context, struct error *error,
                                       const char hex[SHA256_HEX_SIZE]);

/* Computes the sha256 of the uncompressed tar. `payload` stays the caller's and must live until
 * done or cancelled (a cancelled step keeps its own references). Errors of both steps:
 * ERROR_CONFIGURATION InvalidSpec for a single run of bytes at ".", ERROR_TRANSIENT SpoolFailed,
 * ERROR_INTERNAL. */
struct error *artifact_revision(uv_loop_t *loop, const struct payload *payload,
                                const struct artifact_layout *layout, artifact_revision_done done,
                                void *context, struct operation **operation)
    __attribute__((warn_unused_result));

struct artifact_packed {
    struct blob *blob;              /* the tar.gz */
    char revision[SHA256_HEX_SIZE]; /* sha256 of the tar */
    char digest[SHA256_HEX_SIZE];   /* sha256 of the tar.gz */
};

/* On success `packed` is valid during the call; the receiver refs the blob if it keeps it. */
typedef void (*artifact_pack_done)(void *context, struct error *error,
                                   const struct artifact_packed *packed);

struct error *artifact_pack(uv_loop_t *loop, struct blob_store *blobs,
                            const struct payload *payload, const struct artifact_layout *layout,
                            artifact_pack_done done, void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* The same on the calling thread, for the bench and for tests. On success packed->blob is the
 * caller's. */
struct error *artifact_pack_now(struct blob_store *blobs, const struct payload *payload,
                                const struct artifact_layout *layout,
                                struct artifact_packed *packed) __attribute__((warn_unused_result));

#endif
