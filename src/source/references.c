/*
 * What objects a source refers to. By the convention of Kubernetes APIs a field called secretRef,
 * somethingSecretRef or likewise configMapRef names one; so this works for the sections of modules
 * that nobody here has heard of. Hooks name ConfigMaps with luaFrom.
 */
#include <string.h>

#include "base/json.h"
#include "source/source.h"

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t end_length = strlen(end);

    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* The kind of object that a field of this name refers to, by the convention of Kubernetes APIs. */
static const char *referred_kind(const char *key)
{
    if (ends_with(key, "SecretRef") || strcmp(key, "secretRef") == 0)
        return "Secret";
    if (ends_with(key, "ConfigMapRef") || strcmp(key, "configMapRef") == 0)
        return "ConfigMap";
    return NULL;
}

/* Adds [kind, name] unless it is there. */
static int add_reference(json_t *objects, const char *kind, const char *name)
{
    json_t *reference = json_pack("[s, s]", kind, name);
    size_t index;
    json_t *known;

    json_array_foreach(objects, index, known)
    {
        if (json_equal(known, reference)) {
            json_decref(reference);
            return 0;
        }
    }
    return json_array_append_new(objects, reference);
}

/* Collects every reference in `value`. */
static int collect_references(const json_t *value, json_t *objects)
{
    const char *key;
    json_t *member;
    size_t index;

    json_array_foreach(value, index, member)
    {
        if (collect_references(member, objects))
            return -1;
    }
    json_object_foreach((json_t *)value, key, member)
    {
        const char *kind = referred_kind(key);
        const char *name = json_get_string(member, "name");

        if (kind && name && add_reference(objects, kind, name))
            return -1;
        if (collect_references(member, objects))
            return -1;
    }
    return 0;
}

static int collect_hooks(const struct hook_list *list, json_t *objects)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->hooks[i].kind == HOOK_LUA_FROM &&
            add_reference(objects, "ConfigMap", list->hooks[i].config_map))
            return -1;
    }
    return 0;
}

json_t *source_references(const struct source *source)
{
    json_t *objects = json_array();
    const struct source_spec *spec = source->spec;

    if (!objects || !spec)
        return objects;
    if (collect_references(spec->generator_config, objects) ||
        collect_hooks(&spec->pre_request, objects) || collect_hooks(&spec->post_request, objects)) {
        json_decref(objects);
        return NULL;
    }
    return objects;
}
