/*
 * What kubectl's YAML parser takes a plain scalar for. Private to yaml_*.c: the reader resolves
 * with it, the writer quotes by it, so that the two cannot disagree.
 */
#ifndef SLUICE_BASE_YAML_SCALAR_H
#define SLUICE_BASE_YAML_SCALAR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

enum yaml_type {
    YAML_TYPE_STRING,
    YAML_TYPE_NULL,
    YAML_TYPE_TRUE,
    YAML_TYPE_FALSE,
    YAML_TYPE_INTEGER,
    YAML_TYPE_FLOAT,
    YAML_TYPE_NOT_FINITE, /* .inf, .nan: no JSON for it */
};

/* The type of plain text. With `number`, appends an INTEGER or FLOAT as JSON: as it stands where
 * that is JSON already (no digit is lost), else rewritten (012 is 10, +.5 is 0.5). Without memory
 * the buffer has failed. */
enum yaml_type yaml_resolve(const char *text, size_t length, struct buffer *number);

/* Whether other YAML 1.1 readers take plain `text` for something else than a string although
 * kubectl's does not: base-60 numbers, dates, "=" and "<<". */
bool yaml_is_ambiguous(const char *text, size_t length);

#endif
