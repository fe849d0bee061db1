/*
 * See payload.h. The files are one array sorted by path, in which everything below a directory
 * stands together: conflicts are found with two or three binary searches, and pack walks it as it
 * is.
 */
#include "source/payload.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/utf8.h"

#define PATH_LENGTH_MAX 1024
#define SEGMENT_LENGTH_MAX 255 /* NAME_MAX of every file system that an artifact is unpacked on */
#define QUOTE_LENGTH_MAX 200

struct payload *payload_new_single(struct blob *blob)
{
    struct payload *payload = calloc(1, sizeof(*payload));

    if (payload)
        payload->files = calloc(1, sizeof(*payload->files));
    if (!payload || !payload->files) {
        free(payload);
        blob_unref(blob);
        return NULL;
    }
    payload->files[0].blob = blob;
    payload->count = 1;
    payload->capacity = 1;
    payload->single = true;
    return payload;
}

struct payload *payload_new_files(void)
{
    return calloc(1, sizeof(struct payload));
}

static const char *segment_fault(const char *segment, size_t length)
{
    if (length == 0)
        return "has an empty segment";
    if (length == 1 && segment[0] == '.')
        return "has a '.' segment";
    if (length == 2 && segment[0] == '.' && segment[1] == '.')
        return "contains '..'";
    if (length > SEGMENT_LENGTH_MAX)
        return "has a segment longer than 255 bytes";
    return NULL;
}

static const char *byte_fault(const char *path, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)path[i];

        if (byte == '\0')
            return "contains a NUL byte";
        if (byte < 0x20 || byte == 0x7f)
            return "contains a control character";
        if (byte == '\\')
            return "contains a backslash";
    }
    return NULL;
}

const char *path_fault(const char *path, size_t length)
{
    const char *end = path + length;

    if (length == 0)
        return "is empty";
    if (length > PATH_LENGTH_MAX)
        return "is longer than 1024 bytes";
    if (path[0] == '/')
        return "is absolute";

    const char *fault = byte_fault(path, length);
    if (fault)
        return fault;
    if (utf8_valid_prefix(path, length) != length)
        return "is not valid UTF-8";
    for (const char *segment = path; segment <= end;) {
        const char *slash = memchr(segment, '/', (size_t)(end - segment));
        size_t segment_length = (size_t)((slash ? slash : end) - segment);

        fault = segment_fault(segment, segment_length);
        if (fault)
            return fault;
        segment += segment_length + 1;
    }
    return memmem(path, length, "../", 3) ? "contains '../'" : NULL;
}

/* Compares as strcmp would, but with a path that does not end in NUL. */
static int compare(const char *path, size_t length, const char *other)
{
    size_t other_length = strlen(other);
    int order = memcmp(path, other, length < other_length ? length : other_length);

    if (order != 0)
        return order;
    return (length > other_length) - (length < other_length);
}

/* The first file whose path is not less than `path`; *found says whether it is equal. */
static size_t position(const struct payload *payload, const char *path, size_t length, bool *found)
{
    size_t low = 0;
    size_t high = payload->count;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(path, length, payload->files[middle].path);

        if (order == 0)
            *found = true;
        if (order <= 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The file that stands where `path` needs a directory, or below what `path` would make a file. */
static const char *obstacle(const struct payload *payload, const char *path)
{
    size_t length = strlen(path);
    bool found;

    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t at = position(payload, path, (size_t)(slash - path), &found);

        if (found)
            return payload->files[at].path;
    }

    char below[PATH_LENGTH_MAX + 1];
    memcpy(below, path, length);
    below[length] = '/';
    size_t at = position(payload, below, length + 1, &found);
    if (at < payload->count && strncmp(payload->files[at].path, below, length + 1) == 0)
        return payload->files[at].path;
    return NULL;
}

/* The path as a message may show it: printable, cut where it is very long. */
static void quote(struct buffer *text, const char *path, size_t length)
{
    size_t shown = length < QUOTE_LENGTH_MAX ? length : QUOTE_LENGTH_MAX;

    for (size_t i = 0; i < shown;) {
        uint32_t code_point;
        size_t size = utf8_decode(path + i, length - i, &code_point);

        if (size == 0 || code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0)) {
            buffer_appendf(text, "\\x%02x", (unsigned char)path[i]);
            size = 1;
        } else {
            buffer_append(text, path + i, size);
        }
        i += size;
    }
    if (shown < length)
        buffer_append_string(text, "…");
}

static struct error *bad_path(const char *path, size_t length, const char *fault)
{
    _cleanup_(buffer) struct buffer shown = BUFFER_INIT;

    quote(&shown, path, length);
    if (shown.failed)
        return error_out_of_memory();
    return error_new(ERROR_HOOK, "InvalidResult",
                     "file path '%s' %s; accepted: a relative path such as 'dir/file.yaml'",
                     buffer_string(&shown), fault);
}

static bool grow(struct payload *payload)
{
    if (payload->count < payload->capacity)
        return true;

    size_t capacity = payload->capacity ? payload->capacity * 2 : 8;
    struct payload_file *files = reallocarray(payload->files, capacity, sizeof(*payload->files));
    if (!files)
        return false;
    payload->files = files;
    payload->capacity = capacity;
    return true;
}

static struct error *insert(struct payload *payload, char *path, struct blob *blob)
{
    bool found;
    size_t at = position(payload, path, strlen(path), &found);

    if (found)
        return error_new(ERROR_HOOK, "InvalidResult", "file path '%s' is given twice", path);

    const char *other = obstacle(payload, path);
    if (other)
        return error_new(ERROR_HOOK, "InvalidResult",
                         "file paths '%s' and '%s' cannot both be: one needs a directory where the "
                         "other is a file",
                         path, other);
    if (!grow(payload))
        return error_out_of_memory();
    memmove(&payload->files[at + 1], &payload->files[at],
            (payload->count - at) * sizeof(*payload->files));
    payload->files[at] = (struct payload_file){.path = path, .blob = blob};
    payload->count++;
    return NULL;
}

struct error *payload_add(struct payload *payload, const char *path, size_t path_length,
                          struct blob *blob)
{
    const char *fault = path_fault(path, path_length);
    char *copy = fault ? NULL : strndup(path, path_length);
    struct error *error = NULL;

    if (fault)
        error = bad_path(path, path_length, fault);
    else if (!copy)
        error = error_out_of_memory();
    else
        error = insert(payload, copy, blob);
    if (error) {
        free(copy);
        blob_unref(blob);
    }
    return error;
}

struct error *payload_copy(const struct payload *from, struct payload **payload)
{
    struct payload *copy = calloc(1, sizeof(*copy));
    size_t capacity = from->count ? from->count : 1;

    *payload = NULL;
    if (copy)
        copy->files = calloc(capacity, sizeof(*copy->files));
    if (!copy || !copy->files) {
        free(copy);
        return error_out_of_memory();
    }
    copy->capacity = capacity;
    copy->single = from->single;
    for (size_t i = 0; i < from->count; i++) {
        const struct payload_file *file = &from->files[i];

        copy->files[i].blob = blob_ref(file->blob);
        copy->count++;
        copy->files[i].path = file->path ? strdup(file->path) : NULL;
        if (file->path && !copy->files[i].path) {
            payload_free(copy);
            return error_out_of_memory();
        }
    }
    *payload = copy;
    return NULL;
}

uint64_t payload_size(const struct payload *payload)
{
    uint64_t size = 0;

    for (size_t i = 0; i < payload->count; i++)
        size += blob_length(payload->files[i].blob);
    return size;
}

bool payload_empty(const struct payload *payload)
{
    return payload->count == 0 || (payload->single && payload_size(payload) == 0);
}

void payload_free(struct payload *payload)
{
    if (!payload)
        return;
    for (size_t i = 0; i < payload->count; i++) {
        free(payload->files[i].path);
        blob_unref(payload->files[i].blob);
    }
    free(payload->files);
    free(payload);
}
