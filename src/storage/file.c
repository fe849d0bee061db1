/*
 * Artifacts as files: DIRECTORY/KEY. Directories are walked by descriptor and without following
 * links, so that what we touch is below DIRECTORY whatever anyone puts there. New bytes are written
 * to a temporary file in the key's own directory and get their name only when they are on disk; the
 * name is taken without replacing one that is there. Directories come and go with their first and
 * last key under one mutex: a directory with a temporary file in it cannot be removed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/local.h"

#define TEMPORARY_PREFIX ".sluice-new-"
#define TEMPORARY_SIZE 32
#define ABANDONED_AFTER_S 3600
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* Levels of directories below DIRECTORY: each is opened below the one before. */
enum level { LEVEL_TOP, LEVEL_ROOT, LEVEL_NAMESPACE, LEVEL_SOURCE };

struct disk {
    struct blob_store *blobs;
    int top;               /* DIRECTORY */
    pthread_mutex_t mutex; /* held while directories are made and removed */
    bool shared;           /* other processes write to the directory too */
};

static struct error *failed(const char *what)
{
    return error_from_errno(ERROR_STORAGE, "StorageOperationFailed", errno, "cannot %s", what);
}

/* Opens a directory, which is made if it is missing and `make` is set; a new one is durable in its
 * parent before anything is put into it. -1 with errno on failure. */
static int open_child(int parent, const char *name, bool make)
{
    int child = openat(parent, name, DIRECTORY_FLAGS);

    if (child >= 0 || errno != ENOENT || !make)
        return child;
    if (mkdirat(parent, name, 0755) != 0 && errno != EEXIST)
        return -1;
    if (fsync(parent) != 0)
        return -1;
    return openat(parent, name, DIRECTORY_FLAGS);
}

/* Opens the directory of `parts` at `level`: -1 without error if it is missing and not made. */
static struct error *open_level(const struct disk *disk, enum level level,
                                const struct key_parts *parts, bool make, int *directory)
{
    const char *const names[] = {".", KEY_ROOT, parts->namespace_name, parts->name};
    int current = openat(disk->top, names[0], DIRECTORY_FLAGS);

    for (size_t i = 1; i <= level && current >= 0; i++) {
        int child = open_child(current, names[i], make);
        int number = errno;

        close(current);
        errno = number;
        current = child;
    }
    *directory = current;
    return current < 0 && (make || errno != ENOENT) ? failed("open its directory") : NULL;
}

/* A blob over the file; NULL without error if there is none. */
static struct error *open_file(const struct disk *disk, int directory, const char *name,
                               struct blob **blob)
{
    _cleanup_(fd) int file =
        openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat status;

    *blob = NULL;
    if (file < 0)
        return errno == ENOENT ? NULL : failed("open");
    if (fstat(file, &status) != 0)
        return failed("stat");
    if (!S_ISREG(status.st_mode))
        return error_new(ERROR_STORAGE, "StorageOperationFailed", "not a regular file");

    int handed_over = file;
    file = -1; /* NOLINT(clang-analyzer-deadcode.DeadStores): what the clean-up sees */
    return blob_from_descriptor(disk->blobs, handed_over, (uint64_t)status.st_size, blob);
}

static struct error *file_open(void *state, const char *key, const struct key_parts *parts,
                               struct blob **blob)
{
    _cleanup_(fd) int directory = -1;
    struct error *error = open_level(state, LEVEL_SOURCE, parts, false, &directory);

    (void)key;
    *blob = NULL;
    if (error || directory < 0)
        return error;
    return open_file(state, directory, parts->file, blob);
}

static struct error *file_stat(void *state, const char *key, const struct key_parts *parts,
                               bool *found, struct storage_object *object)
{
    _cleanup_(blob) struct blob *blob = NULL;
    struct error *error = file_open(state, key, parts, &blob);

    *found = blob != NULL;
    return blob ? storage_object_of(blob, object) : error;
}

/* A new file in the key's directory. */
static struct error *create_temporary(struct disk *disk, const struct key_parts *parts,
                                      int *directory, char name[TEMPORARY_SIZE], int *file)
{
    uint64_t random;

    *directory = -1;
    *file = -1;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return failed("name a temporary file");
    snprintf(name, TEMPORARY_SIZE, TEMPORARY_PREFIX "%016" PRIx64, random);

    pthread_mutex_lock(&disk->mutex);
    struct error *error = open_level(disk, LEVEL_SOURCE, parts, true, directory);
    if (!error) {
        *file =
            openat(*directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        error = *file < 0 ? failed("create a temporary file") : NULL;
    }
    pthread_mutex_unlock(&disk->mutex);
    return error;
}

static struct error *copy_blob(const struct blob *blob, int file)
{
    _cleanup_(error) struct error *cause = blob_copy(blob, file);

    if (cause)
        return error_new(ERROR_STORAGE, "StorageOperationFailed", "%s", cause->message);
    return fsync(file) == 0 ? NULL : failed("sync");
}

/* Gives the file its name; false with errno, which is EEXIST if the name is taken. Some network
 * file systems know links, but not RENAME_NOREPLACE. */
static bool take_name(int directory, const char *temporary, const char *name)
{
    if (renameat2(directory, temporary, directory, name, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return false;
    if (linkat(directory, temporary, directory, name, 0) != 0)
        return false;
    unlinkat(directory, temporary, 0);
    return true;
}

/* What is stored under a name that was taken: those bytes stay. */
static struct error *describe_existing(const struct disk *disk, int directory, const char *name,
                                       struct storage_object *object)
{
    _cleanup_(blob) struct blob *existing = NULL;
    struct error *error = open_file(disk, directory, name, &existing);

    if (error)
        return error;
    if (!existing)
        return error_new(ERROR_STORAGE, "StorageOperationFailed", "removed while it was stored");
    return storage_object_of(existing, object);
}

static struct error *write_and_name(const struct disk *disk, int directory, const char *temporary,
                                    int file, const char *name, struct blob *blob,
                                    struct storage_object *object)
{
    struct error *error = copy_blob(blob, file);

    if (error)
        return error;
    if (take_name(directory, temporary, name))
        error = storage_object_of(blob, object);
    else if (errno == EEXIST)
        error = describe_existing(disk, directory, name, object);
    else
        return failed("rename");
    if (!error && fsync(directory) != 0)
        error = failed("sync its directory");
    return error;
}

/* Whoever stored the bytes that are there may have died before their name was durable. */
static struct error *sync_name(const struct disk *disk, const struct key_parts *parts)
{
    _cleanup_(fd) int directory = -1;
    struct error *error = open_level(disk, LEVEL_SOURCE, parts, false, &directory);

    if (!error && directory >= 0 && fsync(directory) != 0)
        error = failed("sync its directory");
    return error;
}

static struct error *file_put(void *state, const char *key, const struct key_parts *parts,
                              struct blob *blob, struct storage_object *object)
{
    _cleanup_(fd) int directory = -1;
    _cleanup_(fd) int file = -1;
    char temporary[TEMPORARY_SIZE];
    bool found;
    struct error *error = file_stat(state, key, parts, &found, object);

    if (error)
        return error;
    if (found)
        return sync_name(state, parts);
    error = create_temporary(state, parts, &directory, temporary, &file);
    if (error)
        return error;
    error = write_and_name(state, directory, temporary, file, parts->file, blob, object);
    unlinkat(directory, temporary, 0); /* there only if it did not get its name */
    return error;
}

/* Removes the source's directory and then its namespace's, if they are empty. Only tidiness:
 * nothing depends on it. */
static void remove_empty_directories(struct disk *disk, const struct key_parts *parts)
{
    static const enum level parents[] = {LEVEL_NAMESPACE, LEVEL_ROOT};
    const char *const names[] = {parts->name, parts->namespace_name};

    pthread_mutex_lock(&disk->mutex);
    for (size_t i = 0; i < 2; i++) {
        _cleanup_(fd) int parent = -1;

        error_free(open_level(disk, parents[i], parts, false, &parent));
        if (parent < 0 || unlinkat(parent, names[i], AT_REMOVEDIR) != 0)
            break;
    }
    pthread_mutex_unlock(&disk->mutex);
}

static struct error *file_remove(void *state, const char *key, const struct key_parts *parts)
{
    _cleanup_(fd) int directory = -1;
    struct error *error = open_level(state, LEVEL_SOURCE, parts, false, &directory);

    (void)key;
    if (error || directory < 0)
        return error;
    if (unlinkat(directory, parts->file, 0) != 0 && errno != ENOENT)
        return failed("remove");
    if (fsync(directory) != 0)
        return failed("sync its directory");
    remove_empty_directories(state, parts);
    return NULL;
}

/* Calls `visit` for every file of ours and every leftover below `directory`, whose key begins with
 * `prefix`. Takes the descriptor. */
struct visitor {
    struct error *(*visit)(void *context, int directory, const char *prefix, const char *name);
    void (*leave)(int parent, const char *name); /* after a directory; may be NULL */
    void *context;
};

static struct error *walk(int directory, enum level level, const char *prefix,
                          const struct visitor *visitor);

static struct error *walk_child(int parent, enum level level, const char *prefix, const char *name,
                                const struct visitor *visitor)
{
    int child = openat(parent, name, DIRECTORY_FLAGS);

    if (child < 0) /* removed meanwhile, or no directory */
        return NULL;
    _cleanup_(free) char *below = format_string("%s%s/", prefix, name);
    if (!below) {
        close(child);
        return error_out_of_memory();
    }
    struct error *error = walk(child, level, below, visitor);
    if (!error && visitor->leave)
        visitor->leave(parent, name);
    return error;
}

static struct error *walk(int directory, enum level level, const char *prefix,
                          const struct visitor *visitor)
{
    _cleanup_(directory) DIR *entries = fdopendir(directory);
    struct error *error = NULL;

    if (!entries) {
        error = failed("read a directory");
        close(directory);
        return error;
    }
    while (!error) {
        errno = 0;
        struct dirent *entry = readdir(entries);

        if (!entry)
            return errno ? failed("read a directory") : NULL;
        if (level == LEVEL_SOURCE)
            error = visitor->visit(visitor->context, dirfd(entries), prefix, entry->d_name);
        else if (level == LEVEL_ROOT ? key_namespace_valid(entry->d_name)
                                     : key_name_valid(entry->d_name))
            error = walk_child(dirfd(entries), level + 1, prefix, entry->d_name, visitor);
    }
    return error;
}

static struct error *list_file(void *context, int directory, const char *prefix, const char *name)
{
    (void)directory;
    if (!key_file_valid(name))
        return NULL;

    _cleanup_(free) char *key = format_string("%s%s", prefix, name);
    return key ? key_list_add(context, key) : error_out_of_memory();
}

static struct error *file_list(void *state, const char *prefix, const struct key_parts *parts,
                               struct key_list *keys)
{
    const struct visitor visitor = {.visit = list_file, .context = keys};
    enum level level = parts->name[0]             ? LEVEL_SOURCE
                       : parts->namespace_name[0] ? LEVEL_NAMESPACE
                                                  : LEVEL_ROOT;
    int directory;
    struct error *error = open_level(state, level, parts, false, &directory);

    if (error || directory < 0)
        return error;
    return walk(directory, level, prefix, &visitor);
}

/* Another process may be writing to a file of a shared directory at this moment. */
static bool is_abandoned(const struct disk *disk, int directory, const char *name)
{
    struct stat found;

    return !disk->shared || (fstatat(directory, name, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
                             found.st_mtime + ABANDONED_AFTER_S < time(NULL));
}

static struct error *remove_leftover(void *context, int directory, const char *prefix,
                                     const char *name)
{
    (void)prefix;
    if (strncmp(name, TEMPORARY_PREFIX, sizeof(TEMPORARY_PREFIX) - 1) == 0 &&
        is_abandoned(context, directory, name))
        unlinkat(directory, name, 0);
    return NULL;
}

static void remove_if_empty(int parent, const char *name)
{
    unlinkat(parent, name, AT_REMOVEDIR);
}

/* What a crash left: temporary files, and directories without a key. */
static struct error *remove_leftovers(const struct disk *disk)
{
    const struct visitor visitor = {.visit = remove_leftover,
                                    .leave = disk->shared ? NULL : remove_if_empty,
                                    .context = (void *)disk};
    const struct key_parts none = {0};
    int directory;
    struct error *error = open_level(disk, LEVEL_ROOT, &none, false, &directory);

    if (error || directory < 0)
        return error;
    return walk(directory, LEVEL_ROOT, KEY_ROOT "/", &visitor);
}

static void file_free(void *state)
{
    struct disk *disk = state;

    if (disk->top >= 0)
        close(disk->top);
    pthread_mutex_destroy(&disk->mutex);
    free(disk);
}

static const struct local_backend file_backend = {
    .name = "file",
    .persistent = true,
    .put = file_put,
    .stat = file_stat,
    .remove = file_remove,
    .list = file_list,
    .open = file_open,
    .free = file_free,
};

static struct error *open_top(struct disk *disk, const char *directory)
{
    struct error *error = file_make_directories(directory);

    if (error)
        return error;
    disk->top = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk->top < 0)
        return error_wrap(failed("open the directory"), "%s", directory);
    return error_wrap(remove_leftovers(disk), "%s", directory);
}

struct error *storage_file_new(uv_loop_t *loop, struct blob_store *blobs, const char *directory,
                               bool shared, struct storage **storage)
{
    struct disk *disk = calloc(1, sizeof(*disk));

    *storage = NULL;
    if (!disk)
        return error_out_of_memory();
    disk->blobs = blobs;
    disk->shared = shared;
    disk->top = -1;
    if (pthread_mutex_init(&disk->mutex, NULL) != 0) {
        free(disk);
        return error_out_of_memory();
    }
    struct error *error = open_top(disk, directory);
    if (error) {
        file_free(disk);
        return error_wrap(error, "file storage");
    }
    return storage_local_new(loop, &file_backend, disk, storage);
}
