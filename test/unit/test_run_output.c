/* What a hostile child can leave in its output, where it may write anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "lua/run_output.h"

#define LIMIT ((uint64_t)1 << 20)

static const struct run_subject subject = {.label = "h"};

/* One file of an output. `lie` is added to the length of the content. */
struct part {
    const char *path, *content;
    int64_t lie;
};

static void append_part(struct buffer *bytes, const struct part *part)
{
    struct run_entry entry = {
        .path_length = (uint32_t)strlen(part->path),
        .content_length = strlen(part->content) + (uint64_t)part->lie,
    };

    buffer_append(bytes, &entry, sizeof(entry));
    buffer_append_string(bytes, part->path);
    buffer_append_string(bytes, part->content);
}

static void append_head(struct buffer *bytes, const char *json)
{
    struct run_logs logs = {.count = 1, .lines = {{.length = 7, .text = "info: x"}}};
    uint32_t length = (uint32_t)strlen(json);

    buffer_append(bytes, &logs, sizeof(logs));
    buffer_append(bytes, &length, sizeof(length));
    buffer_append_string(bytes, json);
}

static struct error *read_bytes(struct blob_store *blobs, const void *bytes, size_t length,
                                struct run_output *output)
{
    int file = memfd_create("output", MFD_CLOEXEC);

    memset(output, 0, sizeof(*output));
    assert_int_equal(file_write_all(file, bytes, length), 0);
    struct error *error = run_output_read(file, NULL, LIMIT, false, blobs, &subject, output);

    close(file);
    return error;
}

static int open_blobs(void **state)
{
    *state = blob_store_new("/tmp", (size_t)64 << 20);
    return *state ? 0 : -1;
}

static int close_blobs(void **state)
{
    blob_store_free(*state);
    return 0;
}

static void a_forged_output_is_a_crash(void **state)
{
    static const struct {
        const char *name, *json;
        struct part parts[2];
        const char *reason;
    } cases[] = {
        {"no JSON", "{", {{0}}, "Crashed"},
        {"no object", "[]", {{0}}, "Crashed"},
        {"no files that were promised", "{\"count\":1}", {{0}}, "Crashed"},
        {"a negative count", "{\"count\":-1}", {{0}}, "Crashed"},
        {"too many files", "{\"count\":1000000}", {{0}}, "Crashed"},
        {"a single result with a path", "{\"single\":true}", {{"a", "b", 0}}, "Crashed"},
        {"content that is too short", "{\"count\":1}", {{"a", "b", 1}}, "Crashed"},
        {"a length that wraps", "{\"count\":1}", {{"a", "b", -2}}, "Crashed"},
        {"the largest length", "{\"count\":1}", {{"a", "b", INT64_MAX}}, "Crashed"},
        {"bytes after the end", "{\"count\":1}", {{"a", "b", 0}, {"c", "d", 0}}, "Crashed"},
        {"bytes after a single result",
         "{\"single\":true}",
         {{"", "b", 0}, {"", "d", 0}},
         "Crashed"},
        {"metadata that is no object", "{\"count\":0,\"metadata\":[]}", {{0}}, "Crashed"},
        {"metadata of numbers", "{\"count\":0,\"metadata\":{\"a\":1}}", {{0}}, "Crashed"},
        {"a failure without message", "{\"reason\":\"X\"}", {{0}}, "Crashed"},
        {"a reason that is none", "{\"reason\":\"x y\",\"message\":\"m\"}", {{0}}, "Crashed"},
        {"a line that is negative",
         "{\"reason\":\"X\",\"message\":\"m\",\"line\":-1}",
         {{0}},
         "Crashed"},
        {"a path that leaves", "{\"count\":1}", {{"../a", "b", 0}}, "InvalidResult"},
        {"an absolute path", "{\"count\":1}", {{"/a", "b", 0}}, "InvalidResult"},
        {"an empty path", "{\"count\":1}", {{"", "b", 0}}, "InvalidResult"},
        {"a path twice", "{\"count\":2}", {{"a", "b", 0}, {"a", "d", 0}}, "InvalidResult"},
        {"a file in a file", "{\"count\":2}", {{"a", "b", 0}, {"a/b", "d", 0}}, "InvalidResult"},
        {"nothing at all", "{\"count\":0}", {{0}}, "EmptyResult"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(buffer) struct buffer bytes = BUFFER_INIT;
        struct run_output output;

        print_message("%s\n", cases[i].name);
        append_head(&bytes, cases[i].json);
        for (int part = 0; part < 2 && cases[i].parts[part].path; part++)
            append_part(&bytes, &cases[i].parts[part]);
        struct error *error = read_bytes(*state, bytes.bytes, bytes.length, &output);

        assert_non_null(error);
        assert_string_equal(error->reason, cases[i].reason);
        assert_null(output.payload);
        error_free(error);
        run_output_release(&output);
    }
}

static void a_good_output_is_read_whole(void **state)
{
    _cleanup_(buffer) struct buffer bytes = BUFFER_INIT;
    struct run_output output;

    append_head(&bytes, "{\"count\":2,\"metadata\":{\"k\":\"v\"}}");
    append_part(&bytes, &(struct part){"b", "two", 0});
    append_part(&bytes, &(struct part){"a/c", "", 0});
    assert_null(read_bytes(*state, bytes.bytes, bytes.length, &output));
    assert_int_equal(output.payload->count, 2);
    assert_string_equal(output.payload->files[0].path, "a/c");
    assert_int_equal(blob_length(output.payload->files[1].blob), 3);
    assert_int_equal(output.log_count, 1);
    assert_string_equal(output.logs[0], "info: x");
    run_output_release(&output);
}

static void an_output_cut_anywhere_is_refused(void **state)
{
    _cleanup_(buffer) struct buffer bytes = BUFFER_INIT;

    append_head(&bytes, "{\"count\":1}");
    append_part(&bytes, &(struct part){"b", "two", 0});
    for (size_t length = 0; length < bytes.length;
         length += length < sizeof(struct run_logs) ? 991 : 1) {
        struct run_output output;
        struct error *error = read_bytes(*state, bytes.bytes, length, &output);

        assert_non_null(error);
        assert_string_equal(error->reason, "Crashed");
        error_free(error);
        run_output_release(&output);
    }
}

static void random_changes_never_harm_the_core(void **state)
{
    unsigned seed = (unsigned)getpid();
    _cleanup_(buffer) struct buffer good = BUFFER_INIT;

    print_message("seed %u\n", seed);
    append_head(&good, "{\"count\":2,\"metadata\":{\"k\":\"v\"}}");
    append_part(&good, &(struct part){"b", "two", 0});
    append_part(&good, &(struct part){"a/c", "three", 0});
    for (int round = 0; round < 1000; round++) {
        char *bytes = malloc(good.length);
        size_t rest = good.length - sizeof(struct run_logs);
        struct run_output output;

        memcpy(bytes, good.bytes, good.length);
        for (int i = 0; i < 1 + round % 4; i++)
            bytes[sizeof(struct run_logs) + (size_t)rand_r(&seed) % rest] = (char)rand_r(&seed);
        for (int i = 0; i < 20; i++)
            bytes[(size_t)rand_r(&seed) % sizeof(struct run_logs)] = (char)rand_r(&seed);
        error_free(read_bytes(*state, bytes, good.length, &output));
        run_output_release(&output);
        free(bytes);
    }
}

static void an_output_beyond_its_limit_is_refused(void **state)
{
    int file = memfd_create("output", MFD_CLOEXEC);
    struct run_output output = {0};

    assert_int_equal(ftruncate(file, (off_t)(LIMIT + RUN_HEAD_MAX + sizeof(struct run_logs) + 1)),
                     0);
    struct error *error = run_output_read(file, NULL, LIMIT, false, *state, &subject, &output);

    assert_string_equal(error->reason, "OutputLimit");
    assert_string_equal(error->message, "hook 'h': gave more than its limit of 1Mi");
    error_free(error);
    run_output_release(&output);
    close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_output_is_read_whole),
        cmocka_unit_test(a_forged_output_is_a_crash),
        cmocka_unit_test(an_output_cut_anywhere_is_refused),
        cmocka_unit_test(random_changes_never_harm_the_core),
        cmocka_unit_test(an_output_beyond_its_limit_is_refused),
    };

    return cmocka_run_group_tests(tests, open_blobs, close_blobs);
}
