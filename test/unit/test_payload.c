/* Payloads: which paths may stand together in an artifact, and who owns the blobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "source/payload.h"

static struct blob_store *store;

static int set_up(void **state)
{
    (void)state;
    store = blob_store_new("/nonexistent", (size_t)64 << 20);
    return store ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(blob_store_memory(store), 0);
    blob_store_free(store);
    return 0;
}

static struct blob *blob_of(const char *text)
{
    struct blob *blob;

    assert_null(blob_from_bytes(store, text, strlen(text), &blob));
    return blob;
}

static void add(struct payload *payload, const char *path)
{
    struct error *error = payload_add(payload, path, strlen(path), blob_of(path));

    if (error)
        fail_msg("%s: %s", path, error->message);
}

static char long_segment[257];
static char long_path[1026];

static const struct {
    const char *path;
    size_t length; /* 0: strlen */
    const char *fault;
} path_cases[] = {
    {"a", 0, NULL},
    {"a/b/c.yaml", 0, NULL},
    {"..a", 0, NULL},
    {"a..b", 0, NULL},
    {"a/b..", 0, NULL},
    {"...", 0, NULL},
    {".hidden/file", 0, NULL},
    {"größe/データ.json", 0, NULL},
    {"white space", 0, NULL},
    {"", 0, "is empty"},
    {"/etc/passwd", 0, "is absolute"},
    {"/", 0, "is absolute"},
    {".", 0, "has a '.' segment"},
    {"a/./b", 0, "has a '.' segment"},
    {"..", 0, "contains '..'"},
    {"../a", 0, "contains '..'"},
    {"a/..", 0, "contains '..'"},
    {"a/../b", 0, "contains '..'"},
    {"a../b", 0, "contains '../'"},
    {"a//b", 0, "has an empty segment"},
    {"a/", 0, "has an empty segment"},
    {"a\\b", 0, "contains a backslash"},
    {"a\nb", 0, "contains a control character"},
    {"a\x7f", 0, "contains a control character"},
    {"a\0b", 3, "contains a NUL byte"},
    {"a\xff", 0, "is not valid UTF-8"},
    {"\xc0\xaf", 0, "is not valid UTF-8"},
    {long_segment, 0, "has a segment longer than 255 bytes"},
    {long_path, 0, "is longer than 1024 bytes"},
};

static void a_path_is_judged_by_one_rule(void **state)
{
    memset(long_segment, 'a', 256);
    for (size_t i = 0; i < 1025; i++)
        long_path[i] = i % 2 ? '/' : 'a';

    (void)state;
    for (size_t i = 0; i < sizeof(path_cases) / sizeof(path_cases[0]); i++) {
        size_t length = path_cases[i].length ? path_cases[i].length : strlen(path_cases[i].path);
        const char *fault = path_fault(path_cases[i].path, length);

        if (path_cases[i].fault && fault)
            assert_string_equal(fault, path_cases[i].fault);
        else if (path_cases[i].fault || fault)
            fail_msg("'%s': found %s, expected %s", path_cases[i].path, fault, path_cases[i].fault);
    }
}

static void files_are_kept_sorted_by_their_bytes(void **state)
{
    static const char *const given[] = {"b", "a/z", "a-b", "a/b/c", "a.txt", "Z", "é", "a/b0"};
    static const char *const sorted[] = {"Z", "a-b", "a.txt", "a/b/c", "a/b0", "a/z", "b", "é"};
    _cleanup_(payload) struct payload *payload = payload_new_files();

    (void)state;
    for (size_t i = 0; i < 8; i++)
        add(payload, given[i]);
    assert_int_equal(payload->count, 8);
    for (size_t i = 0; i < 8; i++)
        assert_string_equal(payload->files[i].path, sorted[i]);
}

static void paths_that_cannot_stand_together_are_refused(void **state)
{
    static const struct {
        const char *first;
        const char *second;
        const char *message;
    } cases[] = {
        {"a", "a", "file path 'a' is given twice"},
        {"a", "a/b",
         "file paths 'a/b' and 'a' cannot both be: one needs a directory where the other is a "
         "file"},
        {"a/b/c", "a/b",
         "file paths 'a/b' and 'a/b/c' cannot both be: one needs a directory where the other is a "
         "file"},
        {"a/b", "a/b/c/d",
         "file paths 'a/b/c/d' and 'a/b' cannot both be: one needs a directory where the other is "
         "a "
         "file"},
        {"x", "../y",
         "file path '../y' contains '..'; accepted: a relative path such as 'dir/file.yaml'"},
        {"x", "a\nb\xff",
         "file path 'a\\x0ab\\xff' contains a control character; accepted: a relative path such as "
         "'dir/file.yaml'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(payload) struct payload *payload = payload_new_files();
        const char *second = cases[i].second;

        add(payload, cases[i].first);
        add(payload, "a-0");
        _cleanup_(error) struct error *error =
            payload_add(payload, second, strlen(second), blob_of("refused"));
        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_HOOK);
        assert_string_equal(error->reason, "InvalidResult");
        assert_string_equal(error->message, cases[i].message);
        assert_int_equal(payload->count, 2);
    }
}

static void a_long_bad_path_is_cut_in_the_message(void **state)
{
    char path[3000];
    _cleanup_(payload) struct payload *payload = payload_new_files();

    (void)state;
    memset(path, 'x', sizeof(path));
    _cleanup_(error) struct error *error =
        payload_add(payload, path, sizeof(path), blob_of("refused"));
    assert_non_null(error);
    assert_non_null(strstr(error->message, "xxx…' is longer than 1024 bytes"));
    assert_true(strlen(error->message) < 400);
}

static void emptiness_is_no_file_or_one_run_of_no_bytes(void **state)
{
    _cleanup_(payload) struct payload *none = payload_new_files();
    _cleanup_(payload) struct payload *empty_file = payload_new_files();
    _cleanup_(payload) struct payload *no_bytes = payload_new_single(blob_of(""));
    _cleanup_(payload) struct payload *bytes = payload_new_single(blob_of("four"));

    (void)state;
    assert_null(payload_add(empty_file, "marker", 6, blob_of("")));
    assert_true(payload_empty(none));
    assert_true(payload_empty(no_bytes));
    assert_false(payload_empty(empty_file));
    assert_false(payload_empty(bytes));
    assert_int_equal(payload_size(bytes), 4);
}

static void a_copy_lives_on_its_own_and_can_grow(void **state)
{
    struct payload *payload = payload_new_files();
    _cleanup_(payload) struct payload *copy = NULL;
    char *bytes;
    size_t length;

    (void)state;
    add(payload, "one");
    add(payload, "two");
    add(payload, "three");
    assert_null(payload_copy(payload, &copy));
    payload_free(payload);
    add(copy, "four");
    assert_int_equal(copy->count, 4);
    assert_string_equal(copy->files[0].path, "four");
    assert_null(blob_read_all(copy->files[1].blob, 10, &bytes, &length));
    assert_string_equal(bytes, "one");
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_judged_by_one_rule),
        cmocka_unit_test(files_are_kept_sorted_by_their_bytes),
        cmocka_unit_test(paths_that_cannot_stand_together_are_refused),
        cmocka_unit_test(a_long_bad_path_is_cut_in_the_message),
        cmocka_unit_test(emptiness_is_no_file_or_one_run_of_no_bytes),
        cmocka_unit_test(a_copy_lives_on_its_own_and_can_grow),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
