/*
 * The status of an ExternalSource: what was published, what upstream's token was then, and what is
 * due. It is all that a restarted process knows.
 */
#ifndef SLUICE_SOURCE_STATUS_H
#define SLUICE_SOURCE_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "source/condition.h"

/* What is published: status.artifact of the source and, with all fields, of its ExternalArtifact.
 */
struct artifact_record {
    char *path; /* artifacts/NAMESPACE/NAME/REVISION.tar.gz: also the storage key */
    char *url;
    char *revision; /* "latest@sha256:HEX" of the tar */
    char *digest;   /* "sha256:HEX" of the tar.gz */
    uint64_t size;  /* bytes of the tar.gz */
    int64_t last_update_ms;
    json_t *metadata; /* object of strings, or NULL */
};

struct source_status {
    struct condition_list conditions;
    struct artifact_record *artifact; /* NULL before the first success */
    char *last_handled_etag;          /* the token that belongs to `artifact`; NULL if none */
    char *inputs_digest;              /* what else shaped the artifact: see reconcile/inputs.h */
    int64_t observed_generation;      /* -1 before the first outcome */
    char *last_handled_reconcile_at;
    char *last_handled_force_at;
    char *last_handled_artifact_reconcile_at; /* requestedAt of the ExternalArtifact */
    unsigned retry_count;                     /* status.retry.count: failed attempts in a row */
    int64_t retry_not_before_ms;              /* status.retry.notBefore; 0 if none */
    char *retry_inputs_digest; /* status.retry.inputsDigest: of the attempt that failed; NULL if it
                                  did not get so far */
};

/* An empty status (observed_generation -1), for a source never seen before. NULL without memory. */
struct source_status *source_status_new(void);

/* From the value of `status` in an object. Fields that are missing or of the wrong type count as
 * not there. */
struct error *source_status_parse(const json_t *json, struct source_status **status)
    __attribute__((warn_unused_result));

/* As the value of `status` (new reference; NULL without memory); fields that are empty are left
 * out. */
json_t *source_status_to_json(const struct source_status *status);

struct source_status *
source_status_copy(const struct source_status *status); /* NULL without memory */
void source_status_free(struct source_status *status);

struct artifact_record *artifact_record_copy(const struct artifact_record *record);
void artifact_record_free(struct artifact_record *record);
bool artifact_record_equal(const struct artifact_record *a, const struct artifact_record *b);

/* All fields, as status.artifact of an ExternalArtifact; NULL without memory. */
json_t *artifact_record_to_json(const struct artifact_record *record);

CLEANUP_DEFINE(source_status, struct source_status *, source_status_free)
CLEANUP_DEFINE(artifact_record, struct artifact_record *, artifact_record_free)

#endif
