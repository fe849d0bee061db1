/*
 * A hash table of objects by namespace and name. Private to the reflector.
 *
 * An object is one allocation: the struct, its strings and its text, so that ten thousand cost
 * little more than their JSON.
 */
#ifndef SLUICE_KUBE_REFLECTOR_TABLE_H
#define SLUICE_KUBE_REFLECTOR_TABLE_H

#include "kube/reflector.h"

struct held {
    struct reflector_object object; /* points into `bytes` */
    struct held *next;              /* in its bucket, or in whatever list the owner keeps */
    uint32_t hash;
    uint32_t listed; /* the last list that had it exactly so: a number of reflector_store.c */
    uint32_t put;    /* the number of the last list when a write of ours put it in, or 0 */
    char bytes[];
};

struct held_table {
    struct held **buckets; /* `mask` + 1 of them, a power of two */
    size_t mask;
    size_t count;
};

/* An object with a copy of these strings; they are not NULL. `fingerprint` may be set afterwards.
 * NULL without memory. */
struct held *held_new(const struct reflector_object *object) __attribute__((warn_unused_result));

/* Frees it and, by `next`, all that follow. NULL is fine. */
void held_free_all(struct held *held);

struct error *held_table_init(struct held_table *table) __attribute__((warn_unused_result));

/* Frees the table with what is in it; the struct is the caller's. */
void held_table_free(struct held_table *table);

/* The object of that name, or NULL. */
struct held *held_table_find(const struct held_table *table, const char *namespace_name,
                             const char *name);

/* Puts `held` in, and returns the one of the same name that it replaces, which is the caller's, or
 * NULL. Never fails: a table that cannot grow gets slower. */
struct held *held_table_put(struct held_table *table, struct held *held);

/* Takes the object of that name out; the caller's now. NULL if there is none. */
struct held *held_table_remove(struct held_table *table, const char *namespace_name,
                               const char *name);

/* Takes out all for which `matches` is true: a list by `next`, the caller's. */
struct held *held_table_extract(struct held_table *table,
                                bool (*matches)(void *context, const struct held *held),
                                void *context);

#endif
