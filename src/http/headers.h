/* Headers: what may be sent, and what came back, within bounds. Internal to the HTTP client. */
#ifndef SLUICE_HTTP_HEADERS_H
#define SLUICE_HTTP_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define HEADERS_COUNT_MAX 256
#define HEADERS_SIZE_MAX 65536 /* bytes of names and values together */

struct http_header;

/* A list that owns its names and values. */
struct headers {
    struct http_header *items;
    size_t count;
    size_t capacity;
    size_t size; /* bytes of names and values, for the bound */
};

/* Whether the header may be sent: a name is a token; a value has no control characters but tabs;
 * framing belongs to the client. ERROR_CONFIGURATION, InvalidHeader, naming the header and never
 * its value. */
struct error *headers_check(const struct http_header *header) __attribute__((warn_unused_result));

/* Appends a copy. */
struct error *headers_add(struct headers *headers, const struct http_header *header)
    __attribute__((warn_unused_result));

/* Takes one line of an answer's head as it came, "Name: value\r\n", the name in lower case; a line
 * that is none is passed over, a folded one (obsolete) goes on with the value before it. Over the
 * bounds: ERROR_UPSTREAM, OutputLimit. */
struct error *headers_add_line(struct headers *headers, const char *line, size_t length)
    __attribute__((warn_unused_result));

/* The first value called `name` (lower case), or NULL. */
const char *headers_find(const struct http_header *items, size_t count, const char *name);

/* Empties the list and gives its memory back; the struct is the caller's. */
void headers_free(struct headers *headers);

#endif
