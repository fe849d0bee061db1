/* Files: whole reads with a limit, and writes that are either all there or not there at all. */
#ifndef SLUICE_BASE_FILE_H
#define SLUICE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* Appends the file's bytes to `buffer`. A missing file is ERROR_CONFIGURATION, reason FileNotFound;
 * more than `limit` bytes ERROR_CONFIGURATION, FileTooLarge; anything else ERROR_TRANSIENT,
 * FileReadFailed. */
struct error *file_read(const char *path, size_t limit, struct buffer *buffer)
    __attribute__((warn_unused_result));

/* Between a file's name and a random suffix in the name of its temporary file. */
#define FILE_TEMPORARY_INFIX ".tmp-"

/* Replaces `path`: temporary file beside it, fsync, rename, fsync of the directory. ERROR_STORAGE,
 * reason FileWriteFailed. The directory must exist. Mode 0644 less the umask. */
struct error *file_write_atomically(const char *path, const void *bytes, size_t length)
    __attribute__((warn_unused_result));

/* mkdir -p, mode 0755 less the umask. ERROR_STORAGE, reason FileWriteFailed. */
struct error *file_make_directories(const char *path) __attribute__((warn_unused_result));

/* fsyncs the directory that holds `path`. */
struct error *file_sync_directory_of(const char *path) __attribute__((warn_unused_result));

/* write(2) until all is written, over EINTR and short writes; 0 or an errno value. */
int file_write_all(int descriptor, const void *bytes, size_t length);

/* "DIRECTORY/NAME" in fresh memory (free); NULL without memory. */
char *path_join(const char *directory, const char *name);

#endif
