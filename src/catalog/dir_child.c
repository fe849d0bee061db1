/* See dir_child.h. */
#include "catalog/dir_child.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/yaml.h"
#include "catalog/child.h"

#define CHILD_MAX ((size_t)1 << 20)

json_t *dir_child_object(const struct source *source, const struct artifact_record *record,
                         int64_t now_ms)
{
    json_t *object = child_object(source);

    if (object && json_object_set_new(object, "status", child_status(source, record, NULL, now_ms)))
        json_decref(TAKE(object));
    return object;
}

static struct error *take_document(void *context, const char *json, size_t length, size_t line)
{
    json_t **object = context;

    (void)line;
    json_decref(TAKE(*object));
    return json_parse(json, length, object);
}

/* The file's object, or NULL if there is none that can be read (then it is simply written anew). */
static struct error *read_child(const char *path, json_t **child)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    struct error *error = file_read(path, CHILD_MAX, &text);

    *child = NULL;
    if (!error)
        error = yaml_read(buffer_string(&text), text.length, take_document, child);
    if (!error)
        return NULL;
    json_decref(TAKE(*child));
    if (error->kind != ERROR_CONFIGURATION)
        return error;
    error_free(error);
    return NULL;
}

static const json_t *first_owner(const json_t *child)
{
    return json_array_get(json_object_get(json_object_get(child, "metadata"), "ownerReferences"),
                          0);
}

static bool is_ours(const json_t *child)
{
    const char *kind = json_get_string(first_owner(child), "kind");
    const char *version = json_get_string(first_owner(child), "apiVersion");

    return kind && version && strcmp(kind, SOURCE_KIND) == 0 &&
           strcmp(version, SOURCE_API_VERSION) == 0;
}

static json_t *ready_condition(const json_t *child)
{
    return json_array_get(json_object_get(json_object_get(child, "status"), "conditions"), 0);
}

/* It has been Ready all along: only a change of status moves lastTransitionTime. */
static int keep_transition(const json_t *existing, json_t *child)
{
    const json_t *before = ready_condition(existing);
    const char *status = json_get_string(before, "status");
    const char *since = json_get_string(before, "lastTransitionTime");

    if (!status || !since || strcmp(status, "True") != 0)
        return 0;
    return json_set_string(ready_condition(child), "lastTransitionTime", since);
}

/* The file's object if it is one of ours, NULL if there is none. */
static struct error *read_own_child(const char *path, json_t **child)
{
    struct error *error = read_child(path, child);

    if (!error && *child && !is_ours(*child))
        error = error_new(ERROR_CONFIGURATION, "NameConflict",
                          "%s: there is an ExternalArtifact of this name that belongs to another "
                          "owner; rename this source or remove that file",
                          path);
    return error;
}

struct error *dir_child_check(const char *path)
{
    _cleanup_(json) json_t *existing = NULL;

    return read_own_child(path, &existing);
}

struct error *dir_child_write(const char *path, json_t *child)
{
    _cleanup_(json) json_t *existing = NULL;
    struct error *error = read_own_child(path, &existing);

    if (error)
        return error;
    if (keep_transition(existing, child))
        return error_out_of_memory();
    return existing && json_equal(existing, child) ? NULL : dir_write_object(path, child);
}

struct error *dir_child_remove(const char *path)
{
    _cleanup_(json) json_t *existing = NULL;
    struct error *error = read_child(path, &existing);

    if (error || (existing && !is_ours(existing)))
        return error;
    if (unlink(path) != 0 && errno != ENOENT)
        return error_from_errno(ERROR_STORAGE, "FileWriteFailed", errno, "%s: cannot remove", path);
    return NULL;
}

struct error *dir_write_object(const char *path, const json_t *object)
{
    _cleanup_(buffer) struct buffer json = BUFFER_INIT;
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;
    _cleanup_(free) char *directory = strdup(path);
    struct error *error;

    if (!directory)
        return error_out_of_memory();
    *strrchr(directory, '/') = '\0';
    json_write(&json, object);
    error = buffer_error(&json);
    if (!error)
        error = yaml_from_json(buffer_string(&json), json.length, &yaml);
    if (!error)
        error = file_make_directories(directory);
    return error ? error : file_write_atomically(path, buffer_string(&yaml), yaml.length);
}
