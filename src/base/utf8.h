/* UTF-8 (RFC 3629), strict: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef SLUICE_BASE_UTF8_H
#define SLUICE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* The bytes of the character that `text` begins with and its code point; 0 if there is no valid
 * one. */
size_t utf8_decode(const char *text, size_t length, uint32_t *code_point);

/* Appends a code point, which must not be a surrogate. */
void utf8_append(struct buffer *buffer, uint32_t code_point);

/* The length of the valid prefix; `length` if all of `text` is valid. */
size_t utf8_valid_prefix(const char *text, size_t length);

/* The bytes of valid text that fit into `limit` without cutting a character. */
size_t utf8_clip(const char *text, size_t length, size_t limit);

/* Line and column (both from 1; columns in characters) of the byte at `offset`. */
void utf8_position(const char *text, size_t offset, size_t *line, size_t *column);

#endif
