/*
 * gzip by zlib, for machines that ISA-L is not packaged for. Level 1: an artifact is compressed far
 * more often than it is worth a few percent of its size.
 */
#include <stdlib.h>
#include <zlib.h>

#include "artifact/codec.h"

#define OUTPUT_SIZE ((size_t)64 << 10)
#define WINDOW_BITS_GZIP (15 + 16)
#define MEMORY_LEVEL 8

struct stream {
    z_stream z;
    unsigned char output[OUTPUT_SIZE];
};

static struct error *open_stream(void **result)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    *result = NULL;
    if (!stream)
        return error_out_of_memory();
    if (deflateInit2(&stream->z, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS_GZIP, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        free(stream);
        return error_out_of_memory();
    }
    *result = stream;
    return NULL;
}

static struct error *deflate_bytes(void *state, const void *bytes, size_t length, bool last,
                                   const struct gzip_sink *sink)
{
    struct stream *stream = state;
    struct error *error = NULL;
    int code;

    stream->z.next_in = (unsigned char *)bytes;
    stream->z.avail_in = (unsigned)length; /* at most GZIP_CHUNK */
    do {
        stream->z.next_out = stream->output;
        stream->z.avail_out = OUTPUT_SIZE;
        code = deflate(&stream->z, last ? Z_FINISH : Z_NO_FLUSH);
        if (code == Z_STREAM_ERROR)
            return error_new(ERROR_INTERNAL, "CompressionFailed", "zlib cannot compress");
        error = sink->write(sink->context, stream->output, OUTPUT_SIZE - stream->z.avail_out);
    } while (!error && stream->z.avail_out == 0 && code != Z_STREAM_END);
    return error;
}

static void close_stream(void *state)
{
    struct stream *stream = state;

    deflateEnd(&stream->z);
    free(stream);
}

const struct gzip_codec codec_zlib = {
    .name = "zlib",
    .open = open_stream,
    .deflate = deflate_bytes,
    .close = close_stream,
};
