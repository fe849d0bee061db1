/* Artifacts: what a payload becomes, that it is always the same, and what a cancel leaves behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "artifact/artifact.h"
#include "base/buffer.h"
#include "base/file.h"

struct world {
    char directory[64];
    struct blob_store *blobs;
    uv_loop_t loop;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    snprintf(world->directory, sizeof(world->directory), "/tmp/sluice-artifact-XXXXXX");
    if (!mkdtemp(world->directory) || uv_loop_init(&world->loop) != 0)
        return -1;
    world->blobs = blob_store_new(world->directory, (size_t)64 << 20);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    assert_int_equal(uv_run(&world->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    assert_int_equal(blob_store_memory(world->blobs), 0);
    blob_store_free(world->blobs);
    assert_int_equal(rmdir(world->directory), 0);
    free(world);
    return 0;
}

static struct blob *blob_of(struct world *world, const char *bytes, size_t length)
{
    struct blob *blob;

    assert_null(blob_from_bytes(world->blobs, bytes, length, &blob));
    return blob;
}

static struct payload *single_of(struct world *world, const char *text)
{
    return payload_new_single(blob_of(world, text, strlen(text)));
}

/* Files with their own paths as content. */
static struct payload *files_of(struct world *world, const char *const *paths, size_t count)
{
    struct payload *payload = payload_new_files();

    for (size_t i = 0; i < count; i++)
        assert_null(payload_add(payload, paths[i], strlen(paths[i]),
                                blob_of(world, paths[i], strlen(paths[i]))));
    return payload;
}

static void pack(struct world *world, const struct payload *payload, const char *destination,
                 struct artifact_packed *packed)
{
    const struct artifact_layout layout = {.destination_path = destination};
    struct error *error = artifact_pack_now(world->blobs, payload, &layout, packed);

    if (error)
        fail_msg("%s", error->message);
}

/* Standard output of `command`, in which %s is a file with the blob's bytes. */
static char *output_of(struct world *world, const struct blob *blob, const char *command)
{
    _cleanup_(free) char *path = path_join(world->directory, "a.tar.gz");
    struct buffer output = BUFFER_INIT;
    char line[512];
    char *bytes;
    size_t length;

    assert_null(blob_read_all(blob, SIZE_MAX, &bytes, &length));
    assert_null(file_write_atomically(path, bytes, length));
    free(bytes);
    snprintf(line, sizeof(line), "F=%s; export LC_ALL=C.UTF-8; %s", path, command);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    while (fgets(line, sizeof(line), pipe))
        buffer_append_string(&output, line);
    assert_int_equal(pclose(pipe), 0);
    unlink(path);
    return buffer_steal(&output);
}

static const char *const names[] = {"b/two", "a", "b/c/three", "b-", "z/é"};
#define NAMES (sizeof(names) / sizeof(names[0]))

static void files_stand_in_order_below_their_destination(void **state)
{
    static const struct {
        const char *destination;
        const char *listing;
    } cases[] = {
        {"data", "data/\ndata/a\ndata/b-\ndata/b/\ndata/b/c/\ndata/b/c/three\ndata/b/two\ndata/z/\n"
                 "data/z/é\n"},
        {"x/y", "x/\nx/y/\nx/y/a\nx/y/b-\nx/y/b/\nx/y/b/c/\nx/y/b/c/three\nx/y/b/two\nx/y/z/\n"
                "x/y/z/é\n"},
        {".", "a\nb-\nb/\nb/c/\nb/c/three\nb/two\nz/\nz/é\n"},
        {"", "a\nb-\nb/\nb/c/\nb/c/three\nb/two\nz/\nz/é\n"},
    };
    struct world *world = *state;
    _cleanup_(payload) struct payload *payload = files_of(world, names, NAMES);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct artifact_packed packed;

        pack(world, payload, cases[i].destination, &packed);
        _cleanup_(free) char *listing =
            output_of(world, packed.blob, "tar --quoting-style=literal -tzf $F");
        assert_string_equal(listing, cases[i].listing);
        blob_unref(packed.blob);
    }
}

static void a_single_run_of_bytes_is_the_destination_itself(void **state)
{
    struct world *world = *state;
    _cleanup_(payload) struct payload *payload = single_of(world, "{\"a\": 1}\n");
    struct artifact_packed packed;

    pack(world, payload, "deep/er/data.json", &packed);
    _cleanup_(free) char *listing = output_of(world, packed.blob, "tar -tzf $F");
    _cleanup_(free) char *content = output_of(world, packed.blob, "tar -xzOf $F");
    assert_string_equal(listing, "deep/\ndeep/er/\ndeep/er/data.json\n");
    assert_string_equal(content, "{\"a\": 1}\n");
    blob_unref(packed.blob);
}

static void a_single_run_of_bytes_cannot_be_a_directory(void **state)
{
    struct world *world = *state;
    _cleanup_(payload) struct payload *payload = single_of(world, "x");
    const struct artifact_layout layout = {.destination_path = "."};
    struct artifact_packed packed;
    _cleanup_(error) struct error *error =
        artifact_pack_now(world->blobs, payload, &layout, &packed);

    assert_non_null(error);
    assert_int_equal(error->kind, ERROR_CONFIGURATION);
    assert_string_equal(error->message,
                        "spec.destinationPath: found '.', a directory; accepted: the path of a "
                        "file, because the result is one run of bytes");
    assert_null(packed.blob);
}

static void no_files_at_all_make_the_destination_alone(void **state)
{
    struct world *world = *state;
    _cleanup_(payload) struct payload *payload = payload_new_files();
    struct artifact_packed packed;

    pack(world, payload, "data", &packed);
    _cleanup_(free) char *listing = output_of(world, packed.blob, "tar -tzf $F");
    assert_string_equal(listing, "data/\n");
    blob_unref(packed.blob);
}

static void digests_are_those_that_sha256sum_finds(void **state)
{
    struct world *world = *state;
    _cleanup_(payload) struct payload *payload = files_of(world, names, NAMES);
    struct artifact_packed packed;
    char expected[2 * SHA256_HEX_SIZE + 1];
    const char *hex;

    pack(world, payload, "data", &packed);
    _cleanup_(free) char *sums = output_of(
        world, packed.blob, "sha256sum < $F | cut -c-64; gzip -dc $F | sha256sum | cut -c-64");
    snprintf(expected, sizeof(expected), "%s\n%s\n", packed.digest, packed.revision);
    assert_string_equal(sums, expected);
    assert_null(blob_sha256(packed.blob, &hex));
    assert_string_equal(hex, packed.digest);
    blob_unref(packed.blob);
}

/* The revision is a promise across machines and versions. The first is what GNU tar makes of the
 * same file (tar --format=ustar -b1 --numeric-owner --owner=0 --group=0 --mtime=@0 -c data |
 * sha256sum). */
static void the_revision_never_changes(void **state)
{
    struct world *world = *state;
    _cleanup_(payload) struct payload *single = single_of(world, "hello\n");
    _cleanup_(payload) struct payload *files = files_of(world, names, NAMES);
    struct artifact_packed packed;

    pack(world, single, "data", &packed);
    assert_string_equal(packed.revision,
                        "1c9af007f987c5569b97fea83ee1571646cb1c4aee5581ce54d6870503a78a78");
    blob_unref(packed.blob);
    pack(world, files, "data", &packed);
    assert_string_equal(packed.revision,
                        "5818a8b879abd01d4277edbc05e61037d293a8d23c34be4e8eb1127aca048102");
    blob_unref(packed.blob);
}

struct outcome {
    unsigned calls;
    struct error *error;
    char revision[SHA256_HEX_SIZE];
    char digest[SHA256_HEX_SIZE];
};

static void revision_came(void *context, struct error *error, const char hex[SHA256_HEX_SIZE])
{
    struct outcome *outcome = context;

    outcome->calls++;
    outcome->error = error;
    if (!error)
        memcpy(outcome->revision, hex, SHA256_HEX_SIZE);
}

static void pack_came(void *context, struct error *error, const struct artifact_packed *packed)
{
    struct outcome *outcome = context;

    outcome->calls++;
    outcome->error = error;
    if (error)
        return;
    memcpy(outcome->revision, packed->revision, SHA256_HEX_SIZE);
    memcpy(outcome->digest, packed->digest, SHA256_HEX_SIZE);
}

/* 3 MiB, so that it is spooled, of lines that differ. */
static struct payload *large_single(struct world *world)
{
    struct buffer bytes = BUFFER_INIT;

    for (unsigned i = 0; bytes.length < 3u << 20; i++)
        buffer_appendf(&bytes, "{\"number\": %u, \"square\": %u}\n", i, i * i);
    struct payload *payload = payload_new_single(blob_of(world, bytes.bytes, bytes.length));
    buffer_free(&bytes);
    return payload;
}

static void both_steps_agree_and_complete_from_the_loop(void **state)
{
    const struct artifact_layout layout = {.destination_path = "data.json"};
    struct world *world = *state;
    _cleanup_(payload) struct payload *payload = large_single(world);
    struct outcome hashed = {0};
    struct outcome packed = {0};
    struct artifact_packed now;
    struct operation *operations[2];

    assert_null(
        artifact_revision(&world->loop, payload, &layout, revision_came, &hashed, &operations[0]));
    assert_null(artifact_pack(&world->loop, world->blobs, payload, &layout, pack_came, &packed,
                              &operations[1]));
    assert_int_equal(hashed.calls + packed.calls, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(hashed.calls, 1);
    assert_int_equal(packed.calls, 1);
    assert_null(hashed.error);
    assert_null(packed.error);
    assert_string_equal(hashed.revision, packed.revision);
    pack(world, payload, "data.json", &now);
    assert_string_equal(now.revision, packed.revision);
    assert_string_equal(now.digest, packed.digest);
    blob_unref(now.blob);
}

static void an_error_is_delivered_once(void **state)
{
    const struct artifact_layout layout = {.destination_path = ""};
    struct world *world = *state;
    _cleanup_(payload) struct payload *payload = single_of(world, "x");
    struct outcome hashed = {0};
    struct operation *operation;

    assert_null(
        artifact_revision(&world->loop, payload, &layout, revision_came, &hashed, &operation));
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(hashed.calls, 1);
    assert_non_null(hashed.error);
    assert_string_equal(hashed.error->reason, "InvalidSpec");
    error_free(hashed.error);
}

/* More than the pool has threads, so that some are cancelled in the queue and some at work; the
 * payload goes at once. What is left over is found by the sanitizer and by the tear-down. */
static void a_cancelled_step_never_completes_and_leaks_nothing(void **state)
{
    const struct artifact_layout layout = {.destination_path = "data.json"};
    struct world *world = *state;
    struct payload *payload = large_single(world);
    struct outcome outcome = {0};
    struct operation *operations[12];

    for (size_t i = 0; i < 12; i++)
        assert_null(artifact_pack(&world->loop, world->blobs, payload, &layout, pack_came, &outcome,
                                  &operations[i]));
    usleep(2000);
    payload_free(payload);
    for (size_t i = 0; i < 12; i++)
        operation_cancel(&operations[i]);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(outcome.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_stand_in_order_below_their_destination, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_single_run_of_bytes_is_the_destination_itself, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_single_run_of_bytes_cannot_be_a_directory, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(no_files_at_all_make_the_destination_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(digests_are_those_that_sha256sum_finds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_revision_never_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(both_steps_agree_and_complete_from_the_loop, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_error_is_delivered_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_step_never_completes_and_leaks_nothing, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
