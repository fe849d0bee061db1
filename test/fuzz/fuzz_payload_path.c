/* Paths, a line each, added to one payload: no two files can be in each other's way. */
#include "fuzz.h"

#include "base/blob.h"
#include "source/payload.h"

/* By another way than path_fault's: nothing that is let in leaves the directory. */
static void check_path(const char *path)
{
    CHECK(*path && *path != '/' && strlen(path) <= 1024);
    CHECK(utf8_valid_prefix(path, strlen(path)) == strlen(path));
    CHECK(!strstr(path, "//") && !strstr(path, "../") && path[strlen(path) - 1] != '/');
    for (const char *segment = path; segment; segment = strchr(segment, '/')) {
        segment += *segment == '/';
        size_t length = strcspn(segment, "/");

        CHECK(length > 0 && length <= 255);
        CHECK(strncmp(segment, ".", length) != 0 && strncmp(segment, "..", length) != 0);
    }
    for (const char *at = path; *at; at++)
        CHECK((unsigned char)*at >= ' ' && *at != 0x7f && *at != '\\');
}

static void check_payload(const struct payload *payload)
{
    for (size_t i = 0; i < payload->count; i++) {
        const char *path = payload->files[i].path;
        size_t length = strlen(path);

        check_path(path);
        if (i > 0)
            CHECK(strcmp(payload->files[i - 1].path, path) < 0);
        for (size_t j = i + 1; j < payload->count; j++)
            CHECK(strncmp(payload->files[j].path, path, length) != 0 ||
                  payload->files[j].path[length] != '/');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct blob_store *blobs = blob_store_new("/nonexistent", 1 << 20);
    struct payload *payload = payload_new_files();
    size_t added = 0;

    CHECK(blobs && payload);
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at : size - at;
        _cleanup_(free) char *path = fuzz_text(data + at, length);
        struct blob *blob = NULL;

        CHECK(!blob_from_bytes(blobs, "x", 1, &blob));
        if (!fuzz_failed(payload_add(payload, path, length, blob), ERROR_HOOK, "InvalidResult"))
            added++;
        at += length + 1;
    }
    CHECK(payload->count == added && payload_size(payload) == added);
    check_payload(payload);
    payload_free(payload);
    blob_store_free(blobs);
    return 0;
}
