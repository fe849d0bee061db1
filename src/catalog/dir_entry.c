/* See dir_entry.h. */
#include "catalog/dir_entry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/yaml.h"

#define STATE_MAX ((size_t)16 << 20)

struct dir_entry *dir_entry_new(const char *data_directory, const char *namespace_name,
                                const char *name)
{
    struct dir_entry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    entry->references = 1;
    entry->namespace_name = strdup(namespace_name);
    entry->name = strdup(name);
    entry->state_path = format_string("%s/status/%s/%s.yaml", data_directory, namespace_name, name);
    entry->child_path =
        format_string("%s/externalartifacts/%s/%s.yaml", data_directory, namespace_name, name);
    if (entry->namespace_name && entry->name && entry->state_path && entry->child_path)
        return entry;
    dir_entry_unref(entry);
    return NULL;
}

struct dir_entry *dir_entry_ref(struct dir_entry *entry)
{
    entry->references++;
    return entry;
}

void dir_entry_unref(struct dir_entry *entry)
{
    if (!entry || --entry->references > 0)
        return;
    free(entry->namespace_name);
    free(entry->name);
    free(entry->state_path);
    free(entry->child_path);
    free(entry->file);
    json_decref(entry->object);
    free(entry);
}

static struct error *take_document(void *context, const char *json, size_t length, size_t line)
{
    json_t **object = context;

    (void)line;
    if (*object)
        return error_new(ERROR_CONFIGURATION, "InvalidState", "more than one document");
    return json_parse(json, length, object);
}

/* A state that is this entry's; one that was copied from another source would delete that one's
 * artifact in its name. */
static struct error *check_state(const struct dir_entry *entry, const json_t *object)
{
    const json_t *metadata = json_object_get(object, "metadata");
    const char *namespace_name = json_get_string(metadata, "namespace");
    const char *name = json_get_string(metadata, "name");
    int64_t generation = json_get_integer(metadata, "generation", 0);

    if (!namespace_name || !name || strcmp(namespace_name, entry->namespace_name) != 0 ||
        strcmp(name, entry->name) != 0)
        return error_new(ERROR_CONFIGURATION, "InvalidState", "found the state of %s/%s",
                         namespace_name ? namespace_name : "", name ? name : "");
    if (generation < 0 || generation >= INT64_MAX)
        return error_new(ERROR_CONFIGURATION, "InvalidState",
                         "metadata.generation: found %lld; accepted: a generation",
                         (long long)generation);
    return NULL;
}

/* The object in the state file; *object is NULL if there is none. */
static struct error *read_state(const struct dir_entry *entry, struct log *log, json_t **object)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    struct error *error = file_read(entry->state_path, STATE_MAX, &text);

    *object = NULL;
    if (error && strcmp(error->reason, "FileNotFound") == 0) {
        error_free(error);
        return NULL;
    }
    if (!error)
        error = yaml_read(buffer_string(&text), text.length, take_document, object);
    if (!error)
        error = check_state(entry, *object);
    if (!error || error->kind == ERROR_INTERNAL)
        return error;

    _cleanup_(free) char *aside = format_string("%s.corrupt", entry->state_path);
    log_error(log, &(struct log_subject){entry->namespace_name, entry->name, NULL}, error,
              "status cannot be read; it is moved aside and the source begins anew", "path",
              entry->state_path, NULL);
    error_free(error);
    json_decref(TAKE(*object));
    if (!aside)
        return error_out_of_memory();
    if (rename(entry->state_path, aside) != 0)
        return error_from_errno(ERROR_STORAGE, "FileWriteFailed", errno, "%s: cannot move aside",
                                entry->state_path);
    return NULL;
}

/* A random uid in the form of those that an API server gives. */
static json_t *new_uid(void)
{
    uint64_t bits[2] = {0, 0};
    char text[40];

    if (getrandom(bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        return NULL;
    snprintf(text, sizeof(text), "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(bits[0] >> 32),
             (unsigned)(bits[0] >> 16) & 0xffff, (unsigned)bits[0] & 0xfff,
             ((unsigned)(bits[1] >> 48) & 0x3fff) | 0x8000,
             (unsigned long long)(bits[1] & 0xffffffffffff));
    return json_string(text);
}

/* Copies a member, if it is there. */
static int keep(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);

    return value ? json_object_set(to, key, value) : 0;
}

static json_t *make_metadata(const struct dir_entry *entry, const json_t *manifest,
                             const json_t *state, bool changed)
{
    const json_t *given = json_object_get(manifest, "metadata");
    const json_t *kept = json_object_get(state, "metadata");
    const json_t *uid = json_object_get(kept, "uid");
    const char *version = json_get_string(kept, "resourceVersion");
    int64_t generation = json_get_integer(kept, "generation", 0) + (changed || !kept);
    json_t *metadata = json_object();

    if (json_set_string(metadata, "namespace", entry->namespace_name) ||
        json_set_string(metadata, "name", entry->name) ||
        json_object_set_new(metadata, "uid",
                            json_is_string(uid) ? json_incref((json_t *)uid) : new_uid()) ||
        json_object_set_new(metadata, "generation", json_integer(generation)) ||
        json_set_string(metadata, "resourceVersion", version ? version : "1") ||
        keep(metadata, given, "labels") || keep(metadata, given, "annotations") ||
        keep(metadata, kept, "finalizers"))
        json_decref(TAKE(metadata));
    return metadata;
}

static json_t *make_object(const struct dir_entry *entry, const json_t *manifest,
                           const json_t *state)
{
    json_t *spec = json_object_get(manifest, "spec");
    const json_t *before = json_object_get(state, "spec");
    bool same = spec && before ? json_equal(spec, before) : spec == before;
    bool changed = state && !same;
    json_t *object = json_object();

    if (json_set_string(object, "apiVersion", SOURCE_API_VERSION) ||
        json_set_string(object, "kind", SOURCE_KIND) ||
        json_object_set_new(object, "metadata", make_metadata(entry, manifest, state, changed)) ||
        keep(object, manifest, "spec") || keep(object, state, "status"))
        json_decref(TAKE(object));
    return object;
}

struct error *dir_entry_adopt(struct dir_entry *entry, const json_t *manifest,
                              const struct manifest_place *place, struct log *log)
{
    _cleanup_(json) json_t *state = NULL;
    struct error *error = read_state(entry, log, &state);

    if (error)
        return error;
    entry->file = strdup(place->file);
    entry->place = *place;
    entry->place.file = entry->file;
    entry->object = make_object(entry, manifest, state);
    return entry->file && entry->object ? NULL : error_out_of_memory();
}

struct error *dir_entry_adopt_vanished(struct dir_entry *entry, const struct clock *clock,
                                       struct log *log)
{
    json_t *object = NULL;
    char now[TIME_TEXT_SIZE];
    struct error *error = read_state(entry, log, &object);

    if (error)
        return error;
    if (!object) {
        entry->gone = true;
        return NULL;
    }
    time_format(clock_wall_ms(clock), now);
    entry->object = object;
    if (json_set_string(json_object_get(object, "metadata"), "deletionTimestamp", now))
        return error_out_of_memory();
    return NULL;
}

/* Puts the place of the field at fault before the message. */
static void name_place(const struct dir_entry *entry, struct source *source, const char *path)
{
    if (!source->fault || !entry->file)
        return;
    _cleanup_(free) char *place = manifest_locate(&entry->place, path ? path : "spec", 0);
    source->fault = error_wrap(source->fault, "%s", place ? place : entry->file);
}

struct error *dir_entry_snapshot(const struct dir_entry *entry, struct source **source)
{
    char *path = NULL;
    struct error *error = source_parse(entry->object, source, &path);

    if (!error)
        name_place(entry, *source, path);
    free(path);
    return error;
}

const char *dir_entry_version(const struct dir_entry *entry)
{
    const char *version =
        json_get_string(json_object_get(entry->object, "metadata"), "resourceVersion");

    return version ? version : "";
}

/* A copy of the object, with metadata of its own, one version further. */
static json_t *next_object(const struct dir_entry *entry)
{
    json_t *object = json_copy(entry->object);
    json_t *metadata = json_copy(json_object_get(entry->object, "metadata"));
    unsigned long long version = strtoull(dir_entry_version(entry), NULL, 10);
    char text[24];

    snprintf(text, sizeof(text), "%llu", version + 1);
    if (!metadata || json_set_string(metadata, "resourceVersion", text) ||
        json_object_set_new(object, "metadata", metadata)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *dir_entry_with_status(const struct dir_entry *entry, json_t *status)
{
    json_t *object = next_object(entry);

    if (json_object_set_new(object, "status", status))
        json_decref(TAKE(object));
    return object;
}

json_t *dir_entry_with_finalizer(const struct dir_entry *entry, bool present)
{
    json_t *object = next_object(entry);
    json_t *finalizers = present ? json_pack("[s]", SOURCE_FINALIZER) : json_array();

    if (!object ||
        json_object_set_new(json_object_get(object, "metadata"), "finalizers", finalizers))
        json_decref(TAKE(object));
    return object;
}
