/*
 * What a reflector holds, and what of it is told: the rules by which objects replace each other.
 * Private to the reflector.
 *
 * It knows nothing of requests. A watch's events come by reflector_store_event, whole lists by the
 * three list functions, our own writes by put and drop. `version` is up to where the API has told
 * us everything: what is older is stale.
 */
#ifndef SLUICE_KUBE_REFLECTOR_STORE_H
#define SLUICE_KUBE_REFLECTOR_STORE_H

#include "kube/reflector.h"
#include "kube/reflector_table.h"

struct reflector_store {
    struct held_table table;
    struct reflector_listener listener;
    bool metadata_only;
    char *version;         /* "" before the first list */
    uint32_t list;         /* number of the list that runs or ran last */
    struct held *pending;  /* what that list has told and we do not hold so */
    struct held *replaced; /* no longer in the table, freed by reflector_store_sweep */
};

/* `metadata_only`: whatever comes, nothing but apiVersion, kind and metadata is kept. */
struct error *reflector_store_init(struct reflector_store *store,
                                   const struct reflector_listener *listener, bool metadata_only)
    __attribute__((warn_unused_result));

/* Frees what it holds; the struct is the caller's. */
void reflector_store_free(struct reflector_store *store);

/* Frees objects that were replaced or have gone: when nobody can look at them any more. */
void reflector_store_sweep(struct reflector_store *store);

enum reflector_event {
    REFLECTOR_EVENT_SET, /* ADDED or MODIFIED */
    REFLECTOR_EVENT_DELETED,
};

/* An event of a watch: takes it over and tells, unless it is older than what we know; `version`
 * moves on. ERROR_TRANSIENT, InvalidObject: it is no object with a name and a version. */
struct error *reflector_store_event(struct reflector_store *store, enum reflector_event event,
                                    const json_t *object) __attribute__((warn_unused_result));

/* A bookmark: `version` moves to `version`. *behind is true, and nothing moves, if it is older than
 * ours: then the API's own past is another than the one we saw (an etcd was restored). */
struct error *reflector_store_bookmark(struct reflector_store *store, const char *version,
                                       bool *behind) __attribute__((warn_unused_result));

/* A list begins, or begins again: what an unfinished one has told is forgotten. */
void reflector_store_list_begin(struct reflector_store *store);

/* A page's items. `page` is a List object; items without apiVersion and kind (those of built-in
 * resources) are given them, so that they read like a watch's. */
struct error *reflector_store_list_page(struct reflector_store *store, const json_t *page)
    __attribute__((warn_unused_result));

/* The list is complete, and was taken at `version`: it replaces everything but what writes of ours
 * have put in since it began, and the difference is told. */
struct error *reflector_store_list_end(struct reflector_store *store, const char *version)
    __attribute__((warn_unused_result));

/* See reflector.h. */
struct error *reflector_store_put(struct reflector_store *store, const json_t *object)
    __attribute__((warn_unused_result));
void reflector_store_drop(struct reflector_store *store, const char *namespace_name,
                          const char *name, const char *uid);

#endif
