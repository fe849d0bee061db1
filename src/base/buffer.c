/* See buffer.h. Capacity doubles; one byte is always kept for the NUL. */
#include "base/buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_CAPACITY_MIN 64

static bool make_room(struct buffer *buffer, size_t length)
{
    size_t needed;
    size_t capacity = buffer->capacity ? buffer->capacity : BUFFER_CAPACITY_MIN;

    if (buffer->failed)
        return false;
    if (__builtin_add_overflow(buffer->length, length, &needed) ||
        __builtin_add_overflow(needed, 1, &needed) || needed > SIZE_MAX / 2) {
        buffer->failed = true;
        return false;
    }
    if (needed <= buffer->capacity)
        return true;
    while (capacity < needed)
        capacity *= 2;
    char *bytes = realloc(buffer->bytes, capacity);
    if (!bytes) {
        buffer->failed = true;
        return false;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    if (!make_room(buffer, length))
        return;
    if (length > 0)
        memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer_commit(buffer, length);
}

void buffer_append_string(struct buffer *buffer, const char *string)
{
    buffer_append(buffer, string, strlen(string));
}

void buffer_append_byte(struct buffer *buffer, char byte)
{
    buffer_append(buffer, &byte, 1);
}

void buffer_appendf_v(struct buffer *buffer, const char *format, va_list arguments)
{
    va_list again;

    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        buffer->failed = true;
    if (length < 0 || !make_room(buffer, (size_t)length))
        return;
    vsnprintf(buffer->bytes + buffer->length, (size_t)length + 1, format, arguments);
    buffer_commit(buffer, (size_t)length);
}

void buffer_appendf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    buffer_appendf_v(buffer, format, arguments);
    va_end(arguments);
}

char *buffer_reserve(struct buffer *buffer, size_t length)
{
    return make_room(buffer, length) ? buffer->bytes + buffer->length : NULL;
}

void buffer_commit(struct buffer *buffer, size_t length)
{
    buffer->length += length;
    buffer->bytes[buffer->length] = '\0';
}

void buffer_consume(struct buffer *buffer, size_t length)
{
    if (length > buffer->length)
        length = buffer->length;
    if (length == 0)
        return;
    buffer->length -= length;
    memmove(buffer->bytes, buffer->bytes + length, buffer->length);
    buffer->bytes[buffer->length] = '\0';
}

const char *buffer_string(const struct buffer *buffer)
{
    return buffer->bytes ? buffer->bytes : "";
}

struct error *buffer_error(const struct buffer *buffer)
{
    return buffer->failed ? error_out_of_memory() : NULL;
}

char *buffer_steal(struct buffer *buffer)
{
    if (!buffer->bytes)
        make_room(buffer, 0);
    char *bytes = buffer->failed ? NULL : buffer->bytes;
    size_t length = buffer->length;

    if (!bytes)
        free(buffer->bytes);
    *buffer = (struct buffer)BUFFER_INIT;
    if (!bytes)
        return NULL;
    bytes[length] = '\0';
    /* What is kept for long should not keep the room that it grew in. */
    char *fitting = realloc(bytes, length + 1);
    return fitting ? fitting : bytes;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer)BUFFER_INIT;
}

char *format_string(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    return text;
}
