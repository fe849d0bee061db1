/*
 * The JSON reader. Its one idea: the grammar is a small set of "what may come next", so that
 * nesting costs a byte a level instead of a C stack frame, and a hostile document cannot overflow
 * anything.
 */
#include "base/json_text.h"

#include <string.h>

#include "base/utf8.h"

enum json_expected {
    EXPECT_VALUE, /* zero: where a reader begins */
    EXPECT_VALUE_OR_END,
    EXPECT_KEY,
    EXPECT_KEY_OR_END,
    EXPECT_COMMA_OR_END,
    EXPECT_NOTHING,
};

static struct error *__attribute__((format(printf, 3, 0)))
error_at(const struct json_reader *reader, size_t position, const char *format, va_list arguments)
{
    struct error *error = error_new_v(ERROR_CONFIGURATION, "InvalidJSON", format, arguments);
    size_t line, column;

    utf8_position(reader->text, position, &line, &column);
    return error_wrap(error, "line %zu column %zu", line, column);
}

struct error *json_reader_error(const struct json_reader *reader, const char *format, ...)
{
    va_list arguments;
    struct error *error;

    va_start(arguments, format);
    error = error_at(reader, reader->value_position, format, arguments);
    va_end(arguments);
    return error;
}

static struct error *__attribute__((format(printf, 2, 3)))
fault(const struct json_reader *reader, const char *format, ...)
{
    va_list arguments;
    struct error *error;

    va_start(arguments, format);
    error = error_at(reader, reader->position, format, arguments);
    va_end(arguments);
    return error;
}

/* What stands at the position, for people. */
static struct error *unexpected(const struct json_reader *reader, const char *expected)
{
    const char *at = reader->text + reader->position;
    uint32_t code_point;
    size_t count;

    if (reader->position >= reader->length)
        return fault(reader, "expected %s, found the end of the text", expected);
    count = utf8_decode(at, reader->length - reader->position, &code_point);
    if (count == 0)
        return fault(reader, "expected %s, found byte 0x%02x, which is not UTF-8", expected,
                     (unsigned)(unsigned char)*at);
    if (code_point == 0xFEFF)
        return fault(reader, "expected %s, found a byte order mark", expected);
    if (code_point < 0x20 || code_point == 0x7F)
        return fault(reader, "expected %s, found control character U+%04X", expected,
                     (unsigned)code_point);
    return fault(reader, "expected %s, found '%.*s'", expected, (int)count, at);
}

static void skip_space(struct json_reader *reader)
{
    while (reader->position < reader->length) {
        char byte = reader->text[reader->position];

        if (byte != ' ' && byte != '\n' && byte != '\t' && byte != '\r')
            return;
        reader->position++;
    }
}

static int peek(const struct json_reader *reader)
{
    return reader->position < reader->length ? (unsigned char)reader->text[reader->position] : -1;
}

/* The four hex digits after "\u"; false if they are not there. */
static bool read_hex4(struct json_reader *reader, uint32_t *value)
{
    *value = 0;
    if (reader->length - reader->position < 4)
        return false;
    for (size_t i = 0; i < 4; i++) {
        char digit = reader->text[reader->position + i];

        *value <<= 4;
        if (digit >= '0' && digit <= '9')
            *value |= (uint32_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            *value |= (uint32_t)(digit - 'a' + 10);
        else if (digit >= 'A' && digit <= 'F')
            *value |= (uint32_t)(digit - 'A' + 10);
        else
            return false;
    }
    reader->position += 4;
    return true;
}

static struct error *read_unicode_escape(struct json_reader *reader, size_t escape)
{
    uint32_t high, low;

    if (!read_hex4(reader, &high)) {
        reader->position = escape;
        return fault(reader, "\\u needs four hexadecimal digits");
    }
    if (high >= 0xD800 && high <= 0xDBFF && reader->length - reader->position >= 6 &&
        memcmp(reader->text + reader->position, "\\u", 2) == 0) {
        reader->position += 2;
        if (read_hex4(reader, &low) && low >= 0xDC00 && low <= 0xDFFF) {
            utf8_append(&reader->string, 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
            return NULL;
        }
    }
    if (high >= 0xD800 && high <= 0xDFFF) {
        reader->position = escape;
        return fault(reader, "\\u%04x is half of a surrogate pair, which no text can hold",
                     (unsigned)high);
    }
    utf8_append(&reader->string, high);
    return NULL;
}

/* The position is at the backslash. */
static struct error *read_escape(struct json_reader *reader)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    size_t escape = reader->position++;
    int letter = peek(reader);
    const char *found = letter > 0 ? strchr(letters, letter) : NULL;

    if (letter == 'u') {
        reader->position++;
        return read_unicode_escape(reader, escape);
    }
    if (!found) {
        reader->position = escape;
        return fault(reader, "a backslash must be followed by one of \" \\ / b f n r t u");
    }
    reader->position++;
    buffer_append_byte(&reader->string, meanings[found - letters]);
    return NULL;
}

/* Moves over characters that stand for themselves. */
static struct error *skip_plain(struct json_reader *reader)
{
    for (int byte; (byte = peek(reader)) != '"' && byte != '\\';) {
        uint32_t code_point;
        size_t count;

        if (byte < 0)
            return fault(reader, "a string is not closed");
        if (byte < 0x20)
            return fault(reader, "a string holds control character U+%04X; write \\u%04x",
                         (unsigned)byte, (unsigned)byte);
        count = byte < 0x80 ? 1
                            : utf8_decode(reader->text + reader->position,
                                          reader->length - reader->position, &code_point);
        if (count == 0)
            return fault(reader, "byte 0x%02x is not UTF-8", (unsigned)byte);
        reader->position += count;
    }
    return NULL;
}

/* The position is at the opening quote. Without escapes the value is a part of the text itself. */
static struct error *read_string(struct json_reader *reader)
{
    size_t begin = ++reader->position;
    struct error *error = skip_plain(reader);

    if (error)
        return error;
    if (peek(reader) == '"') {
        reader->value = reader->text + begin;
        reader->value_length = reader->position++ - begin;
        return NULL;
    }
    buffer_consume(&reader->string, reader->string.length);
    for (;;) {
        buffer_append(&reader->string, reader->text + begin, reader->position - begin);
        if (peek(reader) == '"')
            break;
        error = read_escape(reader);
        begin = reader->position;
        if (!error)
            error = skip_plain(reader);
        if (error)
            return error;
    }
    reader->position++;
    reader->value = buffer_string(&reader->string);
    reader->value_length = reader->string.length;
    return buffer_error(&reader->string);
}

static size_t skip_digits(struct json_reader *reader)
{
    size_t begin = reader->position;

    while (peek(reader) >= '0' && peek(reader) <= '9')
        reader->position++;
    return reader->position - begin;
}

static struct error *read_number(struct json_reader *reader)
{
    size_t begin = reader->position;

    if (peek(reader) == '-')
        reader->position++;
    if (peek(reader) == '0') {
        reader->position++;
        if (peek(reader) >= '0' && peek(reader) <= '9')
            return fault(reader, "a number must not begin with 0");
    } else if (skip_digits(reader) == 0) {
        return unexpected(reader, "a digit");
    }
    if (peek(reader) == '.') {
        reader->position++;
        if (skip_digits(reader) == 0)
            return unexpected(reader, "a digit after the decimal point");
    }
    if (peek(reader) == 'e' || peek(reader) == 'E') {
        reader->position++;
        if (peek(reader) == '+' || peek(reader) == '-')
            reader->position++;
        if (skip_digits(reader) == 0)
            return unexpected(reader, "a digit of the exponent");
    }
    reader->value = reader->text + begin;
    reader->value_length = reader->position - begin;
    return NULL;
}

static struct error *read_word(struct json_reader *reader, enum json_event *event)
{
    static const struct {
        const char *word;
        size_t length;
        enum json_event event;
    } words[] = {
        {"true", 4, JSON_EVENT_TRUE}, {"false", 5, JSON_EVENT_FALSE}, {"null", 4, JSON_EVENT_NULL}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (reader->length - reader->position < words[i].length ||
            memcmp(reader->text + reader->position, words[i].word, words[i].length) != 0)
            continue;
        reader->position += words[i].length;
        *event = words[i].event;
        return NULL;
    }
    return unexpected(reader, "a value");
}

static void value_ended(struct json_reader *reader)
{
    reader->expected = reader->nesting.length > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
}

static struct error *open_container(struct json_reader *reader, char bracket)
{
    if (reader->nesting.length >= reader->depth_max)
        return fault(reader, "nested deeper than %zu levels", reader->depth_max);
    reader->position++;
    buffer_append_byte(&reader->nesting, bracket);
    reader->expected = bracket == '{' ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    return buffer_error(&reader->nesting);
}

static void close_container(struct json_reader *reader, enum json_event *event)
{
    char bracket = reader->nesting.bytes[--reader->nesting.length];

    reader->position++;
    *event = bracket == '{' ? JSON_EVENT_OBJECT_END : JSON_EVENT_ARRAY_END;
    value_ended(reader);
}

static struct error *read_value(struct json_reader *reader, enum json_event *event)
{
    struct error *error;
    int byte = peek(reader);

    if (byte == '{' || byte == '[') {
        *event = byte == '{' ? JSON_EVENT_OBJECT : JSON_EVENT_ARRAY;
        return open_container(reader, (char)byte);
    }
    if (byte == '"') {
        *event = JSON_EVENT_STRING;
        error = read_string(reader);
    } else if (byte == '-' || (byte >= '0' && byte <= '9')) {
        *event = JSON_EVENT_NUMBER;
        error = read_number(reader);
    } else {
        error = read_word(reader, event);
    }
    value_ended(reader);
    return error;
}

static struct error *read_key(struct json_reader *reader, enum json_event *event)
{
    struct error *error;

    if (peek(reader) != '"')
        return unexpected(reader, "a key in double quotes");
    error = read_string(reader);
    if (error)
        return error;
    skip_space(reader);
    if (peek(reader) != ':')
        return unexpected(reader, "':' after the key");
    reader->position++;
    reader->expected = EXPECT_VALUE;
    *event = JSON_EVENT_KEY;
    return NULL;
}

/* After a value inside a container: its end, or a comma and what must follow it. */
static struct error *read_comma(struct json_reader *reader, bool *closed, enum json_event *event)
{
    bool object = reader->nesting.bytes[reader->nesting.length - 1] == '{';

    *closed = peek(reader) == (object ? '}' : ']');
    if (*closed) {
        close_container(reader, event);
        return NULL;
    }
    if (peek(reader) != ',')
        return unexpected(reader, object ? "',' or '}'" : "',' or ']'");
    reader->position++;
    reader->expected = object ? EXPECT_KEY : EXPECT_VALUE;
    skip_space(reader);
    reader->value_position = reader->position;
    return NULL;
}

struct error *json_reader_next(struct json_reader *reader, enum json_event *event)
{
    skip_space(reader);
    reader->value_position = reader->position;
    if (reader->expected == EXPECT_COMMA_OR_END) {
        bool closed;
        struct error *error = read_comma(reader, &closed, event);

        if (error || closed)
            return error;
    }
    switch ((enum json_expected)reader->expected) {
    case EXPECT_NOTHING:
        *event = JSON_EVENT_END;
        return reader->position < reader->length ? unexpected(reader, "the end of the text") : NULL;
    case EXPECT_KEY_OR_END:
        if (peek(reader) != '}')
            return read_key(reader, event);
        close_container(reader, event);
        return NULL;
    case EXPECT_KEY:
        return read_key(reader, event);
    case EXPECT_VALUE_OR_END:
        if (peek(reader) != ']')
            return read_value(reader, event);
        close_container(reader, event);
        return NULL;
    default:
        return read_value(reader, event);
    }
}

void json_reader_free(struct json_reader *reader)
{
    buffer_free(&reader->string);
    buffer_free(&reader->nesting);
}

void json_text_string(struct buffer *buffer, const char *text, size_t length)
{
    static const char letters[] = "btn?fr"; /* of \b to \r; \v has none */
    size_t begin = 0;

    buffer_append_byte(buffer, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];

        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        buffer_append(buffer, text + begin, i - begin);
        begin = i + 1;
        if (byte >= '\b' && byte <= '\r' && byte != '\v')
            buffer_appendf(buffer, "\\%c", letters[byte - '\b']);
        else if (byte < 0x20)
            buffer_appendf(buffer, "\\u%04x", (unsigned)byte);
        else
            buffer_appendf(buffer, "\\%c", byte);
    }
    buffer_append(buffer, text + begin, length - begin);
    buffer_append_byte(buffer, '"');
}
