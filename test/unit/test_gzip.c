/* gzip: each compressor of this build gives what other programs unpack, whatever way input is cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "artifact/gzip.h"
#include "base/buffer.h"

static struct error *gather(void *context, const void *bytes, size_t length)
{
    buffer_append(context, bytes, length);
    return NULL;
}

/* Compressible text with a bit of noise, always the same. */
static char *make_input(size_t length)
{
    char *bytes = malloc(length + 1);
    uint32_t state = 12345;

    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (state >> 28) == 0 ? (char)(state >> 16) : "{\"key\": [1, 2, 3]}\n"[i % 19];
    }
    return bytes;
}

/* Compresses in pieces of `cut` bytes. */
static void compress_in_pieces(const struct gzip_codec *codec, const char *bytes, size_t length,
                               size_t cut, struct buffer *result)
{
    struct gzip *gzip;

    assert_null(gzip_new(codec, (struct gzip_sink){gather, result}, &gzip));
    for (size_t at = 0; at < length; at += cut)
        assert_null(gzip_write(gzip, bytes + at, length - at < cut ? length - at : cut));
    assert_null(gzip_finish(gzip));
    gzip_free(gzip);
}

static void assert_unpacks_to(const struct buffer *packed, const char *bytes, size_t length)
{
    z_stream stream = {.next_in = (unsigned char *)packed->bytes,
                       .avail_in = (unsigned)packed->length};
    char *unpacked = malloc(length + 1);

    assert_non_null(unpacked);
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    stream.next_out = (unsigned char *)unpacked;
    stream.avail_out = (unsigned)length + 1;
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, length);
    assert_int_equal(stream.avail_in, 0);
    assert_memory_equal(unpacked, bytes, length);
    inflateEnd(&stream);
    free(unpacked);
}

static const size_t sizes[] = {
    0, 1, 100, GZIP_CHUNK - 1, GZIP_CHUNK, GZIP_CHUNK + 1, 3 * GZIP_CHUNK, 1000 * 1000};

static void every_codec_gives_back_what_went_in(void **state)
{
    (void)state;
    assert_non_null(gzip_codecs[0]);
    for (const struct gzip_codec *const *codec = gzip_codecs; *codec; codec++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            _cleanup_(buffer) struct buffer packed = BUFFER_INIT;
            char *bytes = make_input(sizes[i]);

            compress_in_pieces(*codec, bytes, sizes[i], GZIP_CHUNK, &packed);
            assert_unpacks_to(&packed, bytes, sizes[i]);
            free(bytes);
        }
    }
}

static void noise_that_does_not_compress_passes_too(void **state)
{
    size_t length = 2 * GZIP_CHUNK + 77;
    char *bytes = malloc(length);
    uint32_t random = 7;

    (void)state;
    for (size_t i = 0; i < length; i++) {
        random = random * 1664525 + 1013904223;
        bytes[i] = (char)(random >> 24);
    }
    for (const struct gzip_codec *const *codec = gzip_codecs; *codec; codec++) {
        _cleanup_(buffer) struct buffer packed = BUFFER_INIT;

        compress_in_pieces(*codec, bytes, length, length, &packed);
        assert_unpacks_to(&packed, bytes, length);
    }
    free(bytes);
}

static void output_does_not_depend_on_how_input_is_cut(void **state)
{
    static const size_t cuts[] = {1000,       65536,          GZIP_CHUNK - 1,
                                  GZIP_CHUNK, GZIP_CHUNK + 1, 1u << 20};
    size_t length = 3 * GZIP_CHUNK + 12345;
    char *bytes = make_input(length);

    (void)state;
    for (const struct gzip_codec *const *codec = gzip_codecs; *codec; codec++) {
        _cleanup_(buffer) struct buffer whole = BUFFER_INIT;

        compress_in_pieces(*codec, bytes, length, length, &whole);
        for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
            _cleanup_(buffer) struct buffer pieces = BUFFER_INIT;

            compress_in_pieces(*codec, bytes, length, cuts[i], &pieces);
            assert_int_equal(pieces.length, whole.length);
            assert_memory_equal(pieces.bytes, whole.bytes, whole.length);
        }
    }
    free(bytes);
}

static void the_header_has_neither_time_nor_name(void **state)
{
    static const unsigned char expected[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0};

    (void)state;
    for (const struct gzip_codec *const *codec = gzip_codecs; *codec; codec++) {
        _cleanup_(buffer) struct buffer packed = BUFFER_INIT;

        compress_in_pieces(*codec, "text", 4, 4, &packed);
        assert_memory_equal(packed.bytes, expected, sizeof(expected));
    }
}

static struct error *refuse(void *context, const void *bytes, size_t length)
{
    (void)context;
    (void)bytes;
    (void)length;
    return error_new(ERROR_TRANSIENT, "SpoolFailed", "disk full");
}

static void an_error_of_the_sink_comes_back(void **state)
{
    (void)state;
    for (const struct gzip_codec *const *codec = gzip_codecs; *codec; codec++) {
        struct gzip *gzip;

        assert_null(gzip_new(*codec, (struct gzip_sink){refuse, NULL}, &gzip));
        struct error *error = gzip_write(gzip, "text", 4);
        if (!error)
            error = gzip_finish(gzip);
        assert_non_null(error);
        assert_string_equal(error->reason, "SpoolFailed");
        error_free(error);
        gzip_free(gzip);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codec_gives_back_what_went_in),
        cmocka_unit_test(noise_that_does_not_compress_passes_too),
        cmocka_unit_test(output_does_not_depend_on_how_input_is_cut),
        cmocka_unit_test(the_header_has_neither_time_nor_name),
        cmocka_unit_test(an_error_of_the_sink_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
