/*
 * Advice: what is no failure, but will surprise the person who wrote the manifest. Its one idea:
 * said once for each new artifact, as a warning event, and nothing is held up for it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "reconcile/phase.h"

static bool contains(const char *text, size_t length, const char *part)
{
    return memmem(text, length, part, strlen(part)) != NULL;
}

/* Whether a line begins with the key. */
static bool has_line(const char *text, size_t length, const char *key)
{
    _cleanup_(free) char *inner = format_string("\n%s", key);
    size_t key_length = strlen(key);

    return (length >= key_length && memcmp(text, key, key_length) == 0) ||
           (inner && contains(text, length, inner));
}

/* What is spooled is over a megabyte, more than an API server takes. */
static bool looks_like_manifest(const struct blob *blob)
{
    const char *text = blob_memory(blob);
    size_t length = text ? (size_t)blob_length(blob) : 0;

    if (length == 0)
        return false;
    if (text[0] == '{')
        return contains(text, length, "\"apiVersion\"") && contains(text, length, "\"kind\"");
    return has_line(text, length, "apiVersion:") && has_line(text, length, "kind:");
}

/* kustomize-controller reads these two and no others. */
static bool is_read(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

void advise_on_path(const struct reconcile *reconcile)
{
    const char *path = reconcile->source->spec->destination_path;
    const struct payload *payload = reconcile->payload;

    if (!payload->single || is_read(path) || !looks_like_manifest(payload->files[0].blob))
        return;

    _cleanup_(free) char *place = catalog_locate(reconcile->options->catalog, reconcile->source,
                                                 "spec.destinationPath", false);
    _cleanup_(free) char *message =
        format_string("%s%sspec.destinationPath: the artifact's file '%s' looks like a Kubernetes "
                      "manifest, but kustomize-controller will ignore it; it reads names that end "
                      "in .yaml or .yml",
                      place ? place : "", place ? ": " : "", path);
    struct catalog_event event = {CATALOG_WARNING, "ManifestIgnored", message, NULL};

    if (message)
        catalog_event(reconcile->options->catalog, reconcile->source, &event);
}
