/* Storage in files: what is on disk, what a crash leaves, and what is not followed. */
#include "storage_world.h"

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
        storage_file_new(&world->loop, world->blobs, "/proc/no/such", false, &world->storage);
    assert_non_null(error);
    assert_int_equal(error->kind, ERROR_STORAGE);
    assert_string_equal(
        error->message,
        "file storage: /proc/no: cannot make the directory: No such file or directory");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_file, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(files_survive_a_restart),
        TEST(what_a_crash_left_is_removed_at_start),
        TEST(directories_go_with_their_last_key),
        TEST(links_are_not_followed),
        TEST(a_failure_names_backend_operation_key_and_cause),
        cmocka_unit_test_teardown(a_directory_that_cannot_be_made_is_named_at_start, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
