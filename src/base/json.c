/* See json.h. */
#include "base/json.h"

#include <string.h>

#define DESCRIBED_STRING_MAX 60 /* bytes of a found string that a message shows */

const char *json_get_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

int64_t json_get_integer(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
}

bool json_get_boolean(const json_t *object, const char *key, bool fallback)
{
    const json_t *value = json_object_get(object, key);

    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

int json_set_string(json_t *object, const char *key, const char *value)
{
    return value ? json_object_set_new(object, key, json_string(value)) : 0;
}

struct error *json_parse(const char *text, size_t length, json_t **value)
{
    json_error_t fault;

    *value =
        json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &fault);
    if (*value)
        return NULL;
    if (json_error_code(&fault) == json_error_out_of_memory)
        return error_out_of_memory();
    return error_new(ERROR_CONFIGURATION, "InvalidJSON", "line %d column %d: %s", fault.line,
                     fault.column, fault.text);
}

static int append_to_buffer(const char *bytes, size_t length, void *buffer)
{
    buffer_append(buffer, bytes, length);
    return 0;
}

void json_write(struct buffer *buffer, const json_t *value)
{
    if (json_dump_callback(value, append_to_buffer, buffer,
                           JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY))
        buffer->failed = true;
}

static int patch_member(json_t *patch, const char *key, const json_t *before, json_t *after)
{
    if (json_equal(before, after))
        return 0;
    if (json_is_object(before) && json_is_object(after))
        return json_object_set_new(patch, key, json_merge_patch(before, after));
    return json_object_set(patch, key, after);
}

json_t *json_merge_patch(const json_t *from, const json_t *to)
{
    json_t *patch = json_object();
    const char *key;
    json_t *value;
    bool failed = !patch;

    json_object_foreach((json_t *)to, key, value)
    {
        failed = failed || patch_member(patch, key, json_object_get(from, key), value);
    }
    json_object_foreach((json_t *)from, key, value)
    {
        if (!json_object_get(to, key))
            failed = failed || json_object_set_new(patch, key, json_null());
    }
    if (failed)
        json_decref(TAKE(patch));
    return patch;
}

static void describe_string(struct buffer *buffer, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    size_t shown = length;

    if (shown > DESCRIBED_STRING_MAX) {
        shown = DESCRIBED_STRING_MAX;
        while (shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80)
            shown--;
    }
    buffer_append_string(buffer, "the string \"");
    for (size_t i = 0; i < shown; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            buffer_appendf(buffer, "\\x%02x", (unsigned char)text[i]);
        else
            buffer_append_byte(buffer, text[i]);
    }
    buffer_append_string(buffer, shown < length ? "…\"" : "\"");
}

void json_describe(struct buffer *buffer, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        describe_string(buffer, value);
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        buffer_append_string(buffer, "the number ");
        json_write(buffer, value);
        break;
    case JSON_OBJECT:
        buffer_append_string(buffer, "an object");
        break;
    case JSON_ARRAY:
        buffer_append_string(buffer, "a list");
        break;
    default:
        json_write(buffer, value);
        break;
    }
}
