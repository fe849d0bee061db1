/*
 * One source of the directory: its manifest's content and what DATA/status remembers of it, as one
 * object like those of an API server. Private to src/catalog.
 */
#ifndef SLUICE_CATALOG_DIR_ENTRY_H
#define SLUICE_CATALOG_DIR_ENTRY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "catalog/dir_manifest.h"
#include "source/source.h"

struct dir_entry {
    unsigned references;
    char *namespace_name;
    char *name;
    char *state_path;            /* DATA/status/NAMESPACE/NAME.yaml */
    char *child_path;            /* DATA/externalartifacts/NAMESPACE/NAME.yaml */
    char *file;                  /* of the manifest; NULL once it has vanished */
    struct manifest_place place; /* its `file` is the one above */
    json_t *object;              /* replaced whole by each write, never changed */
    bool writing;                /* a write is under way: another one would lose */
    bool gone;                   /* released: nothing finds it any more */
};

struct dir_entry *dir_entry_new(const char *data_directory, const char *namespace_name,
                                const char *name); /* NULL without memory */
struct dir_entry *dir_entry_ref(struct dir_entry *entry);
void dir_entry_unref(struct dir_entry *entry);

/* Makes the entry's object from the manifest and from the state file, if there is one: uid,
 * generation, version, finalizers and status are kept; the generation grows if the spec has
 * changed. A state file that cannot be read is moved aside, logged, and counts as not there. */
struct error *dir_entry_adopt(struct dir_entry *entry, const json_t *manifest,
                              const struct manifest_place *place, struct log *log)
    __attribute__((warn_unused_result));

/* The same for a source whose manifest is not there any more: as being deleted. */
struct error *dir_entry_adopt_vanished(struct dir_entry *entry, const struct clock *clock,
                                       struct log *log) __attribute__((warn_unused_result));

/* The snapshot; a fault of the spec names file and line. */
struct error *dir_entry_snapshot(const struct dir_entry *entry, struct source **source)
    __attribute__((warn_unused_result));

const char *dir_entry_version(const struct dir_entry *entry);

/* The object with another status, or with or without our finalizer, and the next version. NULL
 * without memory. `status` is taken. */
json_t *dir_entry_with_status(const struct dir_entry *entry, json_t *status);
json_t *dir_entry_with_finalizer(const struct dir_entry *entry, bool present);

#endif
