/* The Kubernetes catalog's own struct, shared by its parts. Private to src/catalog. */
#ifndef SLUICE_CATALOG_KUBE_CATALOG_H
#define SLUICE_CATALOG_KUBE_CATALOG_H

#include "catalog/kube.h"
#include "kube/reflector.h"

struct kube_modules;

struct kube_catalog {
    struct catalog catalog; /* first: see catalog.h */
    struct kube_catalog_options options;
    struct catalog_listener listener;
    struct reflector *sources;
    struct reflector *children;
    struct reflector *lua;         /* ConfigMaps with modules */
    struct reflector *config_maps; /* metadata of those that wake sources */
    struct reflector *secrets;     /* likewise */
    struct kube_modules *modules;
    bool partial; /* `children` are those of one shard: one that is not there may be another's */
    bool writing; /* a reflector is given what we wrote: that wakes nobody */
    bool synced;
};

extern const struct kube_resource kube_sources;
extern const struct kube_resource kube_children;
extern const struct kube_resource kube_config_maps;
extern const struct kube_resource kube_secrets;

/* What the catalog's operations are: steps over requests. `step` is entered with each answer, until
 * one of the ends below is called. */
struct kube_operation {
    struct operation operation; /* first: see base/operation.h */
    struct kube_catalog *kube;
    struct source *source;     /* a reference; NULL for reads */
    struct operation *running; /* a request or a pause */
    /* The answer of the request before: */
    void (*answered)(struct kube_operation *operation, const struct kube_response *response);
    void (*paused)(struct kube_operation *operation);
    unsigned tries;
    bool moved; /* an answer showed what ought to wake the source: told when the operation ends */
    json_t *wanted;                 /* of the source: the status that is to be */
    json_t *before;                 /* and the one that it replaces */
    bool present;                   /* of the finalizer */
    struct artifact_record *record; /* to publish; NULL to declare */
    char *names[3];                 /* kind, namespace, name of a read */
    union {
        catalog_source_done source;
        catalog_object_done object;
        catalog_done plain;
        catalog_version_done version;
    } done;
    enum { DONE_SOURCE, DONE_OBJECT, DONE_PLAIN, DONE_VERSION } shape;
    void *context;
};

/* NULL without memory. `source` may be NULL. */
struct kube_operation *kube_operation_new(struct kube_catalog *kube, struct source *source,
                                          void *context);
void kube_operation_free(struct kube_operation *operation);

/* Enters `paused` after `delay_ms`. For starts: on error the operation is freed. */
struct error *kube_operation_begin(struct kube_operation *operation,
                                   void (*paused)(struct kube_operation *operation),
                                   struct operation **out) __attribute__((warn_unused_result));
void kube_operation_pause(struct kube_operation *operation, int64_t delay_ms,
                          void (*paused)(struct kube_operation *operation));

/* Another try after a write that lost to somebody else's: enters `paused` after a short pause that
 * grows with the tries and is drawn by chance. False where there have been enough: then nothing is
 * begun, and the operation is to fail. */
bool kube_operation_try_again(struct kube_operation *operation,
                              void (*paused)(struct kube_operation *operation))
    __attribute__((warn_unused_result));

/* Sends a request to the API and enters `answered` with what it says; no answer fails the
 * operation. */
void kube_operation_send(struct kube_operation *operation, const struct kube_request *request,
                         void (*answered)(struct kube_operation *operation,
                                          const struct kube_response *response));

/* The ends: tell and free. */
void kube_operation_fail(struct kube_operation *operation, struct error *error);
void kube_operation_succeed(struct kube_operation *operation); /* DONE_PLAIN */
void kube_operation_succeed_with(struct kube_operation *operation, const char *resource_version);

/* The object as JSON (new reference), or NULL. */
json_t *kube_find(const struct reflector *reflector, const char *namespace_name, const char *name);

/* Gives a reflector what a write of ours was answered with. */
void kube_put(struct kube_catalog *kube, struct reflector *reflector, const json_t *object);

/* The same of what a read was answered with; true if it shows what ought to wake its listener,
 * which nobody tells: the watch will hold it for old. */
bool kube_put_read(struct kube_catalog *kube, struct reflector *reflector, const json_t *object);

/* Wakes the source, if there is one (kube_follow.c). */
void kube_wake(struct kube_catalog *kube, const char *namespace_name, const char *name);

/* Makes the reflectors, not yet started (kube_follow.c); false without memory. */
bool kube_follow(struct kube_catalog *kube);

/* Operations, one file each: kube_status.c, kube_child.c. */
struct error *kube_patch_status(struct catalog *catalog, const struct source *source,
                                const char *resource_version, const struct source_status *status,
                                catalog_version_done done, void *context,
                                struct operation **operation);
struct error *kube_patch_finalizer(struct catalog *catalog, const struct source *source,
                                   bool present, catalog_version_done done, void *context,
                                   struct operation **operation);
struct error *kube_declare(struct catalog *catalog, const struct source *source, catalog_done done,
                           void *context, struct operation **operation);
struct error *kube_publish(struct catalog *catalog, const struct source *source,
                           const struct artifact_record *record, catalog_done done, void *context,
                           struct operation **operation);
struct error *kube_withdraw(struct catalog *catalog, const struct source *source, catalog_done done,
                            void *context, struct operation **operation);

/* The Lua modules in ConfigMaps (kube_modules.c). NULL without memory. */
struct kube_modules *kube_modules_new(void);
void kube_modules_free(struct kube_modules *modules);
/* Reads them anew from the reflector. */
void kube_modules_read(struct kube_modules *modules, const struct reflector *reflector,
                       struct log *log);
const struct catalog_module *kube_modules_list(const struct kube_modules *modules, size_t *count);
/* The ConfigMap of the module from `origin`; false if it is none of ours. */
bool kube_modules_reference(const struct kube_modules *modules, const char *origin,
                            struct kube_reference *reference);

#endif
