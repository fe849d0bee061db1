/*
 * Parsing a child's output. The file can change no more, so it is mapped and walked once; every
 * length is compared with what is left before it is used, and every text cleaned before it is kept.
 */
#include "lua/run_output.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/json.h"
#include "lua/text.h"

/* The bytes not read yet. */
struct cursor {
    const char *at;
    uint64_t left;
};

static const char *take(struct cursor *cursor, uint64_t length)
{
    const char *bytes = cursor->at;

    if (length > cursor->left)
        return NULL;
    cursor->at += length;
    cursor->left -= length;
    return bytes;
}

static struct error *forged(const struct run_subject *subject, const char *what)
{
    return run_errorf(subject, "Crashed", "its process left an unreadable result (%s)", what);
}

static json_t *read_head(struct cursor *cursor)
{
    uint32_t length;
    const char *bytes = take(cursor, sizeof(length));

    if (!bytes)
        return NULL;
    memcpy(&length, bytes, sizeof(length));
    if (length > RUN_HEAD_MAX || !(bytes = take(cursor, length)))
        return NULL;
    return json_loadb(bytes, length, JSON_REJECT_DUPLICATES, NULL);
}

static bool keep_line(struct run_output *output, const struct run_log_line *line)
{
    _cleanup_(buffer) struct buffer clean = BUFFER_INIT;
    size_t length = line->length < RUN_LOG_LENGTH ? line->length : RUN_LOG_LENGTH;
    char *text;

    text_clean(&clean, line->text, length, RUN_LOG_LENGTH);
    text = clean.bytes ? buffer_steal(&clean) : strdup("");
    if (text)
        output->logs[output->log_count++] = text;
    return text != NULL;
}

static struct error *keep_logs(struct cursor *cursor, const struct run_subject *subject,
                               struct run_output *output)
{
    const struct run_logs *logs =
        (const struct run_logs *)(const void *)take(cursor, sizeof(*logs));
    uint32_t first;

    if (!logs)
        return forged(subject, "nothing");
    first = logs->count > RUN_LOGS_MAX ? logs->count - RUN_LOGS_MAX : 0;
    for (uint32_t i = first; i < logs->count; i++) {
        if (!keep_line(output, &logs->lines[i % RUN_LOGS_MAX]))
            return error_out_of_memory();
    }
    return NULL;
}

static struct error *reported(const struct run_subject *subject, const json_t *head,
                              struct run_output *output)
{
    const char *reason = json_get_string(head, "reason");
    const json_t *message = json_object_get(head, "message");
    int64_t line = json_get_integer(head, "line", 0);

    if (!reason || !error_reason_valid(reason, strlen(reason)) || !json_is_string(message) ||
        line < 0)
        return forged(subject, "its failure");
    output->explicit_error = json_get_boolean(head, "explicit", false);
    return run_error(subject, reason, (uint64_t)line, json_string_value(message),
                     json_string_length(message));
}

static bool metadata_valid(const json_t *metadata)
{
    size_t total = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)metadata, key, value)
    {
        if (!json_is_string(value))
            return false;
        total += strlen(key) + json_string_length(value);
    }
    return total <= RUN_METADATA_MAX;
}

/* One entry of the output. */
struct entry {
    const char *path;
    size_t path_length;
    const char *content;
    size_t content_length;
};

static bool read_entry(struct cursor *cursor, struct entry *entry)
{
    struct run_entry fixed;
    const char *bytes = take(cursor, sizeof(fixed));

    if (!bytes)
        return false;
    memcpy(&fixed, bytes, sizeof(fixed));
    entry->path_length = fixed.path_length;
    entry->content_length = (size_t)fixed.content_length;
    entry->path = take(cursor, fixed.path_length);
    entry->content = entry->path ? take(cursor, fixed.content_length) : NULL;
    return entry->content != NULL;
}

/* payload_add's refusal, in the words of the run. */
static struct error *add_file(struct payload *payload, const struct entry *entry, struct blob *blob,
                              const struct run_subject *subject)
{
    _cleanup_(error) struct error *error =
        payload_add(payload, entry->path, entry->path_length, blob);

    if (!error)
        return NULL;
    return error->kind == ERROR_HOOK
               ? run_error(subject, error->reason, 0, error->message, strlen(error->message))
               : TAKE(error);
}

static struct error *read_files(struct cursor *cursor, uint64_t count, struct blob_store *blobs,
                                const struct run_subject *subject, struct payload *payload)
{
    for (uint64_t i = 0; i < count; i++) {
        struct entry entry;
        struct blob *blob = NULL;
        struct error *error;

        if (!read_entry(cursor, &entry))
            return forged(subject, "a file's length");
        error = blob_from_bytes(blobs, entry.content, entry.content_length, &blob);
        if (!error)
            error = add_file(payload, &entry, blob, subject);
        if (error)
            return error;
    }
    return cursor->left == 0 ? NULL : forged(subject, "bytes after its end");
}

static struct error *read_single(struct cursor *cursor, struct blob_store *blobs,
                                 const struct run_subject *subject, struct payload **payload)
{
    struct entry entry;
    struct blob *blob = NULL;
    struct error *error;

    if (!read_entry(cursor, &entry) || entry.path_length != 0 || cursor->left != 0)
        return forged(subject, "its length");
    error = blob_from_bytes(blobs, entry.content, entry.content_length, &blob);
    if (error)
        return error;
    *payload = payload_new_single(blob);
    return *payload ? NULL : error_out_of_memory();
}

static struct error *read_result(struct cursor *cursor, const json_t *head,
                                 struct blob_store *blobs, const struct run_subject *subject,
                                 struct run_output *output)
{
    const json_t *metadata = json_object_get(head, "metadata");
    int64_t count = json_get_integer(head, "count", -1);

    if (metadata && (!json_is_object(metadata) || !metadata_valid(metadata)))
        return forged(subject, "its metadata");
    output->metadata = json_incref((json_t *)metadata);
    if (json_get_boolean(head, "single", false))
        return read_single(cursor, blobs, subject, &output->payload);
    output->payload = payload_new_files();
    if (!output->payload)
        return error_out_of_memory();
    if (count < 0 || count > RUN_FILES_MAX)
        return forged(subject, "its number of files");
    return read_files(cursor, (uint64_t)count, blobs, subject, output->payload);
}

static struct error *read_head_and_result(struct cursor *cursor, bool allow_empty,
                                          struct blob_store *blobs,
                                          const struct run_subject *subject,
                                          struct run_output *output)
{
    _cleanup_(json) json_t *head = read_head(cursor);
    struct error *error;

    if (!json_is_object(head))
        return forged(subject, "its head");
    if (json_object_get(head, "reason"))
        return reported(subject, head, output);
    error = read_result(cursor, head, blobs, subject, output);
    if (!error && payload_empty(output->payload) && !allow_empty)
        error = run_errorf(subject, "EmptyResult",
                           "an empty artifact makes Flux prune everything; "
                           "set spec.allowEmpty: true if it is meant");
    if (error) {
        payload_free(output->payload);
        output->payload = NULL;
    }
    return error;
}

/* The file's bytes; a private mapping, because nobody is left who could change them. */
static struct error *map(int descriptor, const struct run_subject *subject, struct cursor *cursor)
{
    struct stat status;
    void *bytes;

    if (fstat(descriptor, &status) != 0)
        return error_from_errno(ERROR_INTERNAL, "Crashed", errno, "output of a transform");
    if (status.st_size <= 0)
        return forged(subject, "nothing");
    bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED)
        return error_from_errno(ERROR_TRANSIENT, "SpoolFailed", errno, "output of a transform");
    *cursor = (struct cursor){bytes, (uint64_t)status.st_size};
    return NULL;
}

struct error *run_output_read(int descriptor, struct error *failure, uint64_t limit,
                              bool allow_empty, struct blob_store *blobs,
                              const struct run_subject *subject, struct run_output *output)
{
    struct cursor whole = {0};
    struct error *error = map(descriptor, subject, &whole);
    struct cursor cursor = whole;

    if (!error)
        error = keep_logs(&cursor, subject, output);
    if (!error && !failure && whole.left > limit + RUN_HEAD_MAX)
        error = run_error_output_limit(subject, limit);
    if (!error && !failure)
        error = read_head_and_result(&cursor, allow_empty, blobs, subject, output);
    if (whole.at)
        munmap((void *)whole.at, (size_t)whole.left);
    if (!failure)
        return error;
    error_free(error);
    return failure;
}

void run_output_release(struct run_output *output)
{
    payload_free(output->payload);
    json_decref(output->metadata);
    for (size_t i = 0; i < output->log_count; i++)
        free(output->logs[i]);
    *output = (struct run_output){0};
}
