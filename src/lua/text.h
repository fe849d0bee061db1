/* Text of untrusted origin made fit for conditions, events, logs and terminals. */
#ifndef SLUICE_LUA_TEXT_H
#define SLUICE_LUA_TEXT_H

#include <stddef.h>

#include "base/buffer.h"

#define TEXT_MESSAGE_MAX ((size_t)1024)

/* Appends `text` as valid UTF-8 without control characters, which become \n, \t, \r or \xNN as do
 * bytes that are no UTF-8. At most `max` bytes are appended; what is cut ends in "…" (max is at
 * least 3). */
void text_clean(struct buffer *clean, const char *text, size_t length, size_t max);

#endif
