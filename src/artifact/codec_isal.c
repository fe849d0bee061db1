/* gzip by ISA-L: some ten times as fast as zlib, where the machine has it. */
#ifdef SLUICE_HAVE_ISAL

#include <isa-l/igzip_lib.h>
#include <stdlib.h>

#include "artifact/codec.h"

#define OUTPUT_SIZE ((size_t)64 << 10)
#define LEVEL 1
#define LEVEL_BUFFER_SIZE ISAL_DEF_LVL1_DEFAULT

struct stream {
    struct isal_zstream isal;
    uint8_t level_buffer[LEVEL_BUFFER_SIZE];
    uint8_t output[OUTPUT_SIZE];
};

static struct error *open_stream(void **result)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    *result = stream;
    if (!stream)
        return error_out_of_memory();
    isal_deflate_init(&stream->isal);
    stream->isal.gzip_flag = IGZIP_GZIP;
    stream->isal.level = LEVEL;
    stream->isal.level_buf = stream->level_buffer;
    stream->isal.level_buf_size = LEVEL_BUFFER_SIZE;
    return NULL;
}

static struct error *deflate_bytes(void *state, const void *bytes, size_t length, bool last,
                                   const struct gzip_sink *sink)
{
    struct stream *stream = state;
    struct isal_zstream *isal = &stream->isal;
    struct error *error = NULL;

    isal->next_in = (uint8_t *)bytes;
    isal->avail_in = (uint32_t)length; /* at most GZIP_CHUNK */
    isal->end_of_stream = last;
    do {
        isal->next_out = stream->output;
        isal->avail_out = OUTPUT_SIZE;
        if (isal_deflate(isal) != COMP_OK)
            return error_new(ERROR_INTERNAL, "CompressionFailed", "ISA-L cannot compress");
        error = sink->write(sink->context, stream->output, OUTPUT_SIZE - isal->avail_out);
    } while (!error && isal->avail_out == 0);
    if (!error && last && isal->internal_state.state != ZSTATE_END)
        return error_new(ERROR_INTERNAL, "CompressionFailed", "ISA-L did not end its stream");
    return error;
}

const struct gzip_codec codec_isal = {
    .name = "isal",
    .open = open_stream,
    .deflate = deflate_bytes,
    .close = free,
};

#else

/* ISO C wants a translation unit to declare something. */
typedef int codec_isal_is_missing;

#endif
