/* See dir_manifest.h. Files are read whole, one at a time, and forgotten; messages find lines again
 * later. */
#include "catalog/dir_manifest.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_text.h"
#include "base/yaml.h"

#define MANIFEST_MAX ((size_t)64 << 20)

struct file_reading {
    const struct manifest_reader *reader;
    struct manifest_place place;
};

static struct error *tell_fault(const struct manifest_reader *reader,
                                const struct manifest_place *place, const char *message)
{
    _cleanup_(free) char *text = format_string("%s:%zu", place->file, place->line);

    return text ? reader->fault(reader->context, text, message) : error_out_of_memory();
}

static struct error *read_object(const struct manifest_reader *reader, const json_t *object,
                                 const struct manifest_place *place)
{
    const char *kind = json_get_string(object, "kind");
    const json_t *items = json_object_get(object, "items");
    struct error *error = NULL;
    size_t index;
    json_t *item;

    if (!kind || !json_get_string(object, "apiVersion"))
        return tell_fault(reader, place,
                          "found a document without apiVersion and kind; accepted: Kubernetes "
                          "manifests");
    if (strcmp(kind, "List") != 0 || !json_is_array(items))
        return reader->object(reader->context, object, place);
    json_array_foreach(items, index, item)
    {
        if (!error)
            error = read_object(reader, item, place);
    }
    return error;
}

/* jansson's own line and column, "line 1 column 210: …", are those of the JSON that we made. */
static const char *without_position(const char *message)
{
    const char *colon = strchr(message, ':');

    return strncmp(message, "line ", 5) == 0 && colon && colon[1] == ' ' ? colon + 2 : message;
}

static struct error *read_document(void *context, const char *json, size_t length, size_t line)
{
    struct file_reading *reading = context;
    _cleanup_(json) json_t *object = NULL;
    struct error *error = json_parse(json, length, &object);

    reading->place.line = line;
    if (error && error->kind == ERROR_CONFIGURATION) {
        struct error *told =
            tell_fault(reading->reader, &reading->place, without_position(error->message));

        error_free(error);
        error = told;
    } else if (!error && !json_is_null(object)) {
        error = read_object(reading->reader, object, &reading->place);
    }
    reading->place.document++;
    return error;
}

/* The text as one JSON object, as strict as RFC 8259 and no deeper than YAML may be; NULL if it is
 * anything else. */
static struct error *parse_json(const char *text, size_t length, json_t **object)
{
    _cleanup_(json_reader) struct json_reader reader =
        JSON_READER_INIT(text, length, YAML_DEPTH_MAX);
    enum json_event event = JSON_EVENT_NULL;
    struct error *error = NULL;

    *object = NULL;
    if (text[strspn(text, " \t\r\n")] != '{')
        return NULL;
    while (!error && event != JSON_EVENT_END)
        error = json_reader_next(&reader, &event);
    if (!error)
        error = json_parse(text, length, object);
    if (!error || error->kind == ERROR_INTERNAL)
        return error;
    error_free(error);
    return NULL;
}

/* Not all JSON is YAML to libyaml (escaped surrogates, keys over 1,024 bytes), but most is, and
 * YAML may look like JSON: what is not wholly JSON is YAML, and its faults are told as YAML's. */
static struct error *read_text(const struct buffer *text, struct file_reading *reading)
{
    _cleanup_(json) json_t *object = NULL;
    struct error *error = parse_json(buffer_string(text), text->length, &object);

    if (error)
        return error;
    return object ? read_object(reading->reader, object, &reading->place)
                  : yaml_read(buffer_string(text), text->length, read_document, reading);
}

/* A file that cannot be read or parsed is a fault of its own; errors of ours are not. */
static struct error *read_file(const struct manifest_reader *reader, const char *path)
{
    struct file_reading reading = {reader, {path, 1, 0}};
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    struct error *error = file_read(path, MANIFEST_MAX, &text);

    if (!error)
        error = read_text(&text, &reading);
    if (!error || error->kind == ERROR_INTERNAL)
        return error;
    struct error *told = reader->fault(reader->context, path, error->message);
    error_free(error);
    return told;
}

static bool is_manifest(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot &&
           (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0 || strcmp(dot, ".json") == 0);
}

static int by_name(const FTSENT **left, const FTSENT **right)
{
    return strcmp((*left)->fts_name, (*right)->fts_name);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static struct error *visit(const struct manifest_reader *reader, FTS *tree, FTSENT *entry,
                           const struct stat *excluded)
{
    bool top = entry->fts_level == FTS_ROOTLEVEL;

    switch (entry->fts_info) {
    case FTS_D:
        if ((!top && entry->fts_name[0] == '.') ||
            (excluded && same_file(entry->fts_statp, excluded)))
            fts_set(tree, entry, FTS_SKIP);
        return NULL;
    case FTS_F:
        return top || is_manifest(entry->fts_name) ? read_file(reader, entry->fts_path) : NULL;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return reader->fault(reader->context, entry->fts_path, strerror(entry->fts_errno));
    case FTS_SLNONE:
        return is_manifest(entry->fts_name)
                   ? reader->fault(reader->context, entry->fts_path, "is a link to nothing")
                   : NULL;
    case FTS_DEFAULT:
        return top ? reader->fault(reader->context, entry->fts_path,
                                   "is neither a file nor a directory")
                   : NULL;
    default:
        return NULL;
    }
}

static struct error *read_path(const struct manifest_reader *reader, const char *path,
                               const struct stat *excluded)
{
    char *const roots[] = {(char *)path, NULL};
    struct error *error = NULL;
    FTSENT *entry;
    FTS *tree;

    if (access(path, R_OK) != 0)
        return error_from_errno(ERROR_CONFIGURATION, "FileNotFound", errno, "%s", path);
    tree = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    if (!tree)
        return error_from_errno(ERROR_INTERNAL, "FileReadFailed", errno, "%s", path);
    while (!error && (entry = fts_read(tree)))
        error = visit(reader, tree, entry, excluded);
    fts_close(tree);
    return error;
}

struct error *manifests_read(const struct manifest_reader *reader, const char *const *paths,
                             size_t count)
{
    struct stat excluded;
    bool exclude = reader->excluded && stat(reader->excluded, &excluded) == 0;
    struct error *error = NULL;

    for (size_t i = 0; !error && i < count; i++)
        error = read_path(reader, paths[i], exclude ? &excluded : NULL);
    return error;
}

char *manifest_locate(const struct manifest_place *place, const char *path, int content_line)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    struct error *error = file_read(place->file, MANIFEST_MAX, &text);
    size_t line = 0;

    if (!error)
        line = yaml_locate(buffer_string(&text), text.length, place->document, path, content_line);
    error_free(error);
    return line ? format_string("%s:%zu", place->file, line) : NULL;
}
