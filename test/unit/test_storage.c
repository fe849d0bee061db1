/* Storage: one contract, held against every backend, and what is special to files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "storage/storage.h"

#define KEY_A "artifacts/team-a/app/00aa.tar.gz"
#define KEY_B "artifacts/team-a/app/00bb.tar.gz"
#define KEY_C "artifacts/team-a/app.v2/00cc.tar.gz"
#define KEY_D "artifacts/team-b/app/00dd.tar.gz"

struct world {
    char directory[64];
    struct blob_store *blobs;
    uv_loop_t loop;
    struct storage *storage;
    /* what the last operation brought */
    unsigned calls;
    struct error *error;
    bool found;
    struct storage_object object;
    struct buffer keys; /* each with a line feed */
};

static struct world *world_new(void)
{
    struct world *world = calloc(1, sizeof(*world));

    snprintf(world->directory, sizeof(world->directory), "/tmp/sluice-storage-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    assert_int_equal(uv_loop_init(&world->loop), 0);
    world->blobs = blob_store_new(world->directory, (size_t)64 << 20);
    return world;
}

static int set_up_memory(void **state)
{
    struct world *world = world_new();

    *state = world;
    assert_null(storage_memory_new(&world->loop, &world->storage));
    return 0;
}

static struct error *open_files(struct world *world)
{
    _cleanup_(free) char *directory = path_join(world->directory, "made/for/it");

    return storage_file_new(&world->loop, world->blobs, directory, &world->storage);
}

static int set_up_file(void **state)
{
    struct world *world = world_new();

    *state = world;
    assert_null(open_files(world));
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    char command[128];

    storage_free(world->storage);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    assert_int_equal(blob_store_memory(world->blobs), 0);
    blob_store_free(world->blobs);
    error_free(world->error);
    buffer_free(&world->keys);
    snprintf(command, sizeof(command), "rm -rf '%s'", world->directory);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static void object_came(void *context, struct error *error, const struct storage_object *object)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
    world->found = object != NULL;
    if (object)
        world->object = *object;
}

static void done(void *context, struct error *error)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
}

static void keys_came(void *context, struct error *error, const char *const *keys, size_t count)
{
    struct world *world = context;

    world->calls++;
    world->error = error;
    for (size_t i = 0; i < count; i++) {
        buffer_append_string(&world->keys, keys[i]);
        buffer_append_byte(&world->keys, '\n');
    }
}

/* Runs the loop until what was started has completed: once, and not before. */
static void wait_for(struct world *world, struct error *started)
{
    assert_null(started);
    assert_int_equal(world->calls, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 1);
    world->calls = 0;
    if (world->error)
        fail_msg("%s", world->error->message);
}

static void put(struct world *world, const char *key, const char *bytes, size_t length)
{
    _cleanup_(blob) struct blob *blob = NULL;
    struct operation *operation;

    assert_null(blob_from_bytes(world->blobs, bytes, length, &blob));
    wait_for(world, storage_put(world->storage, key, blob, object_came, world, &operation));
    assert_true(world->found);
}

static void put_text(struct world *world, const char *key, const char *text)
{
    put(world, key, text, strlen(text));
}

static void stat_key(struct world *world, const char *key)
{
    struct operation *operation;

    wait_for(world, storage_stat(world->storage, key, object_came, world, &operation));
}

static void remove_key(struct world *world, const char *key)
{
    struct operation *operation;

    wait_for(world, storage_remove(world->storage, key, done, world, &operation));
}

static const char *list(struct world *world, const char *prefix)
{
    struct operation *operation;

    buffer_free(&world->keys);
    wait_for(world, storage_list(world->storage, prefix, keys_came, world, &operation));
    return buffer_string(&world->keys);
}

/* The text under a key as servers see it (free); NULL if there is none. */
static char *read_key(struct world *world, const char *key)
{
    _cleanup_(blob) struct blob *blob = NULL;
    char *bytes;
    size_t length;

    assert_null(storage_open(world->storage, key, &blob));
    if (!blob)
        return NULL;
    assert_null(blob_read_all(blob, SIZE_MAX, &bytes, &length));
    return bytes;
}

static void assert_holds(struct world *world, const char *key, const char *text)
{
    _cleanup_(free) char *bytes = read_key(world, key);
    char hex[SHA256_HEX_SIZE];

    assert_non_null(bytes);
    assert_string_equal(bytes, text);
    stat_key(world, key);
    assert_true(world->found);
    sha256_hex(text, strlen(text), hex);
    assert_string_equal(world->object.digest, hex);
    assert_int_equal(world->object.size, strlen(text));
}

static void what_was_put_is_found_with_its_digest(void **state)
{
    struct world *world = *state;

    put_text(world, KEY_A, "first");
    assert_int_equal(world->object.size, 5);
    assert_holds(world, KEY_A, "first");
}

static void bytes_are_never_replaced_and_put_tells_what_is_there(void **state)
{
    struct world *world = *state;
    char hex[SHA256_HEX_SIZE];

    put_text(world, KEY_A, "the first bytes");
    put_text(world, KEY_A, "other");
    sha256_hex("the first bytes", 15, hex);
    assert_string_equal(world->object.digest, hex);
    assert_int_equal(world->object.size, 15);
    assert_holds(world, KEY_A, "the first bytes");
}

static void an_object_larger_than_memory_blobs_arrives_whole(void **state)
{
    struct world *world = *state;
    size_t length = (3u << 20) + 17;
    char *bytes = malloc(length);
    char hex[SHA256_HEX_SIZE];

    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)(i * i >> 7);
    put(world, KEY_A, bytes, length);
    sha256_hex(bytes, length, hex);
    assert_string_equal(world->object.digest, hex);
    _cleanup_(free) char *stored = read_key(world, KEY_A);
    assert_memory_equal(stored, bytes, length);
    free(bytes);
}

static void a_missing_key_is_no_error(void **state)
{
    struct world *world = *state;

    stat_key(world, KEY_A);
    assert_false(world->found);
    assert_null(read_key(world, KEY_A));
    remove_key(world, KEY_A);
    assert_string_equal(list(world, "artifacts/"), "");
    assert_string_equal(list(world, "artifacts/team-a/app/"), "");
}

static void a_removed_key_is_gone_and_can_be_put_again(void **state)
{
    struct world *world = *state;

    put_text(world, KEY_A, "old");
    put_text(world, KEY_B, "other");
    remove_key(world, KEY_A);
    stat_key(world, KEY_A);
    assert_false(world->found);
    assert_holds(world, KEY_B, "other");
    put_text(world, KEY_A, "new");
    assert_holds(world, KEY_A, "new");
}

static void a_reader_keeps_what_it_opened_although_it_is_removed(void **state)
{
    struct world *world = *state;
    _cleanup_(blob) struct blob *blob = NULL;
    char *bytes;
    size_t length;

    put_text(world, KEY_A, "being downloaded");
    assert_null(storage_open(world->storage, KEY_A, &blob));
    remove_key(world, KEY_A);
    assert_null(blob_read_all(blob, 100, &bytes, &length));
    assert_string_equal(bytes, "being downloaded");
    free(bytes);
}

static void a_list_is_sorted_and_holds_only_its_prefix(void **state)
{
    struct world *world = *state;

    put_text(world, KEY_D, "d");
    put_text(world, KEY_C, "c");
    put_text(world, KEY_B, "b");
    put_text(world, KEY_A, "a");
    assert_string_equal(list(world, "artifacts/team-a/app/"), KEY_A "\n" KEY_B "\n");
    assert_string_equal(list(world, "artifacts/team-a/"), KEY_C "\n" KEY_A "\n" KEY_B "\n");
    assert_string_equal(list(world, "artifacts/"), KEY_C "\n" KEY_A "\n" KEY_B "\n" KEY_D "\n");
    assert_string_equal(list(world, "artifacts/team/"), "");
}

/* More than the pool has threads, so that some are cancelled in the queue and some at work. */
static void a_cancelled_operation_never_completes(void **state)
{
    struct world *world = *state;
    struct operation *operations[10];
    struct blob *blob;

    assert_null(blob_from_bytes(world->blobs, "text", 4, &blob));
    for (size_t i = 0; i < 10; i++) {
        char key[64];

        snprintf(key, sizeof(key), "artifacts/ns/name/%02zx.tar.gz", i);
        assert_null(storage_put(world->storage, key, blob, object_came, world, &operations[i]));
    }
    blob_unref(blob);
    for (size_t i = 0; i < 10; i++)
        operation_cancel(&operations[i]);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 0);
}

static void only_keys_of_artifacts_are_taken(void **state)
{
    static const char *const bad[] = {
        "",
        "artifacts",
        "artifacts/",
        "artifacts/ns/name",
        "artifacts/ns/name/",
        "artifacts/ns/name/00.tar.gz/",
        "artifacts/ns/name/00.tar.gz/x",
        "/artifacts/ns/name/00.tar.gz",
        "artifacts//name/00.tar.gz",
        "artifacts/ns//00.tar.gz",
        "artifacts/ns/../00.tar.gz",
        "artifacts/../ns/00.tar.gz",
        "artifacts/ns/name/..",
        "artifacts/ns/name/.tar.gz",
        "artifacts/ns/name/0G.tar.gz",
        "artifacts/ns/name/AA.tar.gz",
        "artifacts/ns/name/00.tar",
        "artifacts/ns/name/.sluice-new-00.tar.gz",
        "artifacts/Ns/name/00.tar.gz",
        "artifacts/n.s/name/00.tar.gz",
        "artifacts/-ns/name/00.tar.gz",
        "artifacts/ns/name-/00.tar.gz",
        "artifacts/ns/na..me/00.tar.gz",
        "artifacts/ns/na.-me/00.tar.gz",
        "status/ns/name/00.tar.gz",
    };
    struct world *world = *state;
    struct operation *operation = NULL;
    struct blob *blob;

    assert_true(storage_key_valid(KEY_A));
    assert_true(storage_key_valid(KEY_C));
    assert_null(blob_from_bytes(world->blobs, "text", 4, &blob));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (storage_key_valid(bad[i]))
            fail_msg("'%s' counts as a key", bad[i]);
        _cleanup_(error) struct error *error =
            storage_put(world->storage, bad[i], blob, object_came, world, &operation);
        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_STORAGE);
        assert_string_equal(error->reason, "StorageOperationFailed");
        assert_non_null(strstr(error->message, "not a key of the form "
                                               "artifacts/NAMESPACE/NAME/REVISION.tar.gz"));
        assert_null(read_key(world, bad[i]));
    }
    blob_unref(blob);
}

static void only_whole_directories_are_listed(void **state)
{
    static const char *const bad[] = {"",
                                      "/",
                                      "artifacts",
                                      "artifacts/ns",
                                      "artifacts//",
                                      "artifacts/ns//",
                                      "artifacts/../",
                                      "artifacts/ns/../",
                                      "artifacts/ns/name/x/",
                                      "status/"};
    struct world *world = *state;
    struct operation *operation;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        _cleanup_(error) struct error *error =
            storage_list(world->storage, bad[i], keys_came, world, &operation);

        if (!error)
            fail_msg("'%s' counts as a prefix", bad[i]);
    }
}

/* From here on: files only. */

static char *on_disk(const struct world *world, const char *path)
{
    return format_string("%s/made/for/it/%s", world->directory, path);
}

static bool is_on_disk(const struct world *world, const char *path)
{
    _cleanup_(free) char *full = on_disk(world, path);

    return access(full, F_OK) == 0;
}

static void reopen(struct world *world)
{
    storage_free(world->storage);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_null(open_files(world));
}

static void files_survive_a_restart(void **state)
{
    struct world *world = *state;

    put_text(world, KEY_A, "durable");
    reopen(world);
    assert_holds(world, KEY_A, "durable");
    assert_true(world->storage->ops->persistent);
    assert_true(is_on_disk(world, KEY_A));
}

static void what_a_crash_left_is_removed_at_start(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *beside = on_disk(world, "artifacts/team-a/app/.sluice-new-0123");
    _cleanup_(free) char *alone = on_disk(world, "artifacts/team-x/gone/.sluice-new-4567");
    _cleanup_(free) char *alone_in = on_disk(world, "artifacts/team-x/gone");
    _cleanup_(free) char *foreign = on_disk(world, "artifacts/team-a/app/notes.txt");

    put_text(world, KEY_A, "kept");
    assert_null(file_make_directories(alone_in));
    assert_null(file_write_atomically(beside, "half", 4));
    assert_null(file_write_atomically(alone, "half", 4));
    assert_null(file_write_atomically(foreign, "not ours", 8));
    assert_string_equal(list(world, "artifacts/"), KEY_A "\n");
    reopen(world);
    assert_int_not_equal(access(beside, F_OK), 0);
    assert_false(is_on_disk(world, "artifacts/team-x"));
    assert_int_equal(access(foreign, F_OK), 0);
    assert_holds(world, KEY_A, "kept");
}

static void directories_go_with_their_last_key(void **state)
{
    struct world *world = *state;

    put_text(world, KEY_A, "a");
    put_text(world, KEY_B, "b");
    put_text(world, KEY_C, "c");
    remove_key(world, KEY_A);
    assert_true(is_on_disk(world, "artifacts/team-a/app"));
    remove_key(world, KEY_B);
    assert_false(is_on_disk(world, "artifacts/team-a/app"));
    assert_true(is_on_disk(world, "artifacts/team-a"));
    remove_key(world, KEY_C);
    assert_false(is_on_disk(world, "artifacts/team-a"));
    put_text(world, KEY_A, "again");
    assert_holds(world, KEY_A, "again");
}

static void links_are_not_followed(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *link_path = on_disk(world, KEY_B);
    _cleanup_(free) char *directory_link = on_disk(world, "artifacts/linked");
    _cleanup_(blob) struct blob *blob = NULL;

    put_text(world, KEY_A, "a");
    assert_int_equal(symlink("/etc/passwd", link_path), 0);
    _cleanup_(error) struct error *error = storage_open(world->storage, KEY_B, &blob);
    assert_non_null(error);
    assert_string_equal(error->message, "file storage: open '" KEY_B
                                        "': cannot open: Too many levels of symbolic links");
    assert_int_equal(symlink("team-a", directory_link), 0);
    _cleanup_(error) struct error *other =
        storage_open(world->storage, "artifacts/linked/app/00aa.tar.gz", &blob);
    assert_non_null(other);
    assert_null(blob);
}

static void a_failure_names_backend_operation_key_and_cause(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *in_the_way = on_disk(world, "artifacts");
    _cleanup_(blob) struct blob *blob = NULL;
    struct operation *operation;

    assert_null(file_write_atomically(in_the_way, "", 0));
    assert_null(blob_from_bytes(world->blobs, "text", 4, &blob));
    assert_null(storage_put(world->storage, KEY_A, blob, object_came, world, &operation));
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 1);
    assert_false(world->found);
    assert_int_equal(world->error->kind, ERROR_STORAGE);
    assert_string_equal(world->error->reason, "StorageOperationFailed");
    assert_string_equal(world->error->message, "file storage: put '" KEY_A
                                               "': cannot open its directory: Not a directory");
}

static void a_directory_that_cannot_be_made_is_named_at_start(void **state)
{
    struct world *world = world_new();

    *state = world;
    _cleanup_(error) struct error *error =
        storage_file_new(&world->loop, world->blobs, "/proc/no/such", &world->storage);
    assert_non_null(error);
    assert_int_equal(error->kind, ERROR_STORAGE);
    assert_string_equal(
        error->message,
        "file storage: /proc/no: cannot make the directory: No such file or directory");
}

#define WITH_MEMORY(test)                                      \
    {                                                          \
        "memory: " #test, test, set_up_memory, tear_down, NULL \
    }
#define WITH_FILE(test)                                    \
    {                                                      \
        "file: " #test, test, set_up_file, tear_down, NULL \
    }
#define WITH_BOTH(test) WITH_MEMORY(test), WITH_FILE(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BOTH(what_was_put_is_found_with_its_digest),
        WITH_BOTH(bytes_are_never_replaced_and_put_tells_what_is_there),
        WITH_BOTH(an_object_larger_than_memory_blobs_arrives_whole),
        WITH_BOTH(a_missing_key_is_no_error),
        WITH_BOTH(a_removed_key_is_gone_and_can_be_put_again),
        WITH_BOTH(a_reader_keeps_what_it_opened_although_it_is_removed),
        WITH_BOTH(a_list_is_sorted_and_holds_only_its_prefix),
        WITH_BOTH(a_cancelled_operation_never_completes),
        WITH_BOTH(only_keys_of_artifacts_are_taken),
        WITH_BOTH(only_whole_directories_are_listed),
        WITH_FILE(files_survive_a_restart),
        WITH_FILE(what_a_crash_left_is_removed_at_start),
        WITH_FILE(directories_go_with_their_last_key),
        WITH_FILE(links_are_not_followed),
        WITH_FILE(a_failure_names_backend_operation_key_and_cause),
        {"a_directory_that_cannot_be_made_is_named_at_start",
         a_directory_that_cannot_be_made_is_named_at_start, NULL, tear_down, NULL},
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
