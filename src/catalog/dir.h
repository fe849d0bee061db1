/*
 * The catalog of `sluice run`: manifests in files and directories, status and ExternalArtifacts
 * written below a data directory.
 *
 * The rules of compatibility.md, "Manifests in directories": read recursively, never the data
 * directory nor dot-directories; other kinds are skipped and counted once; namespace defaults to
 * "default"; server-set metadata is accepted. Faults of one document are told and the others go
 * on. A source whose manifest is gone is one that is being deleted, unless there are faults. The
 * generation is kept beside the status: it grows when the spec's digest changes.
 */
#ifndef SLUICE_CATALOG_DIR_H
#define SLUICE_CATALOG_DIR_H

#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "catalog/catalog.h"

struct dir_catalog_options {
    uv_loop_t *loop;
    struct log *log;
    const struct clock *clock;
    const char *data_directory;
    const char *const *paths; /* manifests: files and directories */
    size_t path_count;
    const char *const
        *secrets; /* "NS/NAME.KEY=env:VARIABLE" or "…=file:PATH"; KEY begins at the first dot */
    size_t secret_count;
};

/* A document that cannot be used at all (it does not parse, has no name, is a duplicate). */
struct dir_catalog_fault {
    const char *place; /* "manifests/a.yaml:12" */
    const char *message;
};

/* Reads every manifest. A path that does not exist is ERROR_CONFIGURATION, FileNotFound; documents
 * that cannot be used are in dir_catalog_faults. */
struct error *dir_catalog_new(const struct dir_catalog_options *options, struct catalog **catalog)
    __attribute__((warn_unused_result));

/* What could not be used, in the order read; valid as long as the catalog. */
const struct dir_catalog_fault *dir_catalog_faults(struct catalog *catalog, size_t *count);

#endif
