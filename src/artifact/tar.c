/*
 * See tar.h. The stream is gathered in one chunk that file contents are read into directly, so that
 * whatever comes after (hash, compressor) always sees the same chunks for the same input.
 */
#include "artifact/tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)512)
#define USTAR_SIZE_MAX 077777777777 /* eleven octal digits */
#define PAX_NAME "PaxHeaders/entry"

struct ustar {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[8]; /* "ustar", NUL, version "00" */
    char user[32];
    char group[32];
    char device_major[8];
    char device_minor[8];
    char prefix[155];
    char padding[12];
};
_Static_assert(sizeof(struct ustar) == 512, "a ustar header is one block");

struct tar {
    struct tar_sink sink;
    size_t length; /* bytes gathered in `chunk` */
    char chunk[TAR_CHUNK];
};

struct tar *tar_new(struct tar_sink sink)
{
    struct tar *tar = malloc(sizeof(*tar));

    if (!tar)
        return NULL;
    tar->sink = sink;
    tar->length = 0;
    return tar;
}

void tar_free(struct tar *tar)
{
    free(tar);
}

static struct error *flush(struct tar *tar)
{
    size_t length = tar->length;

    tar->length = 0;
    return tar->sink.write(tar->sink.context, tar->chunk, length);
}

/* Counts bytes that were put at the chunk's end. */
static struct error *advance(struct tar *tar, size_t length)
{
    tar->length += length;
    return tar->length == TAR_CHUNK ? flush(tar) : NULL;
}

static struct error *append(struct tar *tar, const char *bytes, size_t length)
{
    struct error *error = NULL;

    while (!error && length > 0) {
        size_t room = TAR_CHUNK - tar->length;
        size_t count = length < room ? length : room;

        memcpy(tar->chunk + tar->length, bytes, count);
        bytes += count;
        length -= count;
        error = advance(tar, count);
    }
    return error;
}

/* Zeros up to a whole block. A chunk is a whole number of blocks, so they fit. */
static struct error *pad(struct tar *tar)
{
    size_t over = tar->length % BLOCK;

    if (over == 0)
        return NULL;
    memset(tar->chunk + tar->length, 0, BLOCK - over);
    return advance(tar, BLOCK - over);
}

static struct error *append_blob(struct tar *tar, const struct blob *blob)
{
    uint64_t length = blob_length(blob);
    struct error *error = NULL;

    for (uint64_t offset = 0; !error && offset < length;) {
        size_t count;

        error = blob_read(blob, offset, tar->chunk + tar->length, TAR_CHUNK - tar->length, &count);
        if (error)
            return error;
        offset += count;
        error = advance(tar, count);
    }
    return error ? error : pad(tar);
}

/* Splits a path that is too long for `name` at a slash, so that "prefix/name" is the path. False if
 * there is no such slash. */
static bool split(const char *path, size_t length, struct ustar *header)
{
    size_t last = length > 0 && path[length - 1] == '/' ? length - 1 : length;

    for (size_t at = last; at-- > 1;) {
        if (path[at] != '/')
            continue;
        if (length - at - 1 > sizeof(header->name))
            return false;
        if (at > sizeof(header->prefix))
            continue;
        memcpy(header->prefix, path, at);
        memcpy(header->name, path + at + 1, length - at - 1);
        return true;
    }
    return false;
}

/* Fills the header's name; false if it can only be said in a PAX header. What old readers then see
 * is the path's beginning. */
static bool set_name(const char *path, struct ustar *header)
{
    size_t length = strlen(path);
    size_t shown = length < sizeof(header->name) ? length : sizeof(header->name);
    bool ascii = true;

    for (size_t i = 0; i < length; i++)
        ascii = ascii && (unsigned char)path[i] < 0x80;
    if (ascii && length > sizeof(header->name) && split(path, length, header))
        return true;
    for (size_t i = 0; i < shown; i++)
        header->name[i] = (unsigned char)path[i] < 0x80 ? path[i] : '_';
    return ascii && length <= sizeof(header->name);
}

static void append_header(struct buffer *blocks, struct ustar *header, char type, uint64_t size)
{
    unsigned sum = 0;

    snprintf(header->mode, sizeof(header->mode), "%07o", type == '5' ? 0755u : 0644u);
    snprintf(header->uid, sizeof(header->uid), "%07o", 0u);
    snprintf(header->gid, sizeof(header->gid), "%07o", 0u);
    snprintf(header->size, sizeof(header->size), "%011llo", (unsigned long long)size);
    snprintf(header->mtime, sizeof(header->mtime), "%011o", 0u);
    snprintf(header->device_major, sizeof(header->device_major), "%07o", 0u);
    snprintf(header->device_minor, sizeof(header->device_minor), "%07o", 0u);
    memcpy(header->magic,
           "ustar\0"
           "00",
           sizeof(header->magic));
    header->type = type;

    memset(header->checksum, ' ', sizeof(header->checksum));
    for (size_t i = 0; i < sizeof(*header); i++)
        sum += ((const unsigned char *)header)[i];
    snprintf(header->checksum, sizeof(header->checksum), "%06o", sum);
    buffer_append(blocks, header, sizeof(*header));
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts its own digits too. */
static void append_record(struct buffer *records, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3;
    size_t length = rest + 1;

    while (length != rest + (size_t)snprintf(NULL, 0, "%zu", length))
        length = rest + (size_t)snprintf(NULL, 0, "%zu", length);
    buffer_appendf(records, "%zu %s=%s\n", length, key, value);
}

static void append_pax(struct buffer *blocks, const struct buffer *records)
{
    static const char zeros[BLOCK];
    struct ustar header = {.name = PAX_NAME};
    size_t over = records->length % BLOCK;

    append_header(blocks, &header, 'x', records->length);
    buffer_append(blocks, buffer_string(records), records->length);
    if (over > 0)
        buffer_append(blocks, zeros, BLOCK - over);
}

void tar_header(struct buffer *blocks, const char *path, char type, uint64_t size)
{
    struct ustar header = {0};
    _cleanup_(buffer) struct buffer records = BUFFER_INIT;
    char decimal[24];

    if (!set_name(path, &header))
        append_record(&records, "path", path);
    if (size > USTAR_SIZE_MAX) {
        snprintf(decimal, sizeof(decimal), "%llu", (unsigned long long)size);
        append_record(&records, "size", decimal);
        size = 0; /* as readers expect of a size that the PAX header gives */
    }
    if (records.length > 0)
        append_pax(blocks, &records);
    append_header(blocks, &header, type, size);
    blocks->failed = blocks->failed || records.failed;
}

static struct error *append_headers(struct tar *tar, const char *path, char type, uint64_t size)
{
    _cleanup_(buffer) struct buffer blocks = BUFFER_INIT;

    tar_header(&blocks, path, type, size);
    if (blocks.failed)
        return error_out_of_memory();
    return append(tar, blocks.bytes, blocks.length);
}

struct error *tar_directory(struct tar *tar, const char *path)
{
    _cleanup_(free) char *with_slash = format_string("%s/", path);

    if (!with_slash)
        return error_out_of_memory();
    return append_headers(tar, with_slash, '5', 0);
}

struct error *tar_file(struct tar *tar, const char *path, const struct blob *blob)
{
    struct error *error = append_headers(tar, path, '0', blob_length(blob));

    return error ? error : append_blob(tar, blob);
}

struct error *tar_finish(struct tar *tar)
{
    static const char zeros[2 * BLOCK];
    struct error *error = append(tar, zeros, sizeof(zeros));

    if (!error && tar->length > 0)
        error = flush(tar);
    return error;
}
