/* See file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK ((size_t)64 << 10)

static struct error *open_failed(const char *path)
{
    if (errno == ENOENT || errno == ENOTDIR)
        return error_new(ERROR_CONFIGURATION, "FileNotFound", "%s: no such file", path);
    return error_from_errno(ERROR_TRANSIENT, "FileReadFailed", errno, "%s: cannot open", path);
}

struct error *file_read(const char *path, size_t limit, struct buffer *buffer)
{
    _cleanup_(fd) int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    size_t total = 0;

    if (descriptor < 0)
        return open_failed(path);
    for (;;) {
        char *room = buffer_reserve(buffer, READ_CHUNK);
        ssize_t count = room ? read(descriptor, room, READ_CHUNK) : 0;

        if (!room)
            return error_out_of_memory();
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_from_errno(ERROR_TRANSIENT, "FileReadFailed", errno, "%s: cannot read",
                                    path);
        if (count == 0)
            return NULL;
        buffer_commit(buffer, (size_t)count);
        total += (size_t)count;
        if (total > limit)
            return error_new(ERROR_CONFIGURATION, "FileTooLarge",
                             "%s: larger than the %zu bytes that are accepted", path, limit);
    }
}

int file_write_all(int descriptor, const void *bytes, size_t length)
{
    const char *at = bytes;

    while (length > 0) {
        ssize_t count = write(descriptor, at, length);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno;
        if (count == 0)
            return EIO;
        at += count;
        length -= (size_t)count;
    }
    return 0;
}

static struct error *write_failed(int number, const char *path, const char *what)
{
    return error_from_errno(ERROR_STORAGE, "FileWriteFailed", number, "%s: cannot %s", path, what);
}

struct error *file_sync_directory_of(const char *path)
{
    _cleanup_(free) char *directory = strdup(path);

    if (!directory)
        return error_out_of_memory();
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = '\0'; /* "/" keeps its slash */
    _cleanup_(fd) int descriptor =
        open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0 || fsync(descriptor) != 0)
        return write_failed(errno, path, "sync the directory");
    return NULL;
}

static struct error *write_and_rename(int descriptor, const char *temporary, const char *path,
                                      const void *bytes, size_t length)
{
    int number = file_write_all(descriptor, bytes, length);

    if (number)
        return write_failed(number, path, "write");
    if (fsync(descriptor) != 0)
        return write_failed(errno, path, "sync");
    if (rename(temporary, path) != 0)
        return write_failed(errno, path, "replace");
    return file_sync_directory_of(path);
}

struct error *file_write_atomically(const char *path, const void *bytes, size_t length)
{
    uint64_t suffix;

    if (getrandom(&suffix, sizeof(suffix), 0) != (ssize_t)sizeof(suffix))
        return write_failed(errno, path, "name a temporary file beside it");
    _cleanup_(free) char *temporary =
        format_string("%s" FILE_TEMPORARY_INFIX "%016" PRIx64, path, suffix);
    if (!temporary)
        return error_out_of_memory();
    /* Not mkostemp, whose mode pays no heed to the umask. */
    _cleanup_(fd) int descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (descriptor < 0)
        return write_failed(errno, path, "create a temporary file beside it");
    struct error *error = write_and_rename(descriptor, temporary, path, bytes, length);
    if (error)
        unlink(temporary);
    return error;
}

struct error *file_make_directories(const char *path)
{
    _cleanup_(free) char *partial = strdup(path);

    if (!partial)
        return error_out_of_memory();
    for (char *at = partial + 1; at[-1]; at++) {
        char byte = *at;

        if (byte != '/' && byte != '\0')
            continue;
        *at = '\0';
        if (mkdir(partial, 0755) != 0 && errno != EEXIST)
            return error_from_errno(ERROR_STORAGE, "FileWriteFailed", errno,
                                    "%s: cannot make the directory", partial);
        *at = byte;
        if (byte == '\0')
            break;
    }
    return NULL;
}

char *path_join(const char *directory, const char *name)
{
    size_t length = strlen(directory);
    bool slash = length > 0 && directory[length - 1] == '/';

    return format_string("%s%s%s", directory, slash ? "" : "/", name);
}
