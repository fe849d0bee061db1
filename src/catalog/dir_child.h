/* The ExternalArtifact files of the directory catalog. Private to src/catalog. */
#ifndef SLUICE_CATALOG_DIR_CHILD_H
#define SLUICE_CATALOG_DIR_CHILD_H

#include <jansson.h>

#include "base/error.h"
#include "source/source.h"

/* The ExternalArtifact of a source as compatibility.md has it, Ready since `now_ms`. NULL without
 * memory. */
json_t *dir_child_object(const struct source *source, const struct artifact_record *record,
                         int64_t now_ms);

/* Whether the file at `path` may be written: it is not there or it is of an ExternalSource of ours;
 * else ERROR_CONFIGURATION, NameConflict. Blocks: for the thread pool. */
struct error *dir_child_check(const char *path) __attribute__((warn_unused_result));

/* Makes the file at `path` say `child`, with directories as needed; one that says so already is
 * left alone, and so is the time since when it is Ready. A file that is not an ExternalSource's of
 * ours: ERROR_CONFIGURATION, NameConflict. Blocks: for the thread pool. */
struct error *dir_child_write(const char *path, json_t *child) __attribute__((warn_unused_result));

/* Removes the file at `path`; one that dir_child_write would leave alone stays, and one that is not
 * there is no error. Blocks. */
struct error *dir_child_remove(const char *path) __attribute__((warn_unused_result));

/* Writes `object` as YAML to `path`, atomically, with directories as needed. Blocks. */
struct error *dir_write_object(const char *path, const json_t *object)
    __attribute__((warn_unused_result));

#endif
