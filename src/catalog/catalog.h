/*
 * The catalog: where sources come from, and where their status and their artifacts' records go.
 *
 * The reconciler sees a cluster (kube.c) and a directory of manifests (dir.c) through these
 * functions and cannot tell them apart. They are those of a Kubernetes API: objects have a uid, a
 * generation that moves with the spec, and an opaque resource version that moves with every write;
 * a write says which version it was made for and fails with ERROR_CONFLICT if the object has moved
 * on; changes are told by callback and read by get. Everything runs on the loop's thread,
 * asynchronously by the rule of base/operation.h.
 */
#ifndef SLUICE_CATALOG_CATALOG_H
#define SLUICE_CATALOG_CATALOG_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/operation.h"
#include "source/source.h"

/* Of ConfigMaps that hold Lua modules; its value is their kind. */
#define LABEL_LUA "source.flux.oddkin.co/lua"

struct catalog;

/* What the catalog tells. Callbacks come on the loop, never from inside catalog_start; one that is
 * NULL is not called. */
struct catalog_listener {
    /* A source is there for the first time; its generation, finalizers, deletion or request
     * annotations changed; its ExternalArtifact is not what we made it; or an object that it names
     * changed: never because of our own status writes. `deleting`: whatever runs for it has lost
     * its purpose. */
    void (*source_changed)(void *context, const char *namespace_name, const char *name,
                           bool deleting);
    /* A source is no longer there at all. */
    void (*source_gone)(void *context, const char *namespace_name, const char *name);
    /* The Lua modules that the catalog knows changed: see catalog_modules. */
    void (*modules_changed)(void *context);
    /* Every source and module that was there at the start has been told. */
    void (*synced)(void *context);
    void *context;
};

/* A Secret or ConfigMap, as far as anybody may ask. */
struct catalog_object {
    const char *uid;
    const char *
        resource_version; /* moves with the content; never derived from it in a way that tells it */
    const json_t *data;   /* object: key -> JSON string of base64 of the value's bytes */
};

/* A Lua module that lives in the catalog: one key of a ConfigMap with the label
 * source.flux.oddkin.co/lua. */
struct catalog_module {
    const char *kind;   /* generator, policy, transform, library */
    const char *name;   /* the key without ".lua" */
    const char *origin; /* for messages: "ConfigMap default/transforms key shout.lua" */
    const char *text;
    size_t length;
};

enum catalog_severity { CATALOG_NORMAL, CATALOG_WARNING };

/* An event about a source, for people and for Flux's notifications. */
struct catalog_event {
    enum catalog_severity severity;
    const char *reason; /* CamelCase */
    const char *message;
    const char *revision; /* of the artifact it is about, or NULL */
};

/* `source` is a new reference, or NULL where there is none (no error). */
typedef void (*catalog_source_done)(void *context, struct error *error, struct source *source);
/* `object` is valid during the call; NULL where there is none (no error). */
typedef void (*catalog_object_done)(void *context, struct error *error,
                                    const struct catalog_object *object);
typedef void (*catalog_done)(void *context, struct error *error);
/* After a write of the source: its new resource version, valid during the call. */
typedef void (*catalog_version_done)(void *context, struct error *error,
                                     const char *resource_version);

struct catalog_ops {
    const char *name; /* "dir", "kube" */
    struct error *(*start)(struct catalog *catalog, const struct catalog_listener *listener);
    struct error *(*get)(struct catalog *catalog, const char *namespace_name, const char *name,
                         catalog_source_done done, void *context, struct operation **operation);
    struct error *(*get_object)(struct catalog *catalog, const char *kind,
                                const char *namespace_name, const char *name,
                                catalog_object_done done, void *context,
                                struct operation **operation);
    struct error *(*declare)(struct catalog *catalog, const struct source *source,
                             catalog_done done, void *context, struct operation **operation);
    struct error *(*publish)(struct catalog *catalog, const struct source *source,
                             const struct artifact_record *record, catalog_done done, void *context,
                             struct operation **operation);
    struct error *(*withdraw)(struct catalog *catalog, const struct source *source,
                              catalog_done done, void *context, struct operation **operation);
    struct error *(*patch_status)(struct catalog *catalog, const struct source *source,
                                  const char *resource_version, const struct source_status *status,
                                  catalog_version_done done, void *context,
                                  struct operation **operation);
    struct error *(*patch_finalizer)(struct catalog *catalog, const struct source *source,
                                     bool present, catalog_version_done done, void *context,
                                     struct operation **operation);
    void (*event)(struct catalog *catalog, const struct source *source,
                  const struct catalog_event *event);
    const struct catalog_module *(*modules)(struct catalog *catalog, size_t *count);
    void (*module_refused)(struct catalog *catalog, const char *origin,
                           const struct error *error); /* NULL where there is nobody to tell */
    char *(*locate)(struct catalog *catalog, const struct source *source, const char *path,
                    bool content_line); /* NULL where objects have no place in a file */
    void (*free)(struct catalog *catalog);
};

/* Catalogs put this first in their own struct. */
struct catalog {
    const struct catalog_ops *ops;
};

/* Begins to list and watch. The listener is copied. Faults that concern one object are logged, kept
 * with that object, and never end the catalog. */
static inline struct error *catalog_start(struct catalog *catalog,
                                          const struct catalog_listener *listener)
{
    return catalog->ops->start(catalog, listener);
}

/* The source as it is now, with its status. */
static inline struct error *catalog_get(struct catalog *catalog, const char *namespace_name,
                                        const char *name, catalog_source_done done, void *context,
                                        struct operation **operation)
{
    return catalog->ops->get(catalog, namespace_name, name, done, context, operation);
}

/* A Secret or ConfigMap as it is now. */
static inline struct error *catalog_get_object(struct catalog *catalog, const char *kind,
                                               const char *namespace_name, const char *name,
                                               catalog_object_done done, void *context,
                                               struct operation **operation)
{
    return catalog->ops->get_object(catalog, kind, namespace_name, name, done, context, operation);
}

/* Makes sure that the source has an ExternalArtifact that nobody else owns, with or without an
 * artifact. One that belongs to another owner: ERROR_CONFIGURATION, NameConflict. */
static inline struct error *catalog_declare(struct catalog *catalog, const struct source *source,
                                            catalog_done done, void *context,
                                            struct operation **operation)
{
    return catalog->ops->declare(catalog, source, done, context, operation);
}

/* Makes the source's ExternalArtifact say `record`, with Ready=True. One that belongs to another
 * owner is left alone: ERROR_CONFIGURATION, NameConflict. */
static inline struct error *catalog_publish(struct catalog *catalog, const struct source *source,
                                            const struct artifact_record *record, catalog_done done,
                                            void *context, struct operation **operation)
{
    return catalog->ops->publish(catalog, source, record, done, context, operation);
}

/* Removes the source's ExternalArtifact; one that is not there is no error, and another owner's is
 * left alone. */
static inline struct error *catalog_withdraw(struct catalog *catalog, const struct source *source,
                                             catalog_done done, void *context,
                                             struct operation **operation)
{
    return catalog->ops->withdraw(catalog, source, done, context, operation);
}

/* Replaces the status if the source still has `resource_version`; else ERROR_CONFLICT. `status` is
 * not needed after the call. */
static inline struct error *
catalog_patch_status(struct catalog *catalog, const struct source *source,
                     const char *resource_version, const struct source_status *status,
                     catalog_version_done done, void *context, struct operation **operation)
{
    return catalog->ops->patch_status(catalog, source, resource_version, status, done, context,
                                      operation);
}

/* Adds or removes our finalizer, if the source still has its resource version; else ERROR_CONFLICT.
 */
static inline struct error *catalog_patch_finalizer(struct catalog *catalog,
                                                    const struct source *source, bool present,
                                                    catalog_version_done done, void *context,
                                                    struct operation **operation)
{
    return catalog->ops->patch_finalizer(catalog, source, present, done, context, operation);
}

/* Tells an event; best effort, never waits. */
static inline void catalog_event(struct catalog *catalog, const struct source *source,
                                 const struct catalog_event *event)
{
    catalog->ops->event(catalog, source, event);
}

/* The Lua modules in the catalog, valid until the next modules_changed. */
static inline const struct catalog_module *catalog_modules(struct catalog *catalog, size_t *count)
{
    return catalog->ops->modules(catalog, count);
}

/* Tells whoever wrote the module from `origin` (of a catalog_module) that it does not load. */
static inline void catalog_module_refused(struct catalog *catalog, const char *origin,
                                          const struct error *error)
{
    if (catalog->ops->module_refused)
        catalog->ops->module_refused(catalog, origin, error);
}

/* "FILE:LINE" of the field at `path` ("spec.hooks.postRequest[0].lua") of a source's manifest, for
 * messages; with `content_line` the first line of a block scalar's content. NULL if it has none.
 * Free it. */
static inline char *catalog_locate(struct catalog *catalog, const struct source *source,
                                   const char *path, bool content_line)
{
    return catalog->ops->locate ? catalog->ops->locate(catalog, source, path, content_line) : NULL;
}

/* Stops and frees; every operation must have ended or been cancelled. NULL is fine. */
static inline void catalog_free(struct catalog *catalog)
{
    if (catalog)
        catalog->ops->free(catalog);
}

#endif
