/*
 * JSON (RFC 8259) as text, read event by event: for readers that must keep what a json_t cannot
 * hold, such as numbers exactly as they are written. Strict, and with bounded memory: a byte a
 * level and the longest string.
 *
 *     struct json_reader reader = JSON_READER_INIT(text, length, depth_max);
 *     while (!(error = json_reader_next(&reader, &event)) && event != JSON_EVENT_END) …
 *     json_reader_free(&reader);
 */
#ifndef SLUICE_BASE_JSON_TEXT_H
#define SLUICE_BASE_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

enum json_event {
    JSON_EVENT_OBJECT, /* begins; then KEY and a value for each member */
    JSON_EVENT_OBJECT_END,
    JSON_EVENT_ARRAY,
    JSON_EVENT_ARRAY_END,
    JSON_EVENT_KEY,    /* the value: decoded text */
    JSON_EVENT_STRING, /* the value: decoded text */
    JSON_EVENT_NUMBER, /* the value: as it stands */
    JSON_EVENT_TRUE,
    JSON_EVENT_FALSE,
    JSON_EVENT_NULL,
    JSON_EVENT_END, /* of the text, after exactly one value */
};

struct json_reader {
    const char *text;
    size_t length;
    size_t position;
    size_t depth_max;
    const char
        *value; /* of KEY, STRING and NUMBER; valid until the next call; not NUL-terminated */
    size_t value_length;
    size_t value_position;  /* offset in `text` where the last event's token begins */
    struct buffer string;   /* a string with escapes, decoded */
    struct buffer nesting;  /* '{' or '[' for each open container */
    unsigned char expected; /* what may come next: enum json_expected in json_text.c */
};

#define JSON_READER_INIT(text_, length_, depth_max_)                    \
    {                                                                   \
        .text = (text_), .length = (length_), .depth_max = (depth_max_) \
    }

/* The next event. Anything that is not JSON, bytes that are no UTF-8, escapes of lone surrogates
 * (which no UTF-8 text can hold) and nesting past depth_max: ERROR_CONFIGURATION, reason
 * InvalidJSON, "line L column C: …". Duplicate keys are for the caller to judge. After an error,
 * only free it. */
struct error *json_reader_next(struct json_reader *reader, enum json_event *event)
    __attribute__((warn_unused_result));

/* An InvalidJSON error at the last event's token, in the same form. */
struct error *json_reader_error(const struct json_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull, warn_unused_result));

void json_reader_free(struct json_reader *reader);

static inline __attribute__((unused)) void cleanup_json_reader_(struct json_reader *reader)
{
    json_reader_free(reader);
}

/* Appends `text` (valid UTF-8) as a JSON string with its quotes; escapes only what JSON requires.
 */
void json_text_string(struct buffer *buffer, const char *text, size_t length);

#endif
