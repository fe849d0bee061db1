/*
 * A catalog in memory, whose every answer the test decides: see script_world.h. Its objects have
 * resource versions that move with every write, and writes for an older one are conflicts, as in a
 * cluster.
 */
#ifndef SLUICE_TEST_SCRIPTED_CATALOG_H
#define SLUICE_TEST_SCRIPTED_CATALOG_H

#include <stdio.h>

#include "base/base64.h"
#include "catalog/catalog.h"
#include "script_world.h"

struct scripted_catalog {
    struct catalog catalog; /* first: see catalog.h */
    struct script *script;
    json_t *sources;      /* "NAMESPACE/NAME" -> the whole object */
    json_t *objects;      /* "KIND NAMESPACE/NAME" -> {uid, version, data} */
    json_t *children;     /* "NAMESPACE/NAME" -> the record of its ExternalArtifact */
    json_t *declared;     /* "NAMESPACE/NAME" of those that were made; noted when one is made */
    unsigned version;     /* the last one given */
    struct buffer events; /* "SEVERITY REASON MESSAGE [REVISION];" */
    unsigned status_writes;
    bool differs; /* sources' ExternalArtifacts do not say what their status says */
};

static inline struct scripted_catalog *scripted_catalog_of(struct catalog *catalog)
{
    return (struct scripted_catalog *)catalog;
}

static inline json_t *scripted_catalog_source(struct scripted_catalog *world, const char *key)
{
    return json_object_get(world->sources, key);
}

/* The object has been written: its version moves. */
static inline const char *scripted_catalog_touch(struct scripted_catalog *world, const char *key)
{
    json_t *metadata = json_object_get(scripted_catalog_source(world, key), "metadata");
    char text[16];

    snprintf(text, sizeof(text), "%u", ++world->version);
    json_object_set_new(metadata, "resourceVersion", json_string(text));
    return json_get_string(metadata, "resourceVersion");
}

static inline void scripted_catalog_got(struct deferred *call, struct error *fault)
{
    struct scripted_catalog *world = call->world;
    const json_t *object = scripted_catalog_source(world, call->key);
    struct source *source = NULL;

    if (!fault && object) {
        _cleanup_(json) json_t *snapshot = json_deep_copy(object);

        assert_null(source_parse(snapshot, &source, NULL));
    }
    script_note(world->script, "get", "");
    if (source)
        source->artifact_differs = world->differs;
    ((catalog_source_done)call->done)(call->context, fault, source);
}

static inline struct error *scripted_catalog_get(struct catalog *catalog,
                                                 const char *namespace_name, const char *name,
                                                 catalog_source_done done, void *context,
                                                 struct operation **operation)
{
    struct scripted_catalog *world = scripted_catalog_of(catalog);

    script_call(world->script, "get", scripted_catalog_got, world, (void (*)(void))done, context,
                operation)
        ->key = format_string("%s/%s", namespace_name, name);
    return NULL;
}

static inline void scripted_catalog_object_got(struct deferred *call, struct error *fault)
{
    struct scripted_catalog *world = call->world;
    const json_t *json = json_object_get(world->objects, call->key);
    struct catalog_object object = {
        .uid = json_get_string(json, "uid"),
        .resource_version = json_get_string(json, "version"),
        .data = json_object_get(json, "data"),
    };

    ((catalog_object_done)call->done)(call->context, fault, fault || !json ? NULL : &object);
}

static inline struct error *scripted_catalog_get_object(struct catalog *catalog, const char *kind,
                                                        const char *namespace_name,
                                                        const char *name, catalog_object_done done,
                                                        void *context, struct operation **operation)
{
    struct scripted_catalog *world = scripted_catalog_of(catalog);

    script_call(world->script, "get-object", scripted_catalog_object_got, world,
                (void (*)(void))done, context, operation)
        ->key = format_string("%s %s/%s", kind, namespace_name, name);
    return NULL;
}

static inline void scripted_catalog_declared(struct deferred *call, struct error *fault)
{
    struct scripted_catalog *world = call->world;

    if (fault || !json_object_get(world->declared, call->key))
        script_note(world->script, fault ? "declare failed" : "declare", "");
    if (!fault)
        json_object_set_new(world->declared, call->key, json_true());
    ((catalog_done)call->done)(call->context, fault);
}

static inline struct error *scripted_catalog_declare(struct catalog *catalog,
                                                     const struct source *source, catalog_done done,
                                                     void *context, struct operation **operation)
{
    struct scripted_catalog *world = scripted_catalog_of(catalog);

    script_call(world->script, "declare", scripted_catalog_declared, world, (void (*)(void))done,
                context, operation)
        ->key = format_string("%s/%s", source->namespace_name, source->name);
    return NULL;
}

static inline void scripted_catalog_published(struct deferred *call, struct error *fault)
{
    struct scripted_catalog *world = call->world;

    script_note(world->script, fault ? "publish failed" : "publish", "");
    if (!fault)
        json_object_set(world->children, call->key, call->json);
    ((catalog_done)call->done)(call->context, fault);
}

static inline struct error *scripted_catalog_publish(struct catalog *catalog,
                                                     const struct source *source,
                                                     const struct artifact_record *record,
                                                     catalog_done done, void *context,
                                                     struct operation **operation)
{
    struct scripted_catalog *world = scripted_catalog_of(catalog);
    struct deferred *call = script_call(world->script, "publish", scripted_catalog_published, world,
                                        (void (*)(void))done, context, operation);

    call->key = format_string("%s/%s", source->namespace_name, source->name);
    call->json = artifact_record_to_json(record);
    return NULL;
}

static inline void scripted_catalog_withdrawn(struct deferred *call, struct error *fault)
{
    struct scripted_catalog *world = call->world;

    script_note(world->script, fault ? "withdraw failed" : "withdraw", "");
    if (!fault)
        json_object_del(world->children, call->key);
    if (!fault)
        json_object_del(world->declared, call->key);
    ((catalog_done)call->done)(call->context, fault);
}

static inline struct error *scripted_catalog_withdraw(struct catalog *catalog,
                                                      const struct source *source,
                                                      catalog_done done, void *context,
                                                      struct operation **operation)
{
    struct scripted_catalog *world = scripted_catalog_of(catalog);

    script_call(world->script, "withdraw", scripted_catalog_withdrawn, world, (void (*)(void))done,
                context, operation)
        ->key = format_string("%s/%s", source->namespace_name, source->name);
    return NULL;
}

/* A conflict where the object is no longer of the version that the write was made for. */
static inline struct error *scripted_catalog_check(struct scripted_catalog *world,
                                                   const struct deferred *call)
{
    const json_t *object = scripted_catalog_source(world, call->key);
    const char *now = json_get_string(json_object_get(object, "metadata"), "resourceVersion");

    if (now && strcmp(now, call->version) == 0)
        return NULL;
    return error_new(ERROR_CONFLICT, "Conflict", "%s is at version %s, not %s", call->key,
                     now ? now : "none", call->version);
}

static inline void scripted_catalog_status_patched(struct deferred *call, struct error *fault)
{
    struct scripted_catalog *world = call->world;
    struct error *error = fault ? fault : scripted_catalog_check(world, call);
    const char *version = NULL;

    script_note(world->script, error ? "status failed" : "status", "");
    if (!error) {
        json_object_set(scripted_catalog_source(world, call->key), "status", call->json);
        version = scripted_catalog_touch(world, call->key);
        world->status_writes++;
    }
    ((catalog_version_done)call->done)(call->context, error, version);
}

static inline struct error *scripted_catalog_patch_status(struct catalog *catalog,
                                                          const struct source *source,
                                                          const char *resource_version,
                                                          const struct source_status *status,
                                                          catalog_version_done done, void *context,
                                                          struct operation **operation)
{
    struct scripted_catalog *world = scripted_catalog_of(catalog);
    struct deferred *call = script_call(world->script, "status", scripted_catalog_status_patched,
                                        world, (void (*)(void))done, context, operation);

    call->key = format_string("%s/%s", source->namespace_name, source->name);
    call->version = strdup(resource_version);
    call->json = source_status_to_json(status);
    return NULL;
}

static inline void scripted_catalog_finalizer_patched(struct deferred *call, struct error *fault)
{
    struct scripted_catalog *world = call->world;
    struct error *error = fault ? fault : scripted_catalog_check(world, call);
    const char *version = NULL;
    bool present = json_is_true(call->json);

    script_note(world->script, present ? "finalizer" : "release", error ? "failed" : "");
    if (!error) {
        json_t *metadata = json_object_get(scripted_catalog_source(world, call->key), "metadata");

        json_object_set_new(metadata, "finalizers",
                            present ? json_pack("[s]", SOURCE_FINALIZER) : json_array());
        version = scripted_catalog_touch(world, call->key);
    }
    ((catalog_version_done)call->done)(call->context, error, version);
}

static inline struct error *
scripted_catalog_patch_finalizer(struct catalog *catalog, const struct source *source, bool present,
                                 catalog_version_done done, void *context,
                                 struct operation **operation)
{
    struct scripted_catalog *world = scripted_catalog_of(catalog);
    struct deferred *call =
        script_call(world->script, "finalizer", scripted_catalog_finalizer_patched, world,
                    (void (*)(void))done, context, operation);

    call->key = format_string("%s/%s", source->namespace_name, source->name);
    call->version = strdup(source->resource_version);
    call->json = json_boolean(present);
    return NULL;
}

static inline void scripted_catalog_event(struct catalog *catalog, const struct source *source,
                                          const struct catalog_event *event)
{
    struct scripted_catalog *world = scripted_catalog_of(catalog);

    (void)source;
    buffer_appendf(&world->events, "%s %s %s;",
                   event->severity == CATALOG_WARNING ? "warning" : "normal", event->reason,
                   event->message);
}

static inline const struct catalog_module *scripted_catalog_modules(struct catalog *catalog,
                                                                    size_t *count)
{
    (void)catalog;
    *count = 0;
    return NULL;
}

static inline void scripted_catalog_free(struct catalog *catalog)
{
    struct scripted_catalog *world = scripted_catalog_of(catalog);

    json_decref(world->sources);
    json_decref(world->objects);
    json_decref(world->children);
    json_decref(world->declared);
    buffer_free(&world->events);
}

static const struct catalog_ops scripted_catalog_ops = {
    .name = "scripted",
    .get = scripted_catalog_get,
    .declare = scripted_catalog_declare,
    .get_object = scripted_catalog_get_object,
    .publish = scripted_catalog_publish,
    .withdraw = scripted_catalog_withdraw,
    .patch_status = scripted_catalog_patch_status,
    .patch_finalizer = scripted_catalog_patch_finalizer,
    .event = scripted_catalog_event,
    .modules = scripted_catalog_modules,
    .free = scripted_catalog_free,
};

static inline void scripted_catalog_init(struct scripted_catalog *world, struct script *script)
{
    memset(world, 0, sizeof(*world));
    world->catalog.ops = &scripted_catalog_ops;
    world->script = script;
    world->sources = json_object();
    world->objects = json_object();
    world->children = json_object();
    world->declared = json_object();
}

/* Puts the key `name` with `text` into the Secret; a new one if it is not there. */
static inline void scripted_catalog_secret(struct scripted_catalog *world, const char *secret,
                                           const char *name, const char *text)
{
    _cleanup_(free) char *key = format_string("Secret %s", secret);
    _cleanup_(buffer) struct buffer encoded = BUFFER_INIT;
    json_t *object = json_object_get(world->objects, key);

    if (!object) {
        object = json_pack("{s:s, s:{}}", "uid", key, "data");
        json_object_set_new(world->objects, key, object);
    }
    base64_encode(&encoded, text, strlen(text));
    json_object_set_new(json_object_get(object, "data"), name,
                        json_string(buffer_string(&encoded)));
    char version[16];
    snprintf(version, sizeof(version), "%u", ++world->version);
    json_object_set_new(object, "version", json_string(version));
}

#endif
