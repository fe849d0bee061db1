/* Copies a blob into a file, in pieces, so that a spooled one never comes into memory whole. */
#include <errno.h>
#include <stdlib.h>

#include "base/blob.h"
#include "base/file.h"

#define CHUNK ((size_t)256 << 10)

struct error *blob_copy(const struct blob *blob, int descriptor)
{
    _cleanup_(free) char *chunk = malloc(CHUNK);
    uint64_t offset = 0;

    if (!chunk)
        return error_out_of_memory();
    for (;;) {
        size_t count = 0;
        struct error *error = blob_read(blob, offset, chunk, CHUNK, &count);

        if (error || count == 0)
            return error;
        errno = file_write_all(descriptor, chunk, count);
        if (errno != 0)
            return error_from_errno(ERROR_STORAGE, "FileWriteFailed", errno, "cannot write");
        offset += count;
    }
}
