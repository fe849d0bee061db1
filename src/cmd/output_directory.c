/*
 * The one idea: a path is walked from the directory's descriptor, segment by segment, with
 * O_NOFOLLOW; a name is never resolved by the kernel as a whole.
 */
#include "cmd/output_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static struct error *write_failed(const char *path)
{
    return error_from_errno(ERROR_STORAGE, "FileWriteFailed", errno, "cannot write %s", path);
}

static struct error *write_blob(const struct blob *blob, int descriptor, const char *path)
{
    return error_wrap(blob_copy(blob, descriptor), "%s", path);
}

/* Whether the blob ends in the middle of a line. */
static struct error *ends_within_line(const struct blob *blob, bool *in_line)
{
    uint64_t length = blob_length(blob);
    char last = '\n';
    size_t count;
    struct error *error = length ? blob_read(blob, length - 1, &last, 1, &count) : NULL;

    *in_line = last != '\n';
    return error;
}

/* "# path" on a line of its own. */
static struct error *write_heading(const char *path, bool in_line, int descriptor)
{
    _cleanup_(free) char *line = format_string("%s# %s\n", in_line ? "\n" : "", path);

    if (!line)
        return error_out_of_memory();
    errno = file_write_all(descriptor, line, strlen(line));
    return errno ? write_failed("the output") : NULL;
}

struct error *payload_print(const struct payload *payload, int descriptor)
{
    struct error *error = NULL;
    bool in_line = false;

    for (size_t i = 0; i < payload->count && !error; i++) {
        const struct payload_file *file = &payload->files[i];

        if (!payload->single)
            error = write_heading(file->path, in_line, descriptor);
        if (!error)
            error = write_blob(file->blob, descriptor, "the output");
        if (!error)
            error = ends_within_line(file->blob, &in_line);
    }
    return error;
}

/* The directory `name` below `parent`, made if it is missing; -1 with errno. */
static int enter(int parent, const char *name)
{
    if (mkdirat(parent, name, 0755) != 0 && errno != EEXIST)
        return -1;
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Opens the file for `path` below `root`, making its directories; -1 with errno. */
static int create_beneath(int root, char *path)
{
    _cleanup_(fd) int directory = dup(root);
    char *rest = path;
    char *slash;

    while (directory >= 0 && (slash = strchr(rest, '/'))) {
        int next;

        *slash = '\0';
        next = enter(directory, rest);
        *slash = '/';
        close(directory);
        directory = next;
        rest = slash + 1;
    }
    if (directory < 0)
        return -1;
    /* A new file, so that neither a hard link nor a device that lies there is written to. */
    if (unlinkat(directory, rest, 0) != 0 && errno != ENOENT)
        return -1;
    return openat(directory, rest, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
}

static struct error *write_file(int root, const char *name, const struct blob *blob)
{
    _cleanup_(free) char *path = strdup(name);
    _cleanup_(fd) int file = -1;

    if (!path)
        return error_out_of_memory();
    file = create_beneath(root, path);
    return file < 0 ? write_failed(name) : write_blob(blob, file, name);
}

struct error *payload_write_directory(const struct payload *payload, const char *directory)
{
    struct error *error = file_make_directories(directory);
    _cleanup_(fd) int root = -1;

    if (error)
        return error;
    root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return write_failed(directory);
    for (size_t i = 0; i < payload->count && !error; i++)
        error = write_file(root, payload->single ? "data" : payload->files[i].path,
                           payload->files[i].blob);
    return error;
}
