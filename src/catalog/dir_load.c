/*
 * Loading: every document of the manifests becomes a source, an object that sources may name, or a
 * fault; then, unless there are faults, every source that DATA/status remembers and no manifest
 * names any more is one to be deleted.
 */
#include "catalog/dir_catalog.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "catalog/dir_manifest.h"

#define GROUP "source.flux.oddkin.co/"
#define NAME_SHOWN_MAX 60 /* longer ones are shortened in messages */

struct dir_entry *dir_find_entry(const struct dir_catalog *dir, const char *namespace_name,
                                 const char *name)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        struct dir_entry *entry = dir->entries[i];

        if (!entry->gone && strcmp(entry->name, name) == 0 &&
            strcmp(entry->namespace_name, namespace_name) == 0)
            return entry;
    }
    return NULL;
}

static struct error *add_fault(void *context, const char *place, const char *message)
{
    struct dir_catalog *dir = context;
    struct dir_catalog_fault *faults =
        reallocarray(dir->faults, dir->fault_count + 1, sizeof(*faults));

    if (!faults)
        return error_out_of_memory();
    dir->faults = faults;
    faults[dir->fault_count] = (struct dir_catalog_fault){strdup(place), strdup(message)};
    const struct dir_catalog_fault *fault = &faults[dir->fault_count++];
    return fault->place && fault->message ? NULL : error_out_of_memory();
}

/* Takes `entry` in any case. */
static struct error *add_entry(struct dir_catalog *dir, struct dir_entry *entry)
{
    struct dir_entry **entries =
        reallocarray(dir->entries, dir->entry_count + 1, sizeof(struct dir_entry *));

    if (!entries) {
        dir_entry_unref(entry);
        return error_out_of_memory();
    }
    dir->entries = entries;
    entries[dir->entry_count++] = entry;
    return NULL;
}

static struct error *add_source(struct dir_catalog *dir, const json_t *object,
                                const char *namespace_name, const char *name,
                                const struct manifest_place *place, char **fault)
{
    const struct dir_entry *other = dir_find_entry(dir, namespace_name, name);

    if (other) {
        *fault = format_string("ExternalSource %s/%s is there already, at %s:%zu", namespace_name,
                               name, other->file, other->place.line);
        return *fault ? NULL : error_out_of_memory();
    }
    struct dir_entry *entry = dir_entry_new(dir->data_directory, namespace_name, name);
    if (!entry)
        return error_out_of_memory();
    struct error *error = dir_entry_adopt(entry, object, place, dir->log);
    if (error) {
        dir_entry_unref(entry);
        return error;
    }
    return add_entry(dir, entry);
}

/* A value of metadata as a name; NULL if it is no text, or one that a C string would cut short. */
static const char *name_of(const json_t *value)
{
    const char *text = json_string_value(value);

    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static char *name_fault(const char *field, const json_t *value, const char *accepted)
{
    _cleanup_(buffer) struct buffer found = BUFFER_INIT;
    const char *name = name_of(value);

    if (!value)
        return format_string("%s: missing; accepted: %s", field, accepted);
    if (name && strlen(name) <= NAME_SHOWN_MAX)
        return format_string("%s: found '%s'; accepted: %s", field, name, accepted);
    json_describe(&found, value);
    return format_string("%s: found %s; accepted: %s", field, buffer_string(&found), accepted);
}

/* Names that can be part of a path, with the namespace's default, or what is wrong with them. */
static char *read_names(const json_t *metadata, const char **namespace_name, const char **name)
{
    const json_t *given_name = json_object_get(metadata, "name");
    const json_t *given = json_object_get(metadata, "namespace");
    bool missing =
        !given || json_is_null(given) || (json_is_string(given) && json_string_length(given) == 0);

    *name = name_of(given_name);
    *namespace_name = missing ? "default" : name_of(given);
    if (!*name || !object_name_valid(*name))
        return name_fault("metadata.name", given_name, "lower-case letters, digits, '-' and '.'");
    if (!*namespace_name || !namespace_name_valid(*namespace_name))
        return name_fault("metadata.namespace", given, "lower-case letters, digits and '-'");
    return NULL;
}

/* A Secret or ConfigMap; a fault names the object before the field. */
static struct error *add_object(struct dir_catalog *dir, const json_t *object,
                                const char *namespace_name, const char *name, const char *place,
                                char **fault)
{
    _cleanup_(free) char *field = NULL;
    struct error *error =
        dir_objects_add(&dir->objects, object, namespace_name, name, place, &field);

    if (error || !field)
        return error;
    *fault =
        format_string("%s %s/%s: %s", json_get_string(object, "kind"), namespace_name, name, field);
    return *fault ? NULL : error_out_of_memory();
}

static struct error *read_object(void *context, const json_t *object,
                                 const struct manifest_place *place)
{
    struct dir_catalog *dir = context;
    const char *kind = json_get_string(object, "kind");
    const char *version = json_get_string(object, "apiVersion");
    const char *namespace_name = NULL;
    const char *name = NULL;
    bool source = strcmp(kind, SOURCE_KIND) == 0 && strncmp(version, GROUP, strlen(GROUP)) == 0;
    bool plain = (strcmp(kind, "Secret") == 0 || strcmp(kind, "ConfigMap") == 0) &&
                 strcmp(version, "v1") == 0;
    _cleanup_(free) char *text = format_string("%s:%zu", place->file, place->line);
    _cleanup_(free) char *fault = NULL;
    struct error *error = NULL;

    if (!source && !plain) {
        dir->skipped++;
        return NULL;
    }
    if (!text)
        return error_out_of_memory();
    if (source && strcmp(version, SOURCE_API_VERSION) != 0)
        fault = name_fault("apiVersion", json_object_get(object, "apiVersion"), SOURCE_API_VERSION);
    else
        fault = read_names(json_object_get(object, "metadata"), &namespace_name, &name);
    if (!fault && source)
        error = add_source(dir, object, namespace_name, name, place, &fault);
    else if (!fault)
        error = add_object(dir, object, namespace_name, name, text, &fault);
    if (error)
        return error;
    return fault ? add_fault(dir, text, fault) : NULL;
}

/* A source that DATA/status remembers and no manifest names any more is to be deleted; but while a
 * manifest cannot be used, it may be the one that names it. */
static struct error *add_vanished(struct dir_catalog *dir, const char *namespace_name,
                                  const char *file)
{
    size_t length = strlen(file);
    _cleanup_(free) char *name = length > 5 ? strndup(file, length - 5) : NULL;

    if (!name || strcmp(file + length - 5, ".yaml") != 0 || !object_name_valid(name) ||
        dir_find_entry(dir, namespace_name, name))
        return NULL;
    if (dir->fault_count > 0) {
        dir->kept++;
        return NULL;
    }
    struct dir_entry *entry = dir_entry_new(dir->data_directory, namespace_name, name);
    if (!entry)
        return error_out_of_memory();
    struct error *error = dir_entry_adopt_vanished(entry, dir->clock, dir->log);
    if (error) {
        dir_entry_unref(entry);
        return error;
    }
    return add_entry(dir, entry);
}

static struct error *read_state_directory(struct dir_catalog *dir, const char *path,
                                          const char *namespace_name)
{
    _cleanup_(directory) DIR *directory = opendir(path);
    struct error *error = NULL;
    const struct dirent *item;

    while (!error && directory && (item = readdir(directory)))
        error = add_vanished(dir, namespace_name, item->d_name);
    return error;
}

static struct error *find_vanished(struct dir_catalog *dir)
{
    _cleanup_(free) char *path = path_join(dir->data_directory, "status");
    _cleanup_(directory) DIR *directory = path ? opendir(path) : NULL;
    struct error *error = path ? NULL : error_out_of_memory();
    const struct dirent *item;

    while (!error && directory && (item = readdir(directory))) {
        if (!namespace_name_valid(item->d_name))
            continue;
        _cleanup_(free) char *below = path_join(path, item->d_name);
        error = below ? read_state_directory(dir, below, item->d_name) : error_out_of_memory();
    }
    return error;
}

static void tell_count(const struct dir_catalog *dir, size_t count, const char *message)
{
    char text[24];

    if (count == 0)
        return;
    snprintf(text, sizeof(text), "%zu", count);
    log_info(dir->log, NULL, message, "count", text, NULL);
}

struct error *dir_load(struct dir_catalog *dir, const struct dir_catalog_options *options)
{
    struct manifest_reader reader = {read_object, add_fault, dir, dir->data_directory};
    struct error *error = file_make_directories(dir->data_directory);

    dir_sweep(dir->data_directory);
    if (!error)
        error = dir_objects_init(&dir->objects, dir->data_directory);
    if (!error)
        error = manifests_read(&reader, options->paths, options->path_count);
    for (size_t i = 0; !error && i < options->secret_count; i++)
        error = dir_objects_set_secret(&dir->objects, options->secrets[i]);
    if (!error)
        error = dir_objects_finish(&dir->objects);
    if (!error)
        error = find_vanished(dir);
    if (!error) {
        tell_count(dir, dir->skipped, "manifests of other kinds are skipped");
        tell_count(dir, dir->kept,
                   "sources without a manifest are kept until every manifest can be used");
    }
    return error;
}
