/*
 * Our side of `./dev bench pack`: packs one file as an artifact, as the pipeline does with a body
 * that was spooled, and prints what the peer prints: seconds, sizes and digests.
 *
 *     bench_pack INPUT OUTPUT
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "artifact/artifact.h"
#include "base/file.h"

#define COPY_CHUNK ((size_t)256 << 10)
#define BLOB_MEMORY ((size_t)64 << 20)

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Peak memory in KiB. Not ru_maxrss, which a child inherits from whoever forked it. */
static long peak(void)
{
    _cleanup_(file) FILE *status = fopen("/proc/self/status", "re");
    char line[128];
    long kilobytes = 0;

    while (status && fgets(line, sizeof(line), status)) {
        if (sscanf(line, "VmHWM: %ld", &kilobytes) == 1)
            break;
    }
    return kilobytes;
}

static struct error *open_input(struct blob_store *blobs, const char *path, struct blob **blob)
{
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);

    if (descriptor < 0 || fstat(descriptor, &status) != 0)
        return error_from_errno(ERROR_CONFIGURATION, "FileNotFound", errno, "%s", path);
    return blob_from_descriptor(blobs, descriptor, (uint64_t)status.st_size, blob);
}

/* Not timed: a place for the bytes, so that they can be compared and opened. */
static struct error *write_output(const struct blob *blob, const char *path)
{
    _cleanup_(fd) int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    _cleanup_(free) char *chunk = malloc(COPY_CHUNK);
    struct error *error = NULL;
    size_t count = 0;

    if (descriptor < 0)
        return error_from_errno(ERROR_CONFIGURATION, "FileWriteFailed", errno, "%s", path);
    if (!chunk)
        return error_out_of_memory();
    for (uint64_t at = 0; !error && at < blob_length(blob); at += count) {
        error = blob_read(blob, at, chunk, COPY_CHUNK, &count);
        int number = error ? 0 : file_write_all(descriptor, chunk, count);
        if (number)
            error = error_from_errno(ERROR_STORAGE, "FileWriteFailed", number, "%s", path);
    }
    return error;
}

static struct error *bench(struct blob_store *blobs, const char *input, const char *output)
{
    const struct artifact_layout layout = {.destination_path = "data.json"};
    struct artifact_packed packed = {0};
    struct blob *blob = NULL;
    struct error *error = open_input(blobs, input, &blob);
    _cleanup_(payload) struct payload *payload = error ? NULL : payload_new_single(blob);

    if (!payload)
        return error ? error : error_out_of_memory();

    double start = now();
    error = artifact_pack_now(blobs, payload, &layout, &packed);
    double seconds = now() - start;
    if (error)
        return error;
    printf("%.6f %ld %" PRIu64 " %s %s\n", seconds, peak(), blob_length(packed.blob),
           packed.revision, packed.digest);
    error = write_output(packed.blob, output);
    blob_unref(packed.blob);
    return error;
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: bench_pack INPUT OUTPUT\n");
        return 2;
    }

    const char *directory = getenv("TMPDIR");
    struct blob_store *blobs = blob_store_new(directory ? directory : "/tmp", BLOB_MEMORY);
    struct error *error = blobs ? bench(blobs, arguments[1], arguments[2]) : error_out_of_memory();
    int code = error ? 1 : 0;

    if (error)
        fprintf(stderr, "bench_pack: %s\n", error->message);
    error_free(error);
    blob_store_free(blobs);
    return code;
}
