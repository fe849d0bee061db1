/* The ExternalArtifact of a source: what it must say, as compatibility.md has it. Private to
 * src/catalog. */
#ifndef SLUICE_CATALOG_CHILD_H
#define SLUICE_CATALOG_CHILD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "source/source.h"

#define MANAGED_BY "externalsource-controller"
#define LABEL_SHARD "sharding.fluxcd.io/key"

/* All but its status: apiVersion, kind, metadata with labels and owner, spec. NULL without memory.
 */
json_t *child_object(const struct source *source);

/* Its status: the artifact, and Ready since `now_ms`, or since `existing` (the whole object, or
 * NULL) says. NULL without memory. */
json_t *child_status(const struct source *source, const struct artifact_record *record,
                     const json_t *existing, int64_t now_ms);

/* Whether `existing` says what child_object and child_status would (others may have added labels
 * and annotations). */
bool child_object_matches(const json_t *existing, const struct source *source);
bool child_status_matches(const json_t *existing, const struct artifact_record *record);

/* Whose `existing` is. */
enum child_owner {
    CHILD_OURS,        /* the source's, or of nobody and about it */
    CHILD_PREDECESSOR, /* of a source of this name that is no more */
    CHILD_FOREIGN,
};
enum child_owner child_owner(const json_t *existing, const struct source *source);

#endif
