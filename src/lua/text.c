/* One pass over the text, a character at a time: each is kept whole or written as an escape. */
#include "lua/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define ELLIPSIS "\xe2\x80\xa6"
#define ELLIPSIS_LENGTH ((size_t)3)

/* Controls, and the marks that let text on a terminal read in another order than it is written. */
static bool harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* Writes the escape of one byte; returns its length. */
static size_t escape(unsigned char byte, char out[5])
{
    const char *known = byte == '\n' ? "\\n" : byte == '\t' ? "\\t" : byte == '\r' ? "\\r" : NULL;

    if (known)
        memcpy(out, known, 3);
    else
        snprintf(out, 5, "\\x%02x", byte);
    return strlen(out);
}

void text_clean(struct buffer *clean, const char *text, size_t length, size_t max)
{
    size_t used = 0;
    size_t cut = clean->length; /* where the ellipsis may go */

    for (size_t i = 0; i < length;) {
        uint32_t code = 0;
        size_t size = utf8_decode(text + i, length - i, &code);
        char escaped[5];
        bool keep = size > 0 && !harmful(code);
        size_t written = keep ? size : escape((unsigned char)text[i], escaped);

        if (used + written > max) {
            clean->length = cut;
            buffer_append(clean, ELLIPSIS, ELLIPSIS_LENGTH);
            return;
        }
        buffer_append(clean, keep ? text + i : escaped, written);
        used += written;
        if (used + ELLIPSIS_LENGTH <= max)
            cut = clean->length;
        i += keep ? size : 1;
    }
}
