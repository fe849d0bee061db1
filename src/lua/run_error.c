/*
 * Composing a run's message: who, which line, what, and where that line stands in the manifest. The
 * script's own text is cut, never who and where.
 */
#include "lua/run_error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "lua/text.h"

#define LABEL_MAX ((size_t)256)
#define TEXT_MIN ((size_t)64)

static void append_who(struct buffer *message, const struct run_subject *subject, uint64_t line)
{
    const char *name = subject->label        ? subject->label
                       : subject->chunk_name ? subject->chunk_name
                                             : "script";

    buffer_append_string(message, subject->label ? "hook '" : "");
    text_clean(message, name, strlen(name), LABEL_MAX);
    buffer_append_string(message, subject->label ? "'" : "");
    if (subject->module) {
        buffer_append_string(message, " module '");
        text_clean(message, subject->module, strlen(subject->module), LABEL_MAX);
        buffer_append_string(message, "'");
    }
    if (line > 0)
        buffer_appendf(message, " line %" PRIu64, line);
    buffer_append_string(message, ": ");
}

/* " (FILE:LINE)" for line `line` of a script that begins at `place`; nothing if that names no line.
 */
static void append_place(struct buffer *message, const char *place, uint64_t line)
{
    const char *colon = place && line > 0 ? strrchr(place, ':') : NULL;
    char *end = NULL;
    unsigned long long first;

    if (!colon)
        return;
    errno = 0;
    first = strtoull(colon + 1, &end, 10);
    if (errno != 0 || end == colon + 1 || *end != '\0')
        return;
    buffer_append_string(message, " (");
    text_clean(message, place, (size_t)(colon - place), LABEL_MAX);
    buffer_appendf(message, ":%llu)", first + line - 1);
}

struct error *run_error(const struct run_subject *subject, const char *reason, uint64_t line,
                        const char *text, size_t length)
{
    _cleanup_(buffer) struct buffer message = BUFFER_INIT;
    _cleanup_(buffer) struct buffer place = BUFFER_INIT;
    size_t used;

    append_who(&message, subject, line);
    append_place(&place, subject->place, line);
    used = message.length + place.length;
    text_clean(&message, text, length,
               used + TEXT_MIN < TEXT_MESSAGE_MAX ? TEXT_MESSAGE_MAX - used : TEXT_MIN);
    buffer_append(&message, buffer_string(&place), place.length);
    if (message.failed || place.failed)
        return error_out_of_memory();
    return error_new(ERROR_HOOK, reason, "%s", buffer_string(&message));
}

struct error *run_errorf(const struct run_subject *subject, const char *reason, const char *format,
                         ...)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    va_list arguments;

    va_start(arguments, format);
    buffer_appendf_v(&text, format, arguments);
    va_end(arguments);
    return run_error(subject, reason, 0, buffer_string(&text), text.length);
}

struct error *run_error_output_limit(const struct run_subject *subject, uint64_t limit)
{
    char text[SIZE_TEXT_SIZE];

    size_format(limit, text);
    return run_errorf(subject, "OutputLimit", "gave more than its limit of %s", text);
}

void size_format(uint64_t bytes, char text[SIZE_TEXT_SIZE])
{
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti"};
    size_t unit = 0;

    while (bytes > 0 && bytes % 1024 == 0 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, SIZE_TEXT_SIZE, "%" PRIu64 "%s", bytes, units[unit]);
}
