/* See source.h. */
#include "source/source.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define LABEL_MAX 63
#define SUBDOMAIN_MAX 253

/* RFC 1123 label of `length` bytes: [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool label_valid(const char *text, size_t length)
{
    if (length == 0 || text[0] == '-' || text[length - 1] == '-')
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!islower((unsigned char)text[i]) && !isdigit((unsigned char)text[i]) && text[i] != '-')
            return false;
    }
    return true;
}

bool namespace_name_valid(const char *text)
{
    size_t length = strlen(text);

    return length <= LABEL_MAX && label_valid(text, length);
}

bool object_name_valid(const char *text)
{
    if (strlen(text) > SUBDOMAIN_MAX)
        return false;
    for (;;) {
        size_t length = strcspn(text, ".");

        if (!label_valid(text, length))
            return false;
        if (!text[length])
            return true;
        text += length + 1;
    }
}

/* The members of `object` that are strings, as an object that is never NULL but without memory. */
static json_t *strings_of(const json_t *object)
{
    json_t *strings = json_object();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        if (json_is_string(value) && json_object_set(strings, key, value))
            json_decref(TAKE(strings));
    }
    return strings;
}

static bool has_string(const json_t *array, const char *text)
{
    size_t index;
    json_t *item;

    json_array_foreach(array, index, item)
    {
        if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
            return true;
    }
    return false;
}

static struct error *read_metadata(const json_t *metadata, struct source *source)
{
    const char *uid = json_get_string(metadata, "uid");
    const char *version = json_get_string(metadata, "resourceVersion");
    const char *name = json_get_string(metadata, "name");
    const char *namespace_name = json_get_string(metadata, "namespace");

    if (!name || !object_name_valid(name))
        return error_new(ERROR_CONFIGURATION, "InvalidSpec",
                         "metadata.name: found '%s'; accepted: a name of lower-case letters, "
                         "digits, '-' and '.'",
                         name ? name : "");
    if (!namespace_name || !namespace_name_valid(namespace_name))
        return error_new(ERROR_CONFIGURATION, "InvalidSpec",
                         "metadata.namespace: found '%s'; accepted: a name of lower-case letters, "
                         "digits and '-'",
                         namespace_name ? namespace_name : "");
    source->namespace_name = strdup(namespace_name);
    source->name = strdup(name);
    source->uid = strdup(uid ? uid : "");
    source->resource_version = strdup(version ? version : "");
    source->generation = json_get_integer(metadata, "generation", 0);
    source->labels = strings_of(json_object_get(metadata, "labels"));
    source->annotations = strings_of(json_object_get(metadata, "annotations"));
    source->deleting = json_get_string(metadata, "deletionTimestamp") != NULL;
    source->has_finalizer = has_string(json_object_get(metadata, "finalizers"), SOURCE_FINALIZER);
    if (!source->namespace_name || !source->name || !source->uid || !source->resource_version ||
        !source->labels || !source->annotations)
        return error_out_of_memory();
    return NULL;
}

static struct error *fill(const json_t *object, struct source *source, char **fault_path)
{
    struct error *error = read_metadata(json_object_get(object, "metadata"), source);

    if (!error)
        error = source_status_parse(json_object_get(object, "status"), &source->status);
    if (error)
        return error;
    source->fault = source_spec_parse(json_object_get(object, "spec"), &source->spec, fault_path);
    if (source->fault && source->fault->kind != ERROR_CONFIGURATION)
        return TAKE(source->fault);
    return NULL;
}

struct error *source_parse(const json_t *object, struct source **source, char **fault_path)
{
    char *path = NULL;
    struct source *parsed = calloc(1, sizeof(*parsed));

    *source = NULL;
    if (fault_path)
        *fault_path = NULL;
    if (!parsed)
        return error_out_of_memory();
    parsed->references = 1;
    struct error *error = fill(object, parsed, &path);
    if (error) {
        free(path);
        source_unref(parsed);
        return error;
    }
    if (fault_path)
        *fault_path = path;
    else
        free(path);
    *source = parsed;
    return NULL;
}

struct source *source_ref(struct source *source)
{
    source->references++;
    return source;
}

void source_unref(struct source *source)
{
    if (!source || --source->references > 0)
        return;
    free(source->namespace_name);
    free(source->name);
    free(source->uid);
    free(source->resource_version);
    json_decref(source->labels);
    json_decref(source->annotations);
    source_spec_free(source->spec);
    error_free(source->fault);
    source_status_free(source->status);
    free(source->artifact_requested_at);
    free(source);
}
