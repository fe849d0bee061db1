/* The directory catalog's own struct, shared by its door (dir.c) and its loading (dir_load.c). */
#ifndef SLUICE_CATALOG_DIR_CATALOG_H
#define SLUICE_CATALOG_DIR_CATALOG_H

#include <stddef.h>
#include <uv.h>

#include "catalog/dir.h"
#include "catalog/dir_entry.h"
#include "catalog/dir_objects.h"

struct dir_catalog {
    struct catalog catalog; /* first: see catalog.h */
    uv_loop_t *loop;
    struct log *log;
    const struct clock *clock;
    char *data_directory;
    struct dir_entry **entries;
    size_t entry_count;
    struct dir_objects objects;
    struct dir_catalog_fault *faults;
    size_t fault_count;
    size_t skipped; /* documents of other kinds */
    size_t kept;    /* sources that have no manifest, but are not to be deleted for it */
    struct catalog_listener listener;
    struct operation *announcing;
};

/* The source of that name, or NULL. */
struct dir_entry *dir_find_entry(const struct dir_catalog *dir, const char *namespace_name,
                                 const char *name);

/* Removes what a crash left in the middle of a write; best effort. No other program may be using
 * the directory. */
void dir_sweep(const char *data_directory);

/* Fills the catalog from the manifests and from what the data directory remembers. */
struct error *dir_load(struct dir_catalog *dir, const struct dir_catalog_options *options)
    __attribute__((warn_unused_result));

#endif
