/* Blobs in memory and in spooled files: the same to every reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/blob.h"
#include "base/digest.h"

#define LARGE ((size_t)3 << 20)

struct fixture {
    char directory[64];
    struct blob_store *store;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/sluice-blob-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->store = blob_store_new(fixture->directory, (size_t)2 << 20);
    assert_non_null(fixture->store);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(blob_store_memory(fixture->store), 0);
    blob_store_free(fixture->store);
    assert_int_equal(rmdir(fixture->directory), 0); /* spooled files leave no name behind */
    free(fixture);
    return 0;
}

static struct blob *make_blob(struct fixture *fixture, size_t length)
{
    struct blob_writer *writer = blob_writer_new(fixture->store, length);
    struct blob *blob = NULL;

    assert_non_null(writer);
    for (size_t i = 0; i < length;) {
        char piece[1000];
        size_t count = length - i < sizeof(piece) ? length - i : sizeof(piece);

        for (size_t j = 0; j < count; j++)
            piece[j] = (char)((i + j) * 31 >> 3);
        assert_null(blob_writer_write(writer, piece, count));
        i += count;
    }
    assert_int_equal(blob_writer_length(writer), length);
    assert_null(blob_writer_seal(writer, &blob));
    return blob;
}

static void small_blobs_live_in_memory_and_large_ones_in_files(void **state)
{
    _cleanup_(blob) struct blob *small = make_blob(*state, 1000);
    _cleanup_(blob) struct blob *large = make_blob(*state, LARGE);

    assert_non_null(blob_memory(small));
    assert_null(blob_memory(large));
    assert_int_equal(blob_store_memory(((struct fixture *)*state)->store), 1000);
}

static void blobs_past_the_memory_limit_are_spooled(void **state)
{
    _cleanup_(blob) struct blob *first = make_blob(*state, 900000);
    _cleanup_(blob) struct blob *second = make_blob(*state, 900000);
    _cleanup_(blob) struct blob *third = make_blob(*state, 900000);

    assert_non_null(blob_memory(first));
    assert_null(blob_memory(third));
}

static void reading_gives_the_bytes_of_either(void **state)
{
    const size_t lengths[] = {0, 1, 1000, LARGE};

    for (size_t i = 0; i < 4; i++) {
        _cleanup_(blob) struct blob *blob = make_blob(*state, lengths[i]);
        _cleanup_(free) char *all = NULL;
        char piece[10];
        size_t length = 1;
        size_t count = 1;

        assert_null(blob_read_all(blob, LARGE, &all, &length));
        assert_int_equal(length, lengths[i]);
        for (size_t j = 0; j < length; j++)
            assert_int_equal(all[j], (char)(j * 31 >> 3));
        assert_null(blob_read(blob, lengths[i], piece, sizeof(piece), &count));
        assert_int_equal(count, 0);
        assert_null(blob_read(blob, lengths[i] / 2, piece, sizeof(piece), &count));
        assert_memory_equal(piece, all + lengths[i] / 2, count);
    }
}

static void a_writer_stops_at_its_limit_and_keeps_what_it_has(void **state)
{
    struct fixture *fixture = *state;
    struct blob_writer *writer = blob_writer_new(fixture->store, 5);
    struct blob *blob = NULL;

    assert_null(blob_writer_write(writer, "abc", 3));
    struct error *error = blob_writer_write(writer, "def", 3);
    assert_non_null(error);
    assert_int_equal(error->kind, ERROR_UPSTREAM);
    assert_string_equal(error->reason, "OutputLimit");
    assert_string_equal(error->message, "more than the 5 bytes that are accepted");
    error_free(error);
    assert_null(blob_writer_seal(writer, &blob));
    assert_int_equal(blob_length(blob), 3);
    blob_unref(blob);
}

static void a_descriptor_of_a_blob_can_only_read(void **state)
{
    const size_t lengths[] = {1000, LARGE};

    for (size_t i = 0; i < 2; i++) {
        _cleanup_(blob) struct blob *blob = make_blob(*state, lengths[i]);
        _cleanup_(fd) int first = -1;
        _cleanup_(fd) int second = -1;
        char bytes[4];

        assert_null(blob_open(blob, &first));
        assert_null(blob_open(blob, &second));
        assert_int_equal(fcntl(first, F_GETFL) & O_ACCMODE, O_RDONLY);
        assert_int_equal(write(first, "x", 1), -1);
        assert_int_equal(read(first, bytes, 4), 4);
        assert_int_equal(lseek(second, 0, SEEK_CUR), 0);
    }
}

static void *hash(void *context)
{
    const char *hex = NULL;

    if (blob_sha256(context, &hex))
        return NULL;
    return (void *)hex;
}

static void a_digest_is_the_same_for_every_thread_that_asks(void **state)
{
    _cleanup_(blob) struct blob *blob = make_blob(*state, LARGE);
    _cleanup_(free) char *all = NULL;
    char expected[SHA256_HEX_SIZE];
    pthread_t threads[4];
    size_t length;

    assert_null(blob_read_all(blob, LARGE, &all, &length));
    sha256_hex(all, length, expected);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash, blob), 0);
    for (size_t i = 0; i < 4; i++) {
        void *hex = NULL;

        assert_int_equal(pthread_join(threads[i], &hex), 0);
        assert_string_equal(hex, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_blobs_live_in_memory_and_large_ones_in_files, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(blobs_past_the_memory_limit_are_spooled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reading_gives_the_bytes_of_either, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_stops_at_its_limit_and_keeps_what_it_has, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_descriptor_of_a_blob_can_only_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_digest_is_the_same_for_every_thread_that_asks, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
