/*
 * A line is put together in a buffer and goes out in one write, so that lines of several threads
 * never mix and no lock is needed. Bytes that are no UTF-8, and control bytes, never reach a
 * terminal or a parser.
 */
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/utf8.h"

#define CONTROLLER "externalsource"

struct log {
    int descriptor;
    enum log_level level;
    enum log_encoding encoding;
    const struct clock *clock;
};

static const char *const level_names[] = {"debug", "info", "error"};

struct log *log_new(int descriptor, enum log_level level, enum log_encoding encoding,
                    const struct clock *clock)
{
    struct log *log = calloc(1, sizeof(*log));

    if (!log)
        return NULL;
    log->descriptor = descriptor;
    log->level = level;
    log->encoding = encoding;
    log->clock = clock;
    return log;
}

void log_free(struct log *log)
{
    free(log);
}

bool log_enabled(const struct log *log, enum log_level level)
{
    return log && level >= log->level;
}

/* One character, escaped as JSON would where a line could not bear it plainly. `quoted`: within
 * quotes. */
static void append_character(struct buffer *line, uint32_t code_point, const char *bytes,
                             size_t count, bool quoted)
{
    if (quoted && (code_point == '"' || code_point == '\\'))
        buffer_append_byte(line, '\\');
    if (code_point == '\n')
        buffer_append_string(line, "\\n");
    else if (code_point == '\t')
        buffer_append_string(line, "\\t");
    else if (code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0))
        buffer_appendf(line, "\\u%04x", (unsigned)code_point);
    else
        buffer_append(line, bytes, count);
}

static void append_text(struct buffer *line, const char *text, bool quoted)
{
    size_t length = strlen(text);

    while (length > 0) {
        uint32_t code_point;
        size_t count = utf8_decode(text, length, &code_point);

        if (count == 0) {
            buffer_append_string(line, "\xef\xbf\xbd"); /* U+FFFD for each byte that is no UTF-8 */
            count = 1;
        } else {
            append_character(line, code_point, text, count, quoted);
        }
        text += count;
        length -= count;
    }
}

/* `,"key":"value"` or ` key=value`; nothing for a NULL value. */
static void append_pair(const struct log *log, struct buffer *line, const char *key,
                        const char *value)
{
    bool json = log->encoding == LOG_JSON;

    if (!value)
        return;
    buffer_append_string(line, json ? ",\"" : " ");
    append_text(line, key, json);
    buffer_append_string(line, json ? "\":\"" : "=");
    append_text(line, value, json);
    if (json)
        buffer_append_byte(line, '"');
}

static void append_timestamp(struct buffer *line, int64_t wall_ms)
{
    char text[TIME_TEXT_SIZE];

    time_format(wall_ms, text);
    text[strlen(text) - 1] = '\0'; /* the Z, which comes after the fraction */
    buffer_appendf(line, "%s.%03dZ", text, (int)(((wall_ms % 1000) + 1000) % 1000));
}

static void append_json_head(const struct log *log, struct buffer *line, enum log_level level,
                             const struct log_subject *subject, const char *message)
{
    buffer_appendf(line, "{\"level\":\"%s\",\"ts\":\"", level_names[level]);
    append_timestamp(line, clock_wall_ms(log->clock));
    buffer_append_byte(line, '"');
    append_pair(log, line, "msg", message);
    append_pair(log, line, "controller", CONTROLLER);
    if (!subject)
        return;
    append_pair(log, line, "namespace", subject->namespace_name);
    append_pair(log, line, "name", subject->name);
    append_pair(log, line, "reconcileID", subject->reconcile_id);
}

static void append_console_head(const struct log *log, struct buffer *line, enum log_level level,
                                const struct log_subject *subject, const char *message)
{
    static const char *const names[] = {"DEBUG", "INFO ", "ERROR"};

    append_timestamp(line, clock_wall_ms(log->clock));
    buffer_appendf(line, " %s ", names[level]);
    append_text(line, message, false);
    if (!subject || !subject->namespace_name || !subject->name)
        return;
    buffer_append_byte(line, ' ');
    append_text(line, subject->namespace_name, false);
    buffer_append_byte(line, '/');
    append_text(line, subject->name, false);
}

static void write_line(const struct log *log, enum log_level level,
                       const struct log_subject *subject, const struct error *error,
                       const char *message, va_list pairs)
{
    _cleanup_(buffer) struct buffer line = BUFFER_INIT;
    const char *key;

    if (log->encoding == LOG_JSON)
        append_json_head(log, &line, level, subject, message);
    else
        append_console_head(log, &line, level, subject, message);
    while ((key = va_arg(pairs, const char *)))
        append_pair(log, &line, key, va_arg(pairs, const char *));
    append_pair(log, &line, "error", error ? error->message : NULL);
    append_pair(log, &line, "reason", error ? error->reason : NULL);
    buffer_append_string(&line, log->encoding == LOG_JSON ? "}\n" : "\n");
    if (!line.failed)
        file_write_all(log->descriptor, line.bytes, line.length);
}

void log_debug(struct log *log, const struct log_subject *subject, const char *message, ...)
{
    va_list pairs;

    if (!log_enabled(log, LOG_LEVEL_DEBUG))
        return;
    va_start(pairs, message);
    write_line(log, LOG_LEVEL_DEBUG, subject, NULL, message, pairs);
    va_end(pairs);
}

void log_info(struct log *log, const struct log_subject *subject, const char *message, ...)
{
    va_list pairs;

    if (!log_enabled(log, LOG_LEVEL_INFO))
        return;
    va_start(pairs, message);
    write_line(log, LOG_LEVEL_INFO, subject, NULL, message, pairs);
    va_end(pairs);
}

void log_error(struct log *log, const struct log_subject *subject, const struct error *error,
               const char *message, ...)
{
    va_list pairs;

    if (!log_enabled(log, LOG_LEVEL_ERROR))
        return;
    va_start(pairs, message);
    write_line(log, LOG_LEVEL_ERROR, subject, error, message, pairs);
    va_end(pairs);
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_encoding_parse(const char *text, enum log_encoding *encoding)
{
    *encoding = strcmp(text, "json") == 0 ? LOG_JSON : LOG_CONSOLE;
    return *encoding == LOG_JSON || strcmp(text, "console") == 0;
}
