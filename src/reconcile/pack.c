/* The two steps of packing: first the revision, then, only if it is new or not in storage, the
 * tar.gz. */
#include <string.h>

#include "reconcile/phase.h"

static void hashed(void *context, struct error *error, const char hex[SHA256_HEX_SIZE])
{
    struct reconcile *reconcile = context;

    if (!error)
        memcpy(reconcile->revision, hex, SHA256_HEX_SIZE);
    reconcile_resume(reconcile, error);
}

/* "LABEL@sha256:HEX", as Flux writes revisions. */
static bool revision_is(const char *revision, const char *label, const char *hex)
{
    size_t length = strlen(label);

    return strncmp(revision, label, length) == 0 &&
           strncmp(revision + length, "@sha256:", 8) == 0 &&
           strcmp(revision + length + 8, hex) == 0;
}

struct step phase_revision(struct reconcile *reconcile)
{
    const struct artifact_record *published = reconcile->status->artifact;
    struct artifact_layout layout;

    if (reconcile->not_modified)
        return step_next();
    if (!reconcile->returned) {
        layout.destination_path = reconcile->source->spec->destination_path;
        return step_started(artifact_revision(reconcile->options->loop, reconcile->payload, &layout,
                                              hashed, reconcile, &reconcile->operation));
    }
    if (!reconcile->error && reconcile->intact && published->revision)
        reconcile->unchanged =
            revision_is(published->revision, reconcile->revision_label, reconcile->revision);
    return step_outcome(reconcile);
}

static void packed(void *context, struct error *error, const struct artifact_packed *result)
{
    struct reconcile *reconcile = context;

    if (!error)
        reconcile->packed = blob_ref(result->blob);
    reconcile_resume(reconcile, error);
}

struct step phase_pack(struct reconcile *reconcile)
{
    struct artifact_layout layout;

    if (reconcile->not_modified || reconcile->unchanged)
        return step_next();
    if (reconcile->returned) {
        if (!reconcile->error)
            advise_on_path(reconcile);
        payload_free(TAKE(reconcile->payload));
        return step_outcome(reconcile);
    }
    layout.destination_path = reconcile->source->spec->destination_path;
    return step_started(artifact_pack(reconcile->options->loop, reconcile->options->blobs,
                                      reconcile->payload, &layout, packed, reconcile,
                                      &reconcile->operation));
}
