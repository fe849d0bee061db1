/*
 * What the Kubernetes catalog follows by list and watch, what of an object matters, and which
 * sources a change wakes.
 */
#include <string.h>

#include "base/buffer.h"
#include "base/fnv.h"
#include "base/json.h"
#include "catalog/child.h"
#include "catalog/kube_catalog.h"

/* The JSON of a value that matters, with the NUL, so that values cannot run together. */
static uint64_t mix(uint64_t hash, const json_t *value)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;

    if (value)
        json_write(&text, value);
    return fnv_add(hash, buffer_string(&text), text.length + 1);
}

static const json_t *member(const json_t *object, const char *outer, const char *inner)
{
    return json_object_get(json_object_get(object, outer), inner);
}

/* What wakes a source: never its status. */
static uint64_t source_fingerprint(void *context, const json_t *object)
{
    const json_t *metadata = json_object_get(object, "metadata");
    uint64_t hash = FNV_BASIS;

    (void)context;
    hash = mix(hash, json_object_get(metadata, "generation"));
    hash = mix(hash, json_object_get(metadata, "finalizers"));
    hash = mix(hash, json_object_get(metadata, "deletionTimestamp"));
    hash = mix(hash, member(metadata, "labels", LABEL_SHARD));
    hash = mix(hash, member(metadata, "annotations", ANNOTATION_REQUESTED_AT));
    return mix(hash, member(metadata, "annotations", ANNOTATION_FORCE_AT));
}

/* What of an ExternalArtifact is ours to keep, and the request that a Receiver writes there. */
static uint64_t child_fingerprint(void *context, const json_t *object)
{
    const json_t *metadata = json_object_get(object, "metadata");
    uint64_t hash = FNV_BASIS;

    (void)context;
    hash = mix(hash, json_object_get(metadata, "labels"));
    hash = mix(hash, json_object_get(metadata, "ownerReferences"));
    hash = mix(hash, json_object_get(object, "spec"));
    hash = mix(hash, json_object_get(object, "status"));
    return mix(hash, member(metadata, "annotations", ANNOTATION_REQUESTED_AT));
}

static uint64_t content_fingerprint(void *context, const json_t *object)
{
    (void)context;
    return mix(mix(FNV_BASIS, json_object_get(object, "data")),
               member(object, "metadata", "labels"));
}

static uint64_t version_fingerprint(void *context, const json_t *object)
{
    (void)context;
    return mix(FNV_BASIS, member(object, "metadata", "resourceVersion"));
}

static bool is_deleting(const struct reflector_object *object)
{
    _cleanup_(json) json_t *parsed = NULL;

    error_free(json_parse(object->text, object->length, &parsed));
    return member(parsed, "metadata", "deletionTimestamp") != NULL;
}

static void wake(const struct kube_catalog *kube, const char *namespace_name, const char *name,
                 bool deleting)
{
    const struct catalog_listener *listener = &kube->listener;

    if (listener->source_changed)
        listener->source_changed(listener->context, namespace_name, name, deleting);
}

void kube_wake(struct kube_catalog *kube, const char *namespace_name, const char *name)
{
    const struct reflector_object *source = reflector_find(kube->sources, namespace_name, name);

    if (source)
        wake(kube, source->namespace_name, source->name, is_deleting(source));
}

static void source_moved(void *context, const struct reflector_object *before,
                         const struct reflector_object *now)
{
    struct kube_catalog *kube = context;
    const struct catalog_listener *listener = &kube->listener;

    if (kube->writing)
        return;
    if (now)
        wake(kube, now->namespace_name, now->name, is_deleting(now));
    else if (listener->source_gone)
        listener->source_gone(listener->context, before->namespace_name, before->name);
}

/* Only one whose source we follow: the others are not ours. */
static void child_moved(void *context, const struct reflector_object *before,
                        const struct reflector_object *now)
{
    struct kube_catalog *kube = context;
    const struct reflector_object *child = now ? now : before;

    if (kube->synced && !kube->writing)
        kube_wake(kube, child->namespace_name, child->name);
}

static void lua_moved(void *context, const struct reflector_object *before,
                      const struct reflector_object *now)
{
    struct kube_catalog *kube = context;

    (void)before;
    (void)now;
    if (kube->synced && kube->listener.modules_changed)
        kube->listener.modules_changed(kube->listener.context);
}

/* Wakes the sources that name an object. */
struct naming {
    struct kube_catalog *kube;
    const char *kind;
    const struct reflector_object *object;
};

static bool is_named(const struct naming *naming, const struct reflector_object *candidate)
{
    _cleanup_(json) json_t *object = NULL;
    _cleanup_(source) struct source *source = NULL;

    error_free(json_parse(candidate->text, candidate->length, &object));
    if (object)
        error_free(source_parse(object, &source, NULL));
    if (!source)
        return false;
    _cleanup_(json) json_t *wanted = json_pack("[s, s]", naming->kind, naming->object->name);
    _cleanup_(json) json_t *references = source_references(source);
    size_t index;
    json_t *reference;

    json_array_foreach(references, index, reference)
    {
        if (json_equal(reference, wanted))
            return true;
    }
    return false;
}

static void wake_if_named(void *context, const struct reflector_object *candidate)
{
    const struct naming *naming = context;
    const struct reflector_object *object = naming->object;

    /* Most do not even hold the name's letters. */
    if (strcmp(candidate->namespace_name, object->namespace_name) != 0 ||
        !memmem(candidate->text, candidate->length, object->name, strlen(object->name)) ||
        !is_named(naming, candidate))
        return;
    wake(naming->kube, candidate->namespace_name, candidate->name, is_deleting(candidate));
}

static void wake_named(struct kube_catalog *kube, const char *kind,
                       const struct reflector *reflector, const struct reflector_object *object)
{
    struct naming naming = {kube, kind, object};

    if (reflector_synced(reflector)) /* else it was there all along */
        reflector_each(kube->sources, wake_if_named, &naming);
}

static void config_map_moved(void *context, const struct reflector_object *before,
                             const struct reflector_object *now)
{
    struct kube_catalog *kube = context;

    wake_named(kube, "ConfigMap", kube->config_maps, now ? now : before);
}

static void secret_moved(void *context, const struct reflector_object *before,
                         const struct reflector_object *now)
{
    struct kube_catalog *kube = context;

    wake_named(kube, "Secret", kube->secrets, now ? now : before);
}

/* Told once, when all that the reconciler and the Lua hosts need has been listed. */
static void listed(void *context)
{
    struct kube_catalog *kube = context;

    if (kube->synced || !reflector_synced(kube->sources) || !reflector_synced(kube->children) ||
        !reflector_synced(kube->lua))
        return;
    kube->synced = true;
    if (kube->listener.synced)
        kube->listener.synced(kube->listener.context);
}

/* Follows a collection; see struct reflector_options. */
static struct reflector *follow(struct kube_catalog *kube, const struct kube_resource *resource,
                                const char *namespace_name, const char *selector,
                                bool metadata_only, const struct reflector_listener *listener)
{
    const struct kube_catalog_options *options = &kube->options;
    struct reflector_options follow = {
        .loop = options->loop,
        .clock = options->clock,
        .log = options->log,
        .client = options->client,
        .resource = *resource,
        .namespace_name = namespace_name,
        .label_selector = selector,
        .metadata_only = metadata_only,
        .random = options->random,
        .random_context = options->random_context,
        .silence_ms = REFLECTOR_SILENCE_MS,
    };

    return reflector_new(&follow, listener);
}

/* A shard follows its own ExternalArtifacts, which carry its label; other selectors say nothing of
 * them. */
static const char *child_selector(const struct kube_catalog_options *options)
{
    const char *selector = options->label_selector;

    if (!selector || strchr(selector, ',') ||
        strncmp(selector, LABEL_SHARD, strlen(LABEL_SHARD)) != 0)
        return NULL;
    return selector;
}

bool kube_follow(struct kube_catalog *kube)
{
    const struct kube_catalog_options *options = &kube->options;
    const char *where = options->all_namespaces ? NULL : options->namespace_name;
    const char *configs = options->configs_label_selector;

    kube->partial = child_selector(options) != NULL;

    kube->sources =
        follow(kube, &kube_sources, where, options->label_selector, false,
               &(struct reflector_listener){source_fingerprint, source_moved, listed, kube});
    kube->children =
        follow(kube, &kube_children, where, child_selector(options), false,
               &(struct reflector_listener){child_fingerprint, child_moved, listed, kube});
    kube->lua = follow(kube, &kube_config_maps, options->namespace_name, LABEL_LUA, false,
                       &(struct reflector_listener){content_fingerprint, lua_moved, listed, kube});
    if (!kube->sources || !kube->children || !kube->lua)
        return false;
    if (!configs)
        return true;
    kube->config_maps =
        follow(kube, &kube_config_maps, where, configs, true,
               &(struct reflector_listener){version_fingerprint, config_map_moved, NULL, kube});
    kube->secrets =
        follow(kube, &kube_secrets, where, configs, true,
               &(struct reflector_listener){version_fingerprint, secret_moved, NULL, kube});
    return kube->config_maps && kube->secrets;
}
