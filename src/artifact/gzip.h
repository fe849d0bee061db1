/*
 * gzip (RFC 1952), streaming, over one of the compressors that this build has. The header carries
 * no time and no name. Internal to this folder.
 */
#ifndef SLUICE_ARTIFACT_GZIP_H
#define SLUICE_ARTIFACT_GZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* What compressors are fed at a time, but for the last: the output of ISA-L depends on how its
 * input is cut, and must not depend on how our callers cut it. */
#define GZIP_CHUNK ((size_t)256 << 10)

struct gzip_sink {
    struct error *(*write)(void *context, const void *bytes, size_t length);
    void *context;
};

/* A compressor. */
struct gzip_codec {
    const char *name;                     /* "isal", "zlib" */
    struct error *(*open)(void **stream); /* on error *stream is NULL */
    struct error *(*deflate)(void *stream, const void *bytes, size_t length, bool last,
                             const struct gzip_sink *sink);
    void (*close)(void *stream);
};

/* Those of this build, the fastest first, ended by NULL. */
extern const struct gzip_codec *const gzip_codecs[];

struct gzip;

struct error *gzip_new(const struct gzip_codec *codec, struct gzip_sink sink, struct gzip **gzip)
    __attribute__((warn_unused_result));
void gzip_free(struct gzip *gzip);

/* Compresses what follows. Errors are the sink's, or ERROR_INTERNAL, reason CompressionFailed;
 * after one the stream is of no use. */
struct error *gzip_write(struct gzip *gzip, const void *bytes, size_t length)
    __attribute__((warn_unused_result));

/* Ends the stream: everything has gone to the sink. */
struct error *gzip_finish(struct gzip *gzip) __attribute__((warn_unused_result));

CLEANUP_DEFINE(gzip, struct gzip *, gzip_free)

#endif
