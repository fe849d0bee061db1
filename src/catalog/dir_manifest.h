/*
 * Manifests on disk: every document of every YAML and JSON file below the given paths. Private to
 * src/catalog.
 */
#ifndef SLUICE_CATALOG_DIR_MANIFEST_H
#define SLUICE_CATALOG_DIR_MANIFEST_H

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"

/* Where a document stands. */
struct manifest_place {
    const char *file;
    size_t line;     /* where it begins, from 1 */
    size_t document; /* its number in the file, from 0 */
};

struct manifest_reader {
    /* A document that is an object with apiVersion and kind; items of a List come one by one. */
    struct error *(*object)(void *context, const json_t *object,
                            const struct manifest_place *place);
    /* A document or file that cannot be used; the rest goes on. */
    struct error *(*fault)(void *context, const char *place, const char *message);
    void *context;
    const char *excluded; /* a directory that is never read: the data directory */
};

/* Reads `paths` in order, directories recursively and sorted by name, without dot-directories. A
 * path that is not there: ERROR_CONFIGURATION, FileNotFound. An error that a callback returns ends
 * the reading. */
struct error *manifests_read(const struct manifest_reader *reader, const char *const *paths,
                             size_t count) __attribute__((warn_unused_result));

/* "FILE:LINE" of the field at `path` of the document at `place`; see yaml_locate. NULL if it cannot
 * be told any more. Free it. */
char *manifest_locate(const struct manifest_place *place, const char *path, int content_line);

#endif
