/* See reflector_table.h. Chained buckets that double when there are as many objects. */
#include "kube/reflector_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/fnv.h"

#define BUCKETS_MIN 16

/* The slash keeps "a" "bc" and "ab" "c" apart. */
static uint32_t hash_names(const char *namespace_name, const char *name)
{
    uint64_t hash = fnv_add(FNV_BASIS, namespace_name, strlen(namespace_name));

    hash = fnv_add(hash, "/", 1);
    hash = fnv_add(hash, name, strlen(name));
    return (uint32_t)(hash ^ hash >> 32);
}

static const char *copy_text(char **position, const char *text, size_t length)
{
    char *copy = *position;

    memcpy(copy, text, length);
    copy[length] = '\0';
    *position += length + 1;
    return copy;
}

struct held *held_new(const struct reflector_object *object)
{
    size_t namespace_length = strlen(object->namespace_name);
    size_t name_length = strlen(object->name);
    size_t uid_length = strlen(object->uid);
    size_t version_length = strlen(object->resource_version);
    size_t size = sizeof(struct held) + 5; /* a NUL each */

    if (__builtin_add_overflow(size, namespace_length, &size) ||
        __builtin_add_overflow(size, name_length, &size) ||
        __builtin_add_overflow(size, uid_length, &size) ||
        __builtin_add_overflow(size, version_length, &size) ||
        __builtin_add_overflow(size, object->length, &size))
        return NULL;
    struct held *held = calloc(1, size);
    if (!held)
        return NULL;

    char *position = held->bytes;
    held->object.namespace_name = copy_text(&position, object->namespace_name, namespace_length);
    held->object.name = copy_text(&position, object->name, name_length);
    held->object.uid = copy_text(&position, object->uid, uid_length);
    held->object.resource_version = copy_text(&position, object->resource_version, version_length);
    held->object.text = copy_text(&position, object->text, object->length);
    held->object.length = object->length;
    held->object.fingerprint = object->fingerprint;
    held->hash = hash_names(held->object.namespace_name, held->object.name);
    return held;
}

void held_free_all(struct held *held)
{
    while (held) {
        struct held *next = held->next;

        free(held);
        held = next;
    }
}

struct error *held_table_init(struct held_table *table)
{
    *table = (struct held_table){.mask = BUCKETS_MIN - 1};
    table->buckets = calloc(BUCKETS_MIN, sizeof(*table->buckets));
    return table->buckets ? NULL : error_out_of_memory();
}

void held_table_free(struct held_table *table)
{
    for (size_t i = 0; table->buckets && i <= table->mask; i++)
        held_free_all(table->buckets[i]);
    free(table->buckets);
    *table = (struct held_table){0};
}

/* Where the pointer to the object of that name is, or would be. */
static struct held **place_of(const struct held_table *table, uint32_t hash,
                              const char *namespace_name, const char *name)
{
    struct held **place = &table->buckets[hash & table->mask];

    while (*place && ((*place)->hash != hash || strcmp((*place)->object.name, name) != 0 ||
                      strcmp((*place)->object.namespace_name, namespace_name) != 0))
        place = &(*place)->next;
    return place;
}

struct held *held_table_find(const struct held_table *table, const char *namespace_name,
                             const char *name)
{
    return *place_of(table, hash_names(namespace_name, name), namespace_name, name);
}

static void grow(struct held_table *table)
{
    size_t size = (table->mask + 1) * 2;
    struct held **buckets = calloc(size, sizeof(struct held *));

    if (!buckets)
        return;
    for (size_t i = 0; i <= table->mask; i++) {
        struct held *held = table->buckets[i];

        while (held) {
            struct held *next = held->next;
            struct held **bucket = &buckets[held->hash & (size - 1)];

            held->next = *bucket;
            *bucket = held;
            held = next;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->mask = size - 1;
}

struct held *held_table_put(struct held_table *table, struct held *held)
{
    if (table->count > table->mask)
        grow(table);
    struct held **place =
        place_of(table, held->hash, held->object.namespace_name, held->object.name);
    struct held *replaced = *place;

    held->next = replaced ? replaced->next : NULL;
    *place = held;
    if (replaced)
        replaced->next = NULL;
    else
        table->count++;
    return replaced;
}

static struct held *take_out(struct held_table *table, struct held **place)
{
    struct held *held = *place;

    *place = held->next;
    held->next = NULL;
    table->count--;
    return held;
}

struct held *held_table_remove(struct held_table *table, const char *namespace_name,
                               const char *name)
{
    struct held **place = place_of(table, hash_names(namespace_name, name), namespace_name, name);

    return *place ? take_out(table, place) : NULL;
}

struct held *held_table_extract(struct held_table *table,
                                bool (*matches)(void *context, const struct held *held),
                                void *context)
{
    struct held *extracted = NULL;

    for (size_t i = 0; i <= table->mask; i++) {
        struct held **place = &table->buckets[i];

        while (*place) {
            if (!matches(context, *place)) {
                place = &(*place)->next;
                continue;
            }
            struct held *held = take_out(table, place);
            held->next = extracted;
            extracted = held;
        }
    }
    return extracted;
}
