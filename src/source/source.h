/*
 * An ExternalSource (source.flux.oddkin.co/v1alpha1) as the catalog read it: one immutable
 * snapshot, counted, on which a reconcile works from its beginning to its end.
 */
#ifndef SLUICE_SOURCE_SOURCE_H
#define SLUICE_SOURCE_SOURCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "source/spec.h"
#include "source/status.h"

#define SOURCE_API_VERSION "source.flux.oddkin.co/v1alpha1"
#define SOURCE_KIND "ExternalSource"
#define SOURCE_FINALIZER "source.flux.oddkin.co/externalsource-finalizer"
#define CHILD_API_VERSION "source.toolkit.fluxcd.io/v1"
#define CHILD_KIND "ExternalArtifact"
#define ANNOTATION_REQUESTED_AT "reconcile.fluxcd.io/requestedAt"
#define ANNOTATION_FORCE_AT "reconcile.fluxcd.io/forceAt"

struct source {
    unsigned references;
    char *namespace_name;
    char *name;
    char *uid;
    char *resource_version; /* opaque; compared for equality only */
    int64_t generation;
    json_t *labels;           /* object of strings, never NULL */
    json_t *annotations;      /* likewise */
    bool deleting;            /* metadata.deletionTimestamp is set */
    bool has_finalizer;       /* ours */
    struct source_spec *spec; /* NULL where `fault` is set */
    struct error *fault;      /* why the manifest cannot be used (InvalidSpec), worded for people */
    struct source_status *status; /* never NULL */
    /* What the catalog knows of its ExternalArtifact: */
    bool artifact_differs;       /* it does not say what status.artifact says */
    char *artifact_requested_at; /* its annotation reconcile.fluxcd.io/requestedAt; or NULL */
};

/* From a whole object, whose apiVersion and kind the caller has matched. `generation`, `uid` and
 * `resource_version` are read from metadata. A fault in the spec gives a source with `fault` set,
 * and its field's path in *fault_path (free; may be NULL); an object without a usable name or
 * namespace is an error (ERROR_CONFIGURATION, InvalidSpec), as is one without memory. *source has
 * one reference. */
struct error *source_parse(const json_t *object, struct source **source, char **fault_path)
    __attribute__((warn_unused_result));

struct source *source_ref(struct source *source);
void source_unref(struct source *source);

/* Names the Secrets and ConfigMaps in the source's namespace that its spec refers to: a new list of
 * [kind, name], each once. NULL without memory. */
json_t *source_references(const struct source *source);

/* DNS-1123 label (63) or subdomain (253), as Kubernetes wants names of namespaces and objects. */
bool namespace_name_valid(const char *text);
bool object_name_valid(const char *text);

CLEANUP_DEFINE(source, struct source *, source_unref)

#endif
