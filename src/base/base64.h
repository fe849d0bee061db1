/* Base64 (RFC 4648, section 4), strict: what Kubernetes puts into a Secret's data. */
#ifndef SLUICE_BASE_BASE64_H
#define SLUICE_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

/* Appends the encoding, with padding and without line breaks. */
void base64_encode(struct buffer *text, const void *bytes, size_t length);

/* Appends the decoded bytes. White space between characters is skipped, as Kubernetes does;
 * anything else that is not valid, padding included, gives false (and the buffer holds a part). */
bool base64_decode(struct buffer *bytes, const char *text, size_t length);

#endif
