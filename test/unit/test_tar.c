/* The tar stream: its headers byte by byte, and what GNU tar and Python make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "artifact/tar.h"
#include "base/file.h"

#define BLOCK 512
#define TEN_A "aaaaaaaaaa"
#define FIFTY_A TEN_A TEN_A TEN_A TEN_A TEN_A
#define HUNDRED_A FIFTY_A FIFTY_A

static struct blob_store *store;

static int set_up(void **state)
{
    (void)state;
    store = blob_store_new("/tmp", (size_t)64 << 20);
    return store ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    blob_store_free(store);
    return 0;
}

/* A whole stream in memory, and the sizes of the chunks in which it came. */
struct stream {
    struct buffer bytes;
    size_t chunks;
    size_t odd_chunks; /* not of TAR_CHUNK bytes */
};

static struct error *gather(void *context, const void *bytes, size_t length)
{
    struct stream *stream = context;

    buffer_append(&stream->bytes, bytes, length);
    stream->chunks++;
    stream->odd_chunks += length != TAR_CHUNK;
    return NULL;
}

static void add_file(struct tar *tar, const char *path, const char *bytes, size_t length)
{
    _cleanup_(blob) struct blob *blob = NULL;

    assert_null(blob_from_bytes(store, bytes, length, &blob));
    assert_null(tar_file(tar, path, blob));
}

/* Standard output of a shell command. */
static char *output_of(const char *command)
{
    FILE *pipe = popen(command, "r");
    struct buffer output = BUFFER_INIT;
    char *room;
    size_t count;

    assert_non_null(pipe);
    do {
        room = buffer_reserve(&output, 4096);
        assert_non_null(room);
        count = fread(room, 1, 4096, pipe);
        buffer_commit(&output, count);
    } while (count > 0);
    assert_int_equal(pclose(pipe), 0);
    return buffer_steal(&output);
}

static void names_go_where_every_reader_finds_them(void **state)
{
    static const struct {
        const char *path;
        const char *name;
        const char *prefix;
        const char *pax; /* the PAX records, NULL if there must be none */
    } cases[] = {
        {"data.json", "data.json", "", NULL},
        {"a/b/", "a/b/", "", NULL},
        {HUNDRED_A, HUNDRED_A, "", NULL},
        {"d/" HUNDRED_A, HUNDRED_A, "d", NULL},
        {HUNDRED_A "/" FIFTY_A "/b", "b", HUNDRED_A "/" FIFTY_A, NULL},
        {HUNDRED_A "/" FIFTY_A "aaaa/b/c", "b/c", HUNDRED_A "/" FIFTY_A "aaaa", NULL},
        {HUNDRED_A "/" FIFTY_A "aaaaa/b", FIFTY_A "aaaaa/b", HUNDRED_A, NULL},
        {HUNDRED_A "a", HUNDRED_A, "", "111 path=" HUNDRED_A "a\n"},
        {HUNDRED_A "a/", HUNDRED_A, "", "112 path=" HUNDRED_A "a/\n"},
        {"größe",
         "gr__"
         "__e",
         "", "16 path=größe\n"},
        {"é", "__", "", "11 path=é\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(buffer) struct buffer blocks = BUFFER_INIT;
        char name[101] = "";
        char prefix[156] = "";

        tar_header(&blocks, cases[i].path, '0', 1);
        assert_int_equal(blocks.length, cases[i].pax ? 3 * BLOCK : BLOCK);
        const char *header = blocks.bytes + blocks.length - BLOCK;
        memcpy(name, header, 100);
        memcpy(prefix, header + 345, 155);
        assert_string_equal(name, cases[i].name);
        assert_string_equal(prefix, cases[i].prefix);
        if (cases[i].pax) {
            assert_int_equal(blocks.bytes[156], 'x');
            assert_string_equal(blocks.bytes + BLOCK, cases[i].pax);
        }
    }
}

static void a_header_says_nothing_about_when_and_who(void **state)
{
    _cleanup_(buffer) struct buffer file = BUFFER_INIT;
    _cleanup_(buffer) struct buffer directory = BUFFER_INIT;

    (void)state;
    tar_header(&file, "data.json", '0', 1234);
    assert_memory_equal(file.bytes + 100,
                        "0000644\0"
                        "0000000\0"
                        "0000000\0",
                        24);
    assert_memory_equal(file.bytes + 124,
                        "00000002322\0"
                        "00000000000\0",
                        24);
    assert_memory_equal(file.bytes + 156, "0", 1);
    assert_memory_equal(file.bytes + 257,
                        "ustar\0"
                        "00",
                        8);
    for (size_t i = 265; i < 329; i++)
        assert_int_equal(file.bytes[i], 0);

    tar_header(&directory, "d/", '5', 0);
    assert_memory_equal(directory.bytes + 100, "0000755\0", 8);
    assert_memory_equal(directory.bytes + 156, "5", 1);
}

static void a_size_over_8_gib_goes_into_a_pax_header(void **state)
{
    _cleanup_(buffer) struct buffer largest = BUFFER_INIT;
    _cleanup_(buffer) struct buffer larger = BUFFER_INIT;

    (void)state;
    tar_header(&largest, "f", '0', 8589934591);
    assert_int_equal(largest.length, BLOCK);
    assert_memory_equal(largest.bytes + 124, "77777777777\0", 12);
    tar_header(&larger, "f", '0', 8589934592);
    assert_int_equal(larger.length, 3 * BLOCK);
    assert_string_equal(larger.bytes + BLOCK, "19 size=8589934592\n");
}

static void the_stream_comes_in_chunks_of_one_size_and_ends_in_two_blocks_of_zeros(void **state)
{
    static const size_t sizes[] = {0, 1, 511, 512, 513, TAR_CHUNK - 512, TAR_CHUNK, 700000};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct stream stream = {0};
        _cleanup_(tar) struct tar *tar = tar_new((struct tar_sink){gather, &stream});
        char *bytes = calloc(1, sizes[i] + 1);
        size_t blocks = 1 + (sizes[i] + BLOCK - 1) / BLOCK + 2;

        add_file(tar, "f", bytes, sizes[i]);
        assert_null(tar_finish(tar));
        assert_int_equal(stream.bytes.length, blocks * BLOCK);
        assert_int_equal(stream.chunks, (blocks * BLOCK + TAR_CHUNK - 1) / TAR_CHUNK);
        assert_true(stream.odd_chunks <= 1);
        for (size_t at = stream.bytes.length - 2 * BLOCK; at < stream.bytes.length; at++)
            assert_int_equal(stream.bytes.bytes[at], 0);
        buffer_free(&stream.bytes);
        free(bytes);
    }
}

/* One archive of everything that is awkward, for other programs to open. */
static void write_awkward_archive(const char *path)
{
    struct stream stream = {0};
    _cleanup_(tar) struct tar *tar = tar_new((struct tar_sink){gather, &stream});
    char *large = malloc(300000);

    memset(large, 'x', 300000);
    assert_null(tar_directory(tar, "d"));
    add_file(tar, "d/empty", "", 0);
    add_file(tar, "d/large", large, 300000);
    add_file(tar, "d/" HUNDRED_A, "split", 5);
    add_file(tar, "d/" HUNDRED_A "b", "pax", 3);
    assert_null(tar_directory(tar, "d/größe"));
    add_file(tar, "d/größe/データ.json", "{}", 2);
    assert_null(tar_directory(tar, "d/" HUNDRED_A "c"));
    add_file(tar, "d/" HUNDRED_A "c/" HUNDRED_A "d/" HUNDRED_A "e", "deep", 4);
    assert_null(tar_finish(tar));
    assert_null(file_write_atomically(path, stream.bytes.bytes, stream.bytes.length));
    buffer_free(&stream.bytes);
    free(large);
}

static void gnu_tar_lists_what_was_written(void **state)
{
    char directory[] = "/tmp/sluice-tar-XXXXXX";
    char command[256];

    (void)state;
    assert_non_null(mkdtemp(directory));
    _cleanup_(free) char *path = path_join(directory, "a.tar");
    write_awkward_archive(path);
    snprintf(command, sizeof(command),
             "TZ=UTC LC_ALL=C.UTF-8 tar --numeric-owner --quoting-style=literal -tvf %s", path);
    _cleanup_(free) char *listing = output_of(command);
    assert_string_equal(listing,
                        "drwxr-xr-x 0/0               0 1970-01-01 00:00 d/\n"
                        "-rw-r--r-- 0/0               0 1970-01-01 00:00 d/empty\n"
                        "-rw-r--r-- 0/0          300000 1970-01-01 00:00 d/large\n"
                        "-rw-r--r-- 0/0               5 1970-01-01 00:00 d/" HUNDRED_A "\n"
                        "-rw-r--r-- 0/0               3 1970-01-01 00:00 d/" HUNDRED_A "b\n"
                        "drwxr-xr-x 0/0               0 1970-01-01 00:00 d/größe/\n"
                        "-rw-r--r-- 0/0               2 1970-01-01 00:00 d/größe/データ.json\n"
                        "drwxr-xr-x 0/0               0 1970-01-01 00:00 d/" HUNDRED_A "c/\n"
                        "-rw-r--r-- 0/0               4 1970-01-01 00:00 d/" HUNDRED_A
                        "c/" HUNDRED_A "d/" HUNDRED_A "e\n");
    unlink(path);
    rmdir(directory);
}

static void python_reads_the_same_names_and_contents(void **state)
{
    static const char script[] =
        "import sys, tarfile\n"
        "archive = tarfile.open(sys.argv[1], errorlevel=2)\n"
        "for m in archive:\n"
        "    content = archive.extractfile(m).read()[:8].decode() if m.isfile() else \"\"\n"
        "    name = m.name.replace(\"a\" * 100, \"A\")\n"
        "    print(name, oct(m.mode), m.size, m.mtime, m.uid, repr(m.uname), content)\n";
    char directory[] = "/tmp/sluice-tar-XXXXXX";
    char command[1024];

    (void)state;
    assert_non_null(mkdtemp(directory));
    _cleanup_(free) char *path = path_join(directory, "a.tar");
    write_awkward_archive(path);
    snprintf(command, sizeof(command), "PYTHONIOENCODING=utf-8 LC_ALL=C.UTF-8 python3 -c '%s' %s",
             script, path);
    _cleanup_(free) char *listing = output_of(command);
    assert_string_equal(listing, "d 0o755 0 0 0 '' \n"
                                 "d/empty 0o644 0 0 0 '' \n"
                                 "d/large 0o644 300000 0 0 '' xxxxxxxx\n"
                                 "d/A 0o644 5 0 0 '' split\n"
                                 "d/Ab 0o644 3 0 0 '' pax\n"
                                 "d/größe 0o755 0 0 0 '' \n"
                                 "d/größe/データ.json 0o644 2 0 0 '' {}\n"
                                 "d/Ac 0o755 0 0 0 '' \n"
                                 "d/Ac/Ad/Ae 0o644 4 0 0 '' deep\n");
    unlink(path);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_go_where_every_reader_finds_them),
        cmocka_unit_test(a_header_says_nothing_about_when_and_who),
        cmocka_unit_test(a_size_over_8_gib_goes_into_a_pax_header),
        cmocka_unit_test(the_stream_comes_in_chunks_of_one_size_and_ends_in_two_blocks_of_zeros),
        cmocka_unit_test(gnu_tar_lists_what_was_written),
        cmocka_unit_test(python_reads_the_same_names_and_contents),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
