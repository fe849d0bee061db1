/*
 * JSON text to block-style YAML. Its one idea: a string is written plain only if the very rules by
 * which the reader resolves scalars make a string of it, and as a block literal only if that is
 * exact; everything else is double-quoted, which can hold any text.
 */
#include "base/yaml.h"

#include <stdbool.h>
#include <string.h>

#include "base/json_text.h"
#include "base/utf8.h"
#include "base/yaml_scalar.h"

/* A key that is longer is written "? KEY": parsers look for the colon within 1,024 characters only.
 */
#define SIMPLE_KEY_MAX 1000

/* YAML bytes that one document may become, for indentation multiplies: this much, and as many times
 * the JSON's length. */
#define OUTPUT_BYTES_MIN ((size_t)16 << 20)
#define OUTPUT_FACTOR 16

/* What stands on the line before a value. */
enum place { AT_ROOT, AFTER_KEY, AFTER_DASH };

struct writer {
    struct json_reader reader;
    struct buffer *yaml;
    size_t end_max; /* where the YAML must end at the latest */
};

static struct error *write_value(struct writer *writer, enum json_event event, size_t column,
                                 enum place place);

/* A character that every YAML 1.1 reader takes as it stands; no line break, no tab. */
static bool is_printable(uint32_t code_point)
{
    if (code_point < 0x7F)
        return code_point >= 0x20;
    return (code_point >= 0xA0 && code_point <= 0xFFFD && code_point != 0x2028 &&
            code_point != 0x2029 && code_point != 0xFEFF) ||
           code_point >= 0x10000;
}

/* Whether all characters are printable, counting `also` (a set of ASCII characters) as such. */
static bool all_printable(const char *text, size_t length, const char *also)
{
    for (size_t i = 0; i < length;) {
        uint32_t code_point;
        size_t count = utf8_decode(text + i, length - i, &code_point);

        if (count == 0 || (!is_printable(code_point) && (code_point == 0 || code_point > 0x7F ||
                                                         !strchr(also, (int)code_point))))
            return false;
        i += count;
    }
    return true;
}

static bool begins_plain(const char *text, size_t length)
{
    if (length >= 3 && (memcmp(text, "---", 3) == 0 || memcmp(text, "...", 3) == 0))
        return false;
    if (text[0] == '-')
        return length > 1 && text[1] != ' ';
    return !strchr("?:,[]{}#&*!|>'\"%@` ", text[0]);
}

static bool is_plain(const char *text, size_t length)
{
    if (length == 0 || text[0] == '\0' || !begins_plain(text, length) || text[length - 1] == ' ' ||
        text[length - 1] == ':' || !all_printable(text, length, ""))
        return false;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] == ' ' && text[i - 1] == ':') || (text[i] == '#' && text[i - 1] == ' '))
            return false;
    }
    return yaml_resolve(text, length, NULL) == YAML_TYPE_STRING && !yaml_is_ambiguous(text, length);
}

static bool is_literal(const char *text, size_t length)
{
    bool content = false;

    if (!memchr(text, '\n', length) || !all_printable(text, length, "\n\t"))
        return false;
    for (size_t i = 0; i < length && !content; i++)
        content = !strchr(" \t\n", text[i]);
    return content;
}

static void write_escape(struct buffer *yaml, uint32_t code_point)
{
    static const char letters[] = "abtnvfr";

    if (code_point == '"' || code_point == '\\')
        buffer_appendf(yaml, "\\%c", (int)code_point);
    else if (code_point >= '\a' && code_point <= '\r')
        buffer_appendf(yaml, "\\%c", letters[code_point - '\a']);
    else if (code_point <= 0xFF)
        buffer_appendf(yaml, "\\x%02X", (unsigned)code_point);
    else
        buffer_appendf(yaml, "\\u%04X", (unsigned)code_point);
}

static void write_quoted(struct buffer *yaml, const char *text, size_t length)
{
    buffer_append_byte(yaml, '"');
    for (size_t i = 0; i < length;) {
        uint32_t code_point = 0;
        size_t count = utf8_decode(text + i, length - i, &code_point);

        if (count == 0)
            count = 1;
        if (is_printable(code_point) && code_point != '"' && code_point != '\\')
            buffer_append(yaml, text + i, count);
        else
            write_escape(yaml, code_point);
        i += count;
    }
    buffer_append_byte(yaml, '"');
}

static void write_indent(struct buffer *yaml, size_t column)
{
    for (size_t i = 0; i < column; i++)
        buffer_append_byte(yaml, ' ');
}

static void write_literal(struct buffer *yaml, const char *text, size_t length, size_t column)
{
    const char *end = text + length;
    bool one_break = text[length - 1] == '\n' && text[length - 2] != '\n';

    buffer_append_byte(yaml, '|');
    if (strchr(" \t\n", text[0])) /* too little to tell the indentation from */
        buffer_append_byte(yaml, '2');
    if (!one_break)
        buffer_append_byte(yaml, text[length - 1] == '\n' ? '+' : '-');
    buffer_append_byte(yaml, '\n');
    while (text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));

        if (!line_end)
            line_end = end;
        if (line_end > text)
            write_indent(yaml, column + 2);
        buffer_append(yaml, text, (size_t)(line_end - text));
        buffer_append_byte(yaml, '\n');
        text = line_end + 1;
    }
}

static void write_string(struct writer *writer, size_t column)
{
    const char *text = writer->reader.value;
    size_t length = writer->reader.value_length;

    if (is_literal(text, length)) {
        write_literal(writer->yaml, text, length, column);
        return;
    }
    if (is_plain(text, length))
        buffer_append(writer->yaml, text, length);
    else
        write_quoted(writer->yaml, text, length);
    buffer_append_byte(writer->yaml, '\n');
}

/* "KEY:", or "? KEY" and ":" on the next line. */
static void write_key(struct writer *writer, size_t column)
{
    const char *text = writer->reader.value;
    size_t length = writer->reader.value_length;
    bool plain = is_plain(text, length);
    bool simple =
        length <= (plain ? SIMPLE_KEY_MAX : SIMPLE_KEY_MAX / 4); /* an escape is as long */

    if (!simple)
        buffer_append_string(writer->yaml, "? ");
    if (plain)
        buffer_append(writer->yaml, text, length);
    else
        write_quoted(writer->yaml, text, length);
    if (!simple) {
        buffer_append_byte(writer->yaml, '\n');
        write_indent(writer->yaml, column);
    }
    buffer_append_byte(writer->yaml, ':');
}

static struct error *write_object(struct writer *writer, size_t column, enum place place)
{
    enum json_event event;
    struct error *error = json_reader_next(&writer->reader, &event);
    size_t inner = place == AT_ROOT ? 0 : column + 2;
    bool inlined = place != AFTER_KEY;

    if (!error && event == JSON_EVENT_OBJECT_END) {
        buffer_append_string(writer->yaml, place == AFTER_KEY ? " {}\n" : "{}\n");
        return NULL;
    }
    if (!inlined)
        buffer_append_byte(writer->yaml, '\n');
    for (; !error && event == JSON_EVENT_KEY; inlined = false) {
        if (!inlined)
            write_indent(writer->yaml, inner);
        write_key(writer, inner);
        error = json_reader_next(&writer->reader, &event);
        if (!error)
            error = write_value(writer, event, inner, AFTER_KEY);
        if (!error)
            error = json_reader_next(&writer->reader, &event);
    }
    return error;
}

/* Items stand in the column of the key, as kubectl writes them. */
static struct error *write_array(struct writer *writer, size_t column, enum place place)
{
    enum json_event event;
    struct error *error = json_reader_next(&writer->reader, &event);
    size_t inner = place == AFTER_DASH ? column + 2 : column;
    bool inlined = place != AFTER_KEY;

    if (!error && event == JSON_EVENT_ARRAY_END) {
        buffer_append_string(writer->yaml, place == AFTER_KEY ? " []\n" : "[]\n");
        return NULL;
    }
    if (!inlined)
        buffer_append_byte(writer->yaml, '\n');
    for (; !error && event != JSON_EVENT_ARRAY_END; inlined = false) {
        if (!inlined)
            write_indent(writer->yaml, inner);
        buffer_append_string(writer->yaml, "- ");
        error = write_value(writer, event, inner, AFTER_DASH);
        if (!error)
            error = json_reader_next(&writer->reader, &event);
    }
    return error;
}

static struct error *write_number(struct writer *writer)
{
    const char *text = writer->reader.value;
    size_t length = writer->reader.value_length;
    enum yaml_type type = yaml_resolve(text, length, NULL);

    if (type != YAML_TYPE_INTEGER && type != YAML_TYPE_FLOAT)
        return error_new(ERROR_CONFIGURATION, "InvalidYAML",
                         "number %.*s is beyond what YAML readers hold; pass it as a string",
                         length > 100 ? 100 : (int)length, text);
    buffer_append(writer->yaml, text, length);
    buffer_append_byte(writer->yaml, '\n');
    return NULL;
}

static struct error *write_value(struct writer *writer, enum json_event event, size_t column,
                                 enum place place)
{
    if (writer->yaml->length > writer->end_max)
        return error_new(ERROR_CONFIGURATION, "InvalidYAML",
                         "nested so deep that its indentation alone would be huge");
    if (event == JSON_EVENT_OBJECT)
        return write_object(writer, column, place);
    if (event == JSON_EVENT_ARRAY)
        return write_array(writer, column, place);
    if (place == AFTER_KEY)
        buffer_append_byte(writer->yaml, ' ');
    switch (event) {
    case JSON_EVENT_STRING:
        write_string(writer, column);
        return NULL;
    case JSON_EVENT_NUMBER:
        return write_number(writer);
    case JSON_EVENT_TRUE:
        buffer_append_string(writer->yaml, "true\n");
        return NULL;
    case JSON_EVENT_FALSE:
        buffer_append_string(writer->yaml, "false\n");
        return NULL;
    default:
        buffer_append_string(writer->yaml, "null\n");
        return NULL;
    }
}

struct error *yaml_from_json(const char *json, size_t length, struct buffer *yaml)
{
    struct writer writer = {.reader = JSON_READER_INIT(json, length, YAML_DEPTH_MAX),
                            .yaml = yaml,
                            .end_max = yaml->length + OUTPUT_BYTES_MIN};
    enum json_event event;
    struct error *error;
    size_t scaled;

    if (!__builtin_mul_overflow(length, OUTPUT_FACTOR, &scaled) && scaled > OUTPUT_BYTES_MIN)
        writer.end_max = yaml->length + scaled;
    error = json_reader_next(&writer.reader, &event);
    if (!error)
        error = write_value(&writer, event, 0, AT_ROOT);
    if (!error)
        error = json_reader_next(&writer.reader, &event);
    json_reader_free(&writer.reader);
    return error ? error : buffer_error(yaml);
}
