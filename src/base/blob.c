/*
 * A writer grows a buffer until the blob is too large for memory, or the store's memory is used up,
 * and then moves to an unlinked file: from there on the kernel's page cache decides what stays in
 * memory. The store only counts; a blob is freed by whoever drops the last reference.
 */
#include "base/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/digest.h"
#include "base/file.h"

#define COPY_CHUNK ((size_t)256 << 10)
#define WRITER_FIRST_CAPACITY ((size_t)4 << 10)

struct blob_store {
    char *spool_directory;
    size_t memory_limit;
    atomic_size_t memory; /* held by blobs and writers */
};

struct blob {
    struct blob_store *store;
    atomic_uint references;
    uint64_t length;
    char *bytes;    /* NULL for a blob in a file */
    int descriptor; /* -1 for a blob in memory */
    pthread_mutex_t digest_mutex;
    char digest[SHA256_HEX_SIZE]; /* "" until it is asked for */
};

struct blob_writer {
    struct blob_store *store;
    uint64_t limit;
    uint64_t length;
    char *bytes;     /* while in memory */
    size_t capacity; /* of `bytes`, counted in the store */
    int descriptor;  /* -1 while in memory */
};

struct blob_store *blob_store_new(const char *spool_directory, size_t memory_limit)
{
    struct blob_store *store = calloc(1, sizeof(*store));

    if (!store)
        return NULL;
    store->spool_directory = strdup(spool_directory);
    if (!store->spool_directory) {
        free(store);
        return NULL;
    }
    store->memory_limit = memory_limit;
    return store;
}

void blob_store_free(struct blob_store *store)
{
    if (!store)
        return;
    free(store->spool_directory);
    free(store);
}

size_t blob_store_memory(struct blob_store *store)
{
    return atomic_load(&store->memory);
}

/* Counts `size` bytes of memory if the limit allows them. */
static bool memory_take(struct blob_store *store, size_t size)
{
    if (atomic_fetch_add(&store->memory, size) + size <= store->memory_limit)
        return true;
    atomic_fetch_sub(&store->memory, size);
    return false;
}

static void memory_give_back(struct blob_store *store, size_t size)
{
    atomic_fetch_sub(&store->memory, size);
}

static struct error *spool_failed(const struct blob_store *store, int number, const char *what)
{
    return error_from_errno(ERROR_TRANSIENT, "SpoolFailed", number, "spool directory %s: cannot %s",
                            store->spool_directory, what);
}

/* An unlinked file in the spool directory. */
static struct error *spool_open(const struct blob_store *store, int *descriptor)
{
    struct error *error = file_make_directories(store->spool_directory);

    if (error)
        return error;
    *descriptor = open(store->spool_directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*descriptor >= 0)
        return NULL;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return spool_failed(store, errno, "create a file");

    /* A file system without O_TMPFILE. */
    _cleanup_(free) char *path = path_join(store->spool_directory, "blob-XXXXXX");
    if (!path)
        return error_out_of_memory();
    *descriptor = mkostemp(path, O_CLOEXEC);
    if (*descriptor < 0)
        return spool_failed(store, errno, "create a file");
    unlink(path);
    return NULL;
}

struct blob_writer *blob_writer_new(struct blob_store *store, uint64_t limit)
{
    struct blob_writer *writer = calloc(1, sizeof(*writer));

    if (!writer)
        return NULL;
    writer->store = store;
    writer->limit = limit;
    writer->descriptor = -1;
    return writer;
}

static void writer_drop_memory(struct blob_writer *writer)
{
    memory_give_back(writer->store, writer->capacity);
    free(TAKE(writer->bytes));
    writer->capacity = 0;
}

static struct error *writer_spool(struct blob_writer *writer)
{
    struct error *error = spool_open(writer->store, &writer->descriptor);

    if (error)
        return error;
    int number = file_write_all(writer->descriptor, writer->bytes, (size_t)writer->length);
    if (number)
        return spool_failed(writer->store, number, "write");
    writer_drop_memory(writer);
    return NULL;
}

/* Makes room for `needed` bytes in memory; false if they must go to a file. */
static bool writer_grow(struct blob_writer *writer, size_t needed)
{
    size_t capacity = writer->capacity ? writer->capacity : WRITER_FIRST_CAPACITY;

    if (needed <= writer->capacity)
        return true;
    if (needed >= BLOB_MEMORY_MAX)
        return false;
    while (capacity < needed)
        capacity *= 2;
    size_t more = capacity - writer->capacity;
    if (!memory_take(writer->store, more))
        return false;
    char *bytes = realloc(writer->bytes, capacity);
    if (!bytes) {
        memory_give_back(writer->store, more);
        return false;
    }
    writer->bytes = bytes;
    writer->capacity = capacity;
    return true;
}

struct error *blob_writer_write(struct blob_writer *writer, const void *bytes, size_t length)
{
    if (length > writer->limit - writer->length)
        return error_new(ERROR_UPSTREAM, "OutputLimit",
                         "more than the %llu bytes that are accepted",
                         (unsigned long long)writer->limit);
    if (length == 0)
        return NULL;
    if (writer->descriptor < 0 && !writer_grow(writer, (size_t)writer->length + length)) {
        struct error *error = writer_spool(writer);

        if (error)
            return error;
    }
    if (writer->descriptor >= 0) {
        int number = file_write_all(writer->descriptor, bytes, length);

        if (number)
            return spool_failed(writer->store, number, "write");
    } else {
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): writer_grow has made it */
        memcpy(writer->bytes + writer->length, bytes, length);
    }
    writer->length += length;
    return NULL;
}

uint64_t blob_writer_length(const struct blob_writer *writer)
{
    return writer->length;
}

void blob_writer_free(struct blob_writer *writer)
{
    if (!writer)
        return;
    writer_drop_memory(writer);
    if (writer->descriptor >= 0)
        close(writer->descriptor);
    free(writer);
}

/* A blob with one reference over nothing yet; NULL without memory. */
static struct blob *blob_new(struct blob_store *store, uint64_t length)
{
    struct blob *blob = calloc(1, sizeof(*blob));

    if (!blob)
        return NULL;
    if (pthread_mutex_init(&blob->digest_mutex, NULL) != 0) {
        free(blob);
        return NULL;
    }
    blob->store = store;
    blob->length = length;
    blob->descriptor = -1;
    atomic_init(&blob->references, 1);
    return blob;
}

/* Gives back what the writer's buffer has too much; a smaller realloc that fails leaves the old
 * one, which would then be counted wrongly, so the count is moved only when it succeeds. */
static bool writer_shrink(struct blob_writer *writer)
{
    size_t length = writer->length ? (size_t)writer->length : 1;
    char *bytes = realloc(writer->bytes, length);

    if (!bytes)
        return false;
    if (length > writer->capacity)
        atomic_fetch_add(&writer->store->memory, length - writer->capacity);
    else
        memory_give_back(writer->store, writer->capacity - length);
    writer->bytes = bytes;
    writer->capacity = length;
    return true;
}

struct error *blob_writer_seal(struct blob_writer *writer, struct blob **blob)
{
    struct blob *sealed = blob_new(writer->store, writer->length);

    *blob = NULL;
    if (!sealed || (writer->descriptor < 0 && !writer_shrink(writer))) {
        if (sealed)
            blob_unref(sealed);
        blob_writer_free(writer);
        return error_out_of_memory();
    }
    sealed->bytes = writer->bytes;
    sealed->descriptor = writer->descriptor;
    free(writer);
    *blob = sealed;
    return NULL;
}

struct error *blob_from_bytes(struct blob_store *store, const void *bytes, size_t length,
                              struct blob **blob)
{
    struct blob_writer *writer = blob_writer_new(store, length);

    *blob = NULL;
    if (!writer)
        return error_out_of_memory();
    struct error *error = blob_writer_write(writer, bytes, length);
    if (error) {
        blob_writer_free(writer);
        return error;
    }
    return blob_writer_seal(writer, blob);
}

struct error *blob_from_descriptor(struct blob_store *store, int descriptor, uint64_t length,
                                   struct blob **blob)
{
    *blob = blob_new(store, length);
    if (!*blob) {
        close(descriptor);
        return error_out_of_memory();
    }
    (*blob)->descriptor = descriptor;
    return NULL;
}

struct blob *blob_ref(struct blob *blob)
{
    atomic_fetch_add_explicit(&blob->references, 1, memory_order_relaxed);
    return blob;
}

static size_t counted_memory(const struct blob *blob)
{
    if (!blob->bytes)
        return 0;
    return blob->length ? (size_t)blob->length : 1;
}

void blob_unref(struct blob *blob)
{
    if (!blob || atomic_fetch_sub_explicit(&blob->references, 1, memory_order_acq_rel) != 1)
        return;
    memory_give_back(blob->store, counted_memory(blob));
    free(blob->bytes);
    if (blob->descriptor >= 0)
        close(blob->descriptor);
    pthread_mutex_destroy(&blob->digest_mutex);
    free(blob);
}

uint64_t blob_length(const struct blob *blob)
{
    return blob->length;
}

const void *blob_memory(const struct blob *blob)
{
    return blob->bytes;
}

/* Reads until `length` bytes or the end of the file. */
static struct error *read_file(const struct blob *blob, uint64_t offset, char *bytes, size_t length,
                               size_t *count)
{
    *count = 0;
    while (*count < length) {
        ssize_t got =
            pread(blob->descriptor, bytes + *count, length - *count, (off_t)(offset + *count));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return spool_failed(blob->store, errno, "read");
        if (got == 0)
            return spool_failed(blob->store, EIO, "read: a file is shorter than it was");
        *count += (size_t)got;
    }
    return NULL;
}

struct error *blob_read(const struct blob *blob, uint64_t offset, void *bytes, size_t length,
                        size_t *count)
{
    uint64_t left = offset < blob->length ? blob->length - offset : 0;

    if (length > left)
        length = (size_t)left;
    *count = length;
    if (length == 0)
        return NULL;
    if (!blob->bytes)
        return read_file(blob, offset, bytes, length, count);
    memcpy(bytes, blob->bytes + offset, length);
    return NULL;
}

struct error *blob_read_all(const struct blob *blob, size_t limit, char **bytes, size_t *length)
{
    size_t count;

    *bytes = NULL;
    if (blob->length > limit)
        return error_new(ERROR_UPSTREAM, "OutputLimit",
                         "%llu bytes, more than the %zu that are accepted",
                         (unsigned long long)blob->length, limit);
    char *copy = malloc((size_t)blob->length + 1);
    if (!copy)
        return error_out_of_memory();
    struct error *error = blob_read(blob, 0, copy, (size_t)blob->length, &count);
    if (error) {
        free(copy);
        return error;
    }
    copy[blob->length] = '\0';
    *bytes = copy;
    *length = (size_t)blob->length;
    return NULL;
}

/* The same file through a new open file description: no writing, and an offset of its own. */
static struct error *reopen(int descriptor, int *result)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    *result = open(path, O_RDONLY | O_CLOEXEC);
    if (*result < 0)
        return error_from_errno(ERROR_TRANSIENT, "SpoolFailed", errno, "%s: cannot open", path);
    return NULL;
}

struct error *blob_open(const struct blob *blob, int *descriptor)
{
    *descriptor = -1;
    if (!blob->bytes)
        return reopen(blob->descriptor, descriptor);

    _cleanup_(fd) int memory = memfd_create("sluice-blob", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0)
        return error_from_errno(ERROR_TRANSIENT, "SpoolFailed", errno, "cannot make a memfd");
    int number = file_write_all(memory, blob->bytes, (size_t)blob->length);
    if (number)
        return error_from_errno(ERROR_TRANSIENT, "SpoolFailed", number, "cannot write to a memfd");
    if (fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        return error_from_errno(ERROR_TRANSIENT, "SpoolFailed", errno, "cannot seal a memfd");
    return reopen(memory, descriptor);
}

static struct error *digest_file(const struct blob *blob, struct sha256 *digest)
{
    _cleanup_(free) char *chunk = malloc(COPY_CHUNK);

    if (!chunk)
        return error_out_of_memory();
    for (uint64_t offset = 0; offset < blob->length;) {
        size_t count;
        struct error *error = blob_read(blob, offset, chunk, COPY_CHUNK, &count);

        if (error)
            return error;
        sha256_update(digest, chunk, count);
        offset += count;
    }
    return NULL;
}

static struct error *digest_locked(struct blob *blob)
{
    if (blob->digest[0])
        return NULL;

    _cleanup_(sha256) struct sha256 *digest = sha256_new();
    if (!digest)
        return error_out_of_memory();
    struct error *error = NULL;
    if (blob->bytes)
        sha256_update(digest, blob->bytes, (size_t)blob->length);
    else
        error = digest_file(blob, digest);
    if (!error)
        sha256_final(digest, blob->digest);
    return error;
}

struct error *blob_sha256(struct blob *blob, const char **hex)
{
    pthread_mutex_lock(&blob->digest_mutex);
    struct error *error = digest_locked(blob);
    pthread_mutex_unlock(&blob->digest_mutex);
    *hex = error ? NULL : blob->digest;
    return error;
}
