/*
 * See gzip.h. The one idea: input is gathered into chunks of one size before the compressor sees
 * it; what already comes as whole chunks is passed on without a copy.
 */
#include "artifact/gzip.h"

#include <stdlib.h>
#include <string.h>

#include "artifact/codec.h"

const struct gzip_codec *const gzip_codecs[] = {
#ifdef SLUICE_HAVE_ISAL
    &codec_isal,
#endif
    &codec_zlib,
    NULL,
};

struct gzip {
    const struct gzip_codec *codec;
    void *stream;
    struct gzip_sink sink;
    size_t length; /* bytes gathered in `chunk`, always less than a whole one */
    char chunk[GZIP_CHUNK];
};

struct error *gzip_new(const struct gzip_codec *codec, struct gzip_sink sink, struct gzip **result)
{
    struct gzip *gzip = malloc(sizeof(*gzip));

    *result = NULL;
    if (!gzip)
        return error_out_of_memory();
    gzip->codec = codec;
    gzip->sink = sink;
    gzip->length = 0;
    struct error *error = codec->open(&gzip->stream);
    if (error) {
        free(gzip);
        return error;
    }
    *result = gzip;
    return NULL;
}

void gzip_free(struct gzip *gzip)
{
    if (!gzip)
        return;
    gzip->codec->close(gzip->stream);
    free(gzip);
}

static struct error *feed(struct gzip *gzip, const void *bytes, size_t length, bool last)
{
    return gzip->codec->deflate(gzip->stream, bytes, length, last, &gzip->sink);
}

struct error *gzip_write(struct gzip *gzip, const void *bytes, size_t length)
{
    const char *at = bytes;
    struct error *error = NULL;

    while (!error && length > 0) {
        size_t count = GZIP_CHUNK;

        if (gzip->length == 0 && length >= GZIP_CHUNK) {
            error = feed(gzip, at, GZIP_CHUNK, false);
        } else {
            size_t room = GZIP_CHUNK - gzip->length;

            count = length < room ? length : room;
            memcpy(gzip->chunk + gzip->length, at, count);
            gzip->length += count;
            if (gzip->length == GZIP_CHUNK) {
                gzip->length = 0;
                error = feed(gzip, gzip->chunk, GZIP_CHUNK, false);
            }
        }
        at += count;
        length -= count;
    }
    return error;
}

struct error *gzip_finish(struct gzip *gzip)
{
    size_t length = gzip->length;

    gzip->length = 0;
    return feed(gzip, gzip->chunk, length, true);
}
