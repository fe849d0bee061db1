/*
 * The Lua modules in ConfigMaps: those in the controller's namespace with the label
 * source.flux.oddkin.co/lua, whose value is the modules' kind; each key NAME.lua is one. The oldest
 * comes first, in every process: of two with one name the first is used (module_loader.h).
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "catalog/kube_catalog.h"

struct kube_module_owner {
    char *namespace_name;
    char *name;
    char *uid;
};

struct kube_modules {
    struct catalog_module *modules;
    struct kube_module_owner *owners; /* one for each module */
    size_t count;
    size_t capacity;
};

struct kube_modules *kube_modules_new(void)
{
    return calloc(1, sizeof(struct kube_modules));
}

static void clear(struct kube_modules *modules)
{
    for (size_t i = 0; i < modules->count; i++) {
        free((char *)modules->modules[i].kind);
        free((char *)modules->modules[i].name);
        free((char *)modules->modules[i].origin);
        free((char *)modules->modules[i].text);
        free(modules->owners[i].namespace_name);
        free(modules->owners[i].name);
        free(modules->owners[i].uid);
    }
    modules->count = 0;
}

void kube_modules_free(struct kube_modules *modules)
{
    if (!modules)
        return;
    clear(modules);
    free(modules->modules);
    free(modules->owners);
    free(modules);
}

static bool make_room(struct kube_modules *modules)
{
    size_t capacity = modules->capacity ? modules->capacity * 2 : 8;

    if (modules->count < modules->capacity)
        return true;
    struct catalog_module *grown =
        reallocarray(modules->modules, capacity, sizeof(*modules->modules));
    if (grown)
        modules->modules = grown;
    struct kube_module_owner *owners =
        reallocarray(modules->owners, capacity, sizeof(*modules->owners));
    if (owners)
        modules->owners = owners;
    if (!grown || !owners)
        return false;
    modules->capacity = capacity;
    return true;
}

static bool add(struct kube_modules *modules, const struct reflector_object *object,
                const char *kind, const char *key, const json_t *text)
{
    size_t length = strlen(key);

    if (length <= 4 || strcmp(key + length - 4, ".lua") != 0)
        return true;
    if (!make_room(modules))
        return false;
    struct catalog_module *module = &modules->modules[modules->count];
    struct kube_module_owner *owner = &modules->owners[modules->count++];
    char *copy = malloc(json_string_length(text) + 1);

    if (copy)
        memcpy(copy, json_string_value(text), json_string_length(text) + 1);
    module->kind = strdup(kind);
    module->name = strndup(key, length - 4);
    module->origin =
        format_string("ConfigMap %s/%s key %s", object->namespace_name, object->name, key);
    module->text = copy;
    module->length = json_string_length(text);
    owner->namespace_name = strdup(object->namespace_name);
    owner->name = strdup(object->name);
    owner->uid = strdup(object->uid);
    return module->kind && module->name && module->origin && module->text &&
           owner->namespace_name && owner->name && owner->uid;
}

/* A ConfigMap with modules. */
struct module_object {
    const struct reflector_object *object;
    json_t *parsed;
    const char *created; /* RFC 3339, which sorts as text */
};

struct reading {
    struct module_object *objects;
    size_t count;
    size_t capacity;
    bool failed;
};

static void read_object(void *context, const struct reflector_object *object)
{
    struct reading *reading = context;

    if (reading->count == reading->capacity) {
        reading->failed = true;
        return;
    }
    struct module_object *read = &reading->objects[reading->count];
    error_free(json_parse(object->text, object->length, &read->parsed));
    if (!read->parsed)
        return;
    read->object = object;
    read->created = json_get_string(json_object_get(read->parsed, "metadata"), "creationTimestamp");
    reading->count++;
}

static int by_age(const void *first, const void *second)
{
    const struct module_object *a = first;
    const struct module_object *b = second;
    int order = strcmp(a->created ? a->created : "", b->created ? b->created : "");

    return order != 0 ? order : strcmp(a->object->name, b->object->name);
}

static void read_modules(struct kube_modules *modules, struct reading *reading,
                         const struct module_object *read)
{
    const json_t *labels = json_object_get(json_object_get(read->parsed, "metadata"), "labels");
    const char *kind = json_get_string(labels, LABEL_LUA);
    const char *key;
    json_t *text;

    json_object_foreach(json_object_get(read->parsed, "data"), key, text)
    {
        if (kind && json_is_string(text) && !add(modules, read->object, kind, key, text))
            reading->failed = true;
    }
}

void kube_modules_read(struct kube_modules *modules, const struct reflector *reflector,
                       struct log *log)
{
    size_t count = reflector_count(reflector);
    struct reading reading = {.capacity = count};

    clear(modules);
    reading.objects = calloc(count ? count : 1, sizeof(*reading.objects));
    if (reading.objects)
        reflector_each(reflector, read_object, &reading);
    else
        reading.failed = true;
    if (reading.count > 1)
        qsort(reading.objects, reading.count, sizeof(*reading.objects), by_age);
    for (size_t i = 0; i < reading.count; i++) {
        read_modules(modules, &reading, &reading.objects[i]);
        json_decref(reading.objects[i].parsed);
    }
    free(reading.objects);
    if (!reading.failed)
        return;
    clear(modules); /* half a set would be another program */
    log_error(log, NULL, NULL, "out of memory; Lua modules in ConfigMaps are not used", NULL);
}

const struct catalog_module *kube_modules_list(const struct kube_modules *modules, size_t *count)
{
    *count = modules->count;
    return modules->modules;
}

bool kube_modules_reference(const struct kube_modules *modules, const char *origin,
                            struct kube_reference *reference)
{
    for (size_t i = 0; i < modules->count; i++) {
        if (strcmp(modules->modules[i].origin, origin) != 0)
            continue;
        *reference = (struct kube_reference){"v1", "ConfigMap", modules->owners[i].namespace_name,
                                             modules->owners[i].name, modules->owners[i].uid};
        return true;
    }
    return false;
}
