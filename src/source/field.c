/* See field.h. */
#include "source/field.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"

#define NAME_MAX_COMPARED 40 /* longer names are not compared for likeness */
#define PATH_SHOWN_MAX 200   /* bytes of a path that a message shows */

static char *join(const char *path, const char *key)
{
    return key ? format_string("%s.%s", path, key) : strdup(path);
}

void field_fault_message(struct field_reader *reader, const char *path, const char *key,
                         const char *format, ...)
{
    va_list arguments;

    if (reader->error)
        return;
    reader->path = join(path, key);
    va_start(arguments, format);
    reader->error = error_new_v(ERROR_CONFIGURATION, "InvalidSpec", format, arguments);
    va_end(arguments);
    const char *full = reader->path ? reader->path : path;
    size_t length = strlen(full);
    size_t shown = utf8_clip(full, length, PATH_SHOWN_MAX);
    reader->error =
        error_wrap(reader->error, "%.*s%s", (int)shown, full, shown < length ? "…" : "");
}

void field_fault(struct field_reader *reader, const char *path, const char *key,
                 const json_t *found, const char *accepted)
{
    _cleanup_(buffer) struct buffer description = BUFFER_INIT;

    if (found)
        json_describe(&description, found);
    field_fault_message(reader, path, key, "%s%s; accepted: %s", found ? "found " : "missing",
                        buffer_string(&description), accepted);
}

const json_t *field_get(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_null(value) ? NULL : value;
}

/* Levenshtein distance of two short names; SIZE_MAX where one is not short. */
static size_t distance(const char *a, const char *b)
{
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);
    size_t row[NAME_MAX_COMPARED + 1];

    if (a_length > NAME_MAX_COMPARED || b_length > NAME_MAX_COMPARED)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t above = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b_length];
}

static const char *nearest(const char *name, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t best_distance = strlen(name) / 3 + 1;

    for (size_t i = 0; i < count; i++) {
        size_t candidate = distance(name, names[i]);

        if (candidate <= best_distance) {
            best = names[i];
            best_distance = candidate;
        }
    }
    return best;
}

static void fault_name(struct field_reader *reader, const char *path, const char *key,
                       const char *const *names, size_t count)
{
    _cleanup_(buffer) struct buffer accepted = BUFFER_INIT;
    const char *meant = nearest(key, names, count);

    for (size_t i = 0; i < count; i++)
        buffer_appendf(&accepted, "%s%s", i ? ", " : "", names[i]);
    if (meant)
        field_fault_message(reader, path, key, "unknown field; did you mean '%s'? accepted: %s",
                            meant, buffer_string(&accepted));
    else
        field_fault_message(reader, path, key, "unknown field; accepted: %s",
                            buffer_string(&accepted));
}

void field_check_names(struct field_reader *reader, const json_t *object, const char *path,
                       const char *const *names, size_t count)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        bool known = reader->error != NULL;

        for (size_t i = 0; i < count; i++)
            known = known || strcmp(key, names[i]) == 0;
        if (!known)
            fault_name(reader, path, key, names, count);
    }
}

const char *field_string(struct field_reader *reader, const json_t *object, const char *path,
                         const char *key, const char *fallback)
{
    const json_t *value = field_get(object, key);

    if (!value)
        return fallback;
    if (!json_is_string(value))
        field_fault(reader, path, key, value, "a string");
    else if (strlen(json_string_value(value)) != json_string_length(value))
        field_fault(reader, path, key, value, "a string without NUL bytes");
    else
        return json_string_value(value);
    return fallback;
}

bool field_boolean(struct field_reader *reader, const json_t *object, const char *path,
                   const char *key, bool fallback)
{
    const json_t *value = field_get(object, key);

    if (value && !json_is_boolean(value))
        field_fault(reader, path, key, value, "true or false");
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

unsigned field_count(struct field_reader *reader, const json_t *object, const char *path,
                     const char *key, unsigned max, unsigned fallback)
{
    const json_t *value = field_get(object, key);

    if (!value)
        return fallback;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > (json_int_t)max) {
        _cleanup_(free) char *accepted = format_string("a whole number from 0 to %u", max);

        field_fault(reader, path, key, value, accepted ? accepted : "a whole number");
        return fallback;
    }
    return (unsigned)json_integer_value(value);
}

int64_t field_duration(struct field_reader *reader, const json_t *object, const char *path,
                       const char *key, int64_t min_ms, int64_t fallback)
{
    const json_t *value = field_get(object, key);
    int64_t milliseconds = 0;

    if (!value)
        return fallback;
    if (!json_is_string(value) || !duration_parse(json_string_value(value), &milliseconds) ||
        milliseconds < min_ms) {
        char min[TIME_TEXT_SIZE];

        duration_format(min_ms, min);
        _cleanup_(free) char *accepted =
            format_string("a duration of at least %s, such as 90s, 5m or 1h30m", min);
        field_fault(reader, path, key, value, accepted ? accepted : "a duration");
        return fallback;
    }
    return milliseconds;
}

const json_t *field_object(struct field_reader *reader, const json_t *object, const char *path,
                           const char *key)
{
    const json_t *value = field_get(object, key);

    if (value && !json_is_object(value)) {
        field_fault(reader, path, key, value, "an object");
        return NULL;
    }
    return value;
}

const json_t *field_list(struct field_reader *reader, const json_t *object, const char *path,
                         const char *key)
{
    const json_t *value = field_get(object, key);

    if (value && !json_is_array(value)) {
        field_fault(reader, path, key, value, "a list");
        return NULL;
    }
    return value;
}
