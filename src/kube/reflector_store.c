/*
 * See reflector_store.h. An object that a list tells again exactly as we hold it is only marked, so
 * that a list of ten thousand costs no second copy. Objects that leave the table are freed later:
 * whoever found one may look at it until the loop turns.
 */
#include "kube/reflector_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int resource_version_compare(const char *a, const char *b)
{
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);

    if (a_length != b_length)
        return a_length < b_length ? -1 : 1;
    return strcmp(a, b);
}

struct error *reflector_store_init(struct reflector_store *store,
                                   const struct reflector_listener *listener, bool metadata_only)
{
    *store = (struct reflector_store){.listener = *listener, .metadata_only = metadata_only};
    store->version = strdup("");
    if (!store->version)
        return error_out_of_memory();
    return held_table_init(&store->table);
}

void reflector_store_free(struct reflector_store *store)
{
    held_table_free(&store->table);
    held_free_all(store->pending);
    held_free_all(store->replaced);
    free(store->version);
    *store = (struct reflector_store){0};
}

void reflector_store_sweep(struct reflector_store *store)
{
    held_free_all(TAKE(store->replaced));
}

static struct error *set_version(struct reflector_store *store, const char *version)
{
    if (strcmp(store->version, version) == 0)
        return NULL;
    char *copy = strdup(version);
    if (!copy)
        return error_out_of_memory();
    free(store->version);
    store->version = copy;
    return NULL;
}

/* A copy of `object` without what nobody reads. Shallow: what is kept is shared. */
static json_t *without_ballast(const json_t *object, bool metadata_only)
{
    static const char *const kept[] = {"apiVersion", "kind", "metadata"};
    _cleanup_(json) json_t *copy = metadata_only ? json_object() : json_copy((json_t *)object);

    if (!copy)
        return NULL;
    for (size_t i = 0; metadata_only && i < sizeof(kept) / sizeof(kept[0]); i++) {
        json_t *member = json_object_get(object, kept[i]);

        if (member && json_object_set(copy, kept[i], member))
            return NULL;
    }
    json_t *metadata = json_object_get(copy, "metadata");
    if (!json_object_get(metadata, "managedFields"))
        return TAKE(copy);
    json_t *shorter = json_copy(metadata);
    if (!shorter || json_object_del(shorter, "managedFields") ||
        json_object_set_new(copy, "metadata", shorter))
        return NULL;
    return TAKE(copy);
}

/* What we hold of an object. */
static struct error *held_of_json(const struct reflector_store *store, const json_t *object,
                                  struct held **held)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    const json_t *metadata = json_object_get(object, "metadata");
    const char *namespace_name = json_get_string(metadata, "namespace");
    struct reflector_object view = {
        .namespace_name = namespace_name ? namespace_name : "",
        .name = json_get_string(metadata, "name"),
        .uid = json_get_string(metadata, "uid"),
        .resource_version = json_get_string(metadata, "resourceVersion"),
    };

    if (!view.name || !view.uid || !view.resource_version)
        return error_new(ERROR_TRANSIENT, "InvalidObject",
                         "the API told of an object without name, uid or resourceVersion");
    _cleanup_(json) json_t *copy = without_ballast(object, store->metadata_only);
    if (!copy)
        return error_out_of_memory();
    json_write(&text, copy);
    struct error *error = buffer_error(&text);
    if (error)
        return error;
    view.text = buffer_string(&text);
    view.length = text.length;
    view.fingerprint = store->listener.fingerprint(store->listener.context, copy);
    *held = held_new(&view);
    return *held ? NULL : error_out_of_memory();
}

static void tell(const struct reflector_store *store, const struct held *before,
                 const struct held *now)
{
    store->listener.changed(store->listener.context, before ? &before->object : NULL,
                            now ? &now->object : NULL);
}

static void retire(struct reflector_store *store, struct held *held)
{
    held->next = store->replaced;
    store->replaced = held;
}

/* Takes `held` in, and tells what is different. */
static void set(struct reflector_store *store, struct held *held)
{
    struct held *before =
        held_table_find(&store->table, held->object.namespace_name, held->object.name);

    if (before && strcmp(before->object.uid, held->object.uid) != 0) {
        /* Another object under the same name: whoever cleans up after the old one must hear. */
        held_table_remove(&store->table, before->object.namespace_name, before->object.name);
        retire(store, before);
        tell(store, before, NULL);
    }
    before = held_table_put(&store->table, held);
    if (before)
        retire(store, before);
    if (!before || before->object.fingerprint != held->object.fingerprint)
        tell(store, before, held);
}

static void remove_held(struct reflector_store *store, const struct held *held)
{
    struct held *before =
        held_table_remove(&store->table, held->object.namespace_name, held->object.name);

    if (!before)
        return;
    retire(store, before);
    tell(store, before, NULL);
}

struct error *reflector_store_event(struct reflector_store *store, enum reflector_event event,
                                    const json_t *object)
{
    struct held *held = NULL;
    struct error *error = held_of_json(store, object, &held);

    if (error)
        return error;
    const char *version = held->object.resource_version;
    const struct held *before =
        held_table_find(&store->table, held->object.namespace_name, held->object.name);
    int order = before ? resource_version_compare(version, before->object.resource_version) : 1;
    bool stale = resource_version_compare(version, store->version) < 0 || order < 0;

    if (stale) {
        free(held);
        return NULL;
    }
    error = set_version(store, version);
    if (error || (event == REFLECTOR_EVENT_SET && order == 0)) {
        free(held);
    } else if (event == REFLECTOR_EVENT_SET) {
        set(store, held);
    } else {
        remove_held(store, held);
        free(held);
    }
    return error;
}

struct error *reflector_store_bookmark(struct reflector_store *store, const char *version,
                                       bool *behind)
{
    *behind = resource_version_compare(version, store->version) < 0;
    return *behind ? NULL : set_version(store, version);
}

void reflector_store_list_begin(struct reflector_store *store)
{
    held_free_all(TAKE(store->pending));
    store->list++;
}

/* An item of a list of built-in objects says neither apiVersion nor kind: it is given its list's.
 */
static struct error *name_kind(const json_t *page, json_t *item)
{
    const char *api_version = json_get_string(page, "apiVersion");
    const char *kind = json_get_string(page, "kind");
    size_t length = kind ? strlen(kind) : 0;

    if (json_object_get(item, "kind") || !api_version || length < 4 ||
        strcmp(kind + length - 4, "List") != 0)
        return NULL;
    if (json_object_set_new(item, "kind", json_stringn(kind, length - 4)) ||
        json_object_set_new(item, "apiVersion", json_string(api_version)))
        return error_out_of_memory();
    return NULL;
}

static struct error *list_item(struct reflector_store *store, const json_t *page,
                               const json_t *item)
{
    _cleanup_(json) json_t *copy = json_copy((json_t *)item);
    struct held *held = NULL;

    if (!copy)
        return error_out_of_memory();
    struct error *error = name_kind(page, copy);
    if (!error)
        error = held_of_json(store, copy, &held);
    if (error)
        return error;

    struct held *before =
        held_table_find(&store->table, held->object.namespace_name, held->object.name);
    if (before && before->object.length == held->object.length &&
        memcmp(before->object.text, held->object.text, held->object.length) == 0) {
        before->listed = store->list;
        free(held);
        return NULL;
    }
    held->listed = store->list;
    held->next = store->pending;
    store->pending = held;
    return NULL;
}

struct error *reflector_store_list_page(struct reflector_store *store, const json_t *page)
{
    const json_t *items = json_object_get(page, "items");
    const json_t *item;
    size_t i;

    if (!json_is_array(items) && !json_is_null(items))
        return error_new(ERROR_TRANSIENT, "InvalidObject",
                         "the API answered with something that is no list");
    json_array_foreach(items, i, item)
    {
        struct error *error = list_item(store, page, item);

        if (error)
            return error;
    }
    return NULL;
}

/* True if a write of ours put it in after the list was taken: the list cannot know it. */
static bool overtook(const struct reflector_store *store, const struct held *held)
{
    return held->put == store->list &&
           resource_version_compare(held->object.resource_version, store->version) > 0;
}

static bool vanished(void *context, const struct held *held)
{
    const struct reflector_store *store = context;

    return held->listed != store->list && !overtook(store, held);
}

struct error *reflector_store_list_end(struct reflector_store *store, const char *version)
{
    struct error *error = set_version(store, version);
    struct held *held;

    if (error)
        return error;
    while ((held = store->pending)) {
        struct held *before =
            held_table_find(&store->table, held->object.namespace_name, held->object.name);

        store->pending = held->next;
        held->next = NULL;
        if (before && overtook(store, before))
            free(held);
        else
            set(store, held);
    }
    struct held *gone = held_table_extract(&store->table, vanished, store);
    while ((held = gone)) {
        gone = held->next;
        retire(store, held);
        tell(store, held, NULL);
    }
    return NULL;
}

struct error *reflector_store_put(struct reflector_store *store, const json_t *object)
{
    struct held *held = NULL;
    struct error *error = held_of_json(store, object, &held);

    if (error)
        return error;
    const struct held *before =
        held_table_find(&store->table, held->object.namespace_name, held->object.name);
    /* One that we do not hold although the API has told us more than its version was deleted
     * before our write's answer came. */
    const char *known = before ? before->object.resource_version : store->version;
    if (resource_version_compare(held->object.resource_version, known) <= 0) {
        free(held);
        return NULL;
    }
    held->put = store->list;
    set(store, held);
    return NULL;
}

void reflector_store_drop(struct reflector_store *store, const char *namespace_name,
                          const char *name, const char *uid)
{
    const struct held *held = held_table_find(&store->table, namespace_name, name);

    if (held && strcmp(held->object.uid, uid) == 0)
        remove_held(store, held);
}
