/*
 * A growable run of bytes with a sticky failure: appends after a failed allocation (or past a
 * limit) do nothing, so a writer checks once, at the end, with buffer_error or buffer_steal.
 */
#ifndef SLUICE_BASE_BUFFER_H
#define SLUICE_BASE_BUFFER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct buffer {
    char *bytes;     /* NULL while nothing was appended; else `bytes[length]` is always NUL */
    size_t length;   /* without the NUL */
    size_t capacity; /* allocated bytes */
    bool failed;     /* an allocation failed; everything since is missing */
};

#define BUFFER_INIT       \
    {                     \
        NULL, 0, 0, false \
    }

void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
void buffer_append_string(struct buffer *buffer, const char *string);
void buffer_append_byte(struct buffer *buffer, char byte);
void buffer_appendf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_appendf_v(struct buffer *buffer, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

/* Room for `length` more bytes, or NULL; buffer_commit says how many were written there. */
char *buffer_reserve(struct buffer *buffer, size_t length);
void buffer_commit(struct buffer *buffer, size_t length);

/* Removes `length` bytes (at most all) from the front. */
void buffer_consume(struct buffer *buffer, size_t length);

/* The content as a C string; "" when empty. Valid until the next change. */
const char *buffer_string(const struct buffer *buffer);

/* Out of memory if anything failed, else NULL. */
struct error *buffer_error(const struct buffer *buffer) __attribute__((warn_unused_result));

/* The bytes, NUL-terminated and owned by the caller (free); NULL if anything failed. Leaves the
 * buffer empty and usable. */
char *buffer_steal(struct buffer *buffer) __attribute__((warn_unused_result));

/* Frees the bytes; the struct itself belongs to the caller and is empty again. */
void buffer_free(struct buffer *buffer);

static inline __attribute__((unused)) void cleanup_buffer_(struct buffer *buffer)
{
    buffer_free(buffer);
}

/* printf into fresh memory (free); NULL without memory. */
char *format_string(const char *format, ...)
    __attribute__((format(printf, 1, 2), warn_unused_result));

#endif
