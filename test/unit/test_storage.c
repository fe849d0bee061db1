/* Storage: one contract, held against every backend. */
#include "storage_world.h"

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

/* Of many puts at once one gets the key, and all are told of its bytes. */
static void puts_of_one_key_at_once_agree_on_what_is_stored(void **state)
{
    struct world *world = *state;
    struct operation *operation;
    struct world outcomes[8] = {0};

    for (size_t i = 0; i < 8; i++) {
        _cleanup_(blob) struct blob *blob = NULL;
        char text[100];

        memset(text, 'a' + (int)i, sizeof(text));
        assert_null(blob_from_bytes(world->blobs, text, sizeof(text), &blob));
        assert_null(
            storage_put(world->storage, KEY_A, blob, object_came, &outcomes[i], &operation));
    }
    uv_run(&world->loop, UV_RUN_DEFAULT);
    stat_key(world, KEY_A);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(outcomes[i].calls, 1);
        assert_true(outcomes[i].found);
        assert_string_equal(outcomes[i].object.digest, world->object.digest);
    }
    assert_string_equal(list(world, "artifacts/"), KEY_A "\n");
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

#define WITH_BOTH(test)                                       \
    {"memory: " #test, test, set_up_memory, tear_down, NULL}, \
    {                                                         \
        "file: " #test, test, set_up_file, tear_down, NULL    \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BOTH(what_was_put_is_found_with_its_digest),
        WITH_BOTH(bytes_are_never_replaced_and_put_tells_what_is_there),
        WITH_BOTH(an_object_larger_than_memory_blobs_arrives_whole),
        WITH_BOTH(puts_of_one_key_at_once_agree_on_what_is_stored),
        WITH_BOTH(a_missing_key_is_no_error),
        WITH_BOTH(a_removed_key_is_gone_and_can_be_put_again),
        WITH_BOTH(a_reader_keeps_what_it_opened_although_it_is_removed),
        WITH_BOTH(a_list_is_sorted_and_holds_only_its_prefix),
        WITH_BOTH(a_cancelled_operation_never_completes),
        WITH_BOTH(only_keys_of_artifacts_are_taken),
        WITH_BOTH(only_whole_directories_are_listed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
