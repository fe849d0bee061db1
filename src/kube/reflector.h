/*
 * A copy of one collection of the API, kept up to date: list in pages, then watch with bookmarks
 * from where the list ended, again and again, with jitter.
 *
 * A list that is complete replaces everything; a watch moves single objects, and never backwards:
 * versions compare as decimal strings, so an event older than what we hold (our own writes are put
 * in by reflector_put) is dropped. 410 in whatever form means to list again; a stream that is
 * silent for longer than bookmarks are apart is taken for dead. Objects are held as compact JSON
 * text without managedFields, which is small; whoever needs more parses it.
 */
#ifndef SLUICE_KUBE_REFLECTOR_H
#define SLUICE_KUBE_REFLECTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kube/client.h"

#define REFLECTOR_PAGE 500
#define REFLECTOR_SILENCE_MS 90000

struct reflector;

struct reflector_object {
    const char *namespace_name;
    const char *name;
    const char *uid;
    const char *resource_version;
    uint64_t fingerprint; /* of what the listener cares about */
    const char *text;     /* compact JSON of the object */
    size_t length;
};

struct reflector_listener {
    /* What of an object must change for `changed` to be called: a hash of it. `object` has no
     * managedFields. */
    uint64_t (*fingerprint)(void *context, const json_t *object);
    /* An object is new (`before` NULL), has another fingerprint, or is gone (`now` NULL). One that
     * was replaced by another of its name (the uid differs) is gone and then new: two calls. Both
     * are valid until the loop turns; the call must not free the reflector. */
    void (*changed)(void *context, const struct reflector_object *before,
                    const struct reflector_object *now);
    /* The first list is complete, and all of it has been told. May be NULL; may free the
     * reflector. */
    void (*synced)(void *context);
    void *context;
};

struct reflector_options {
    uv_loop_t *loop;
    const struct clock *clock;
    struct log *log;
    struct kube_client *client;
    struct kube_resource resource;
    const char *namespace_name; /* NULL: all */
    const char *label_selector; /* as text, not escaped; NULL: all */
    bool metadata_only; /* PartialObjectMetadata: for Secrets, whose data is not ours to see */
    uint64_t (*random)(void *context);
    void *random_context;
    int64_t silence_ms; /* REFLECTOR_SILENCE_MS; tests have less time */
};

/* Copies options and listener; nothing happens before reflector_start. NULL without memory. */
struct reflector *reflector_new(const struct reflector_options *options,
                                const struct reflector_listener *listener);

/* Begins to list. Failures are logged (once a minute at most for one that lasts) and tried again
 * for ever, with jittered backoff up to half a minute; what could not even be sent is an error. */
struct error *reflector_start(struct reflector *reflector) __attribute__((warn_unused_result));

/* Stops and frees; nothing is told any more. The loop must run once more. NULL is fine. */
void reflector_free(struct reflector *reflector);

bool reflector_synced(const struct reflector *reflector);
size_t reflector_count(const struct reflector *reflector);

/* The object as we know it, or NULL. `namespace_name` of one that has none is "". Valid until the
 * loop turns. */
const struct reflector_object *reflector_find(const struct reflector *reflector,
                                              const char *namespace_name, const char *name);

/* Takes an object that a write of ours was answered with, unless we hold a newer one, or know that
 * it was deleted since. Calls `changed` like a watch does. ERROR_TRANSIENT, InvalidObject: without
 * name, uid or resourceVersion. */
struct error *reflector_put(struct reflector *reflector, const json_t *object)
    __attribute__((warn_unused_result));

/* Forgets an object that a delete of ours was confirmed for, if it still has that uid. */
void reflector_drop(struct reflector *reflector, const char *namespace_name, const char *name,
                    const char *uid);

/* Calls `visit` for each object; it must not change the reflector. */
void reflector_each(const struct reflector *reflector,
                    void (*visit)(void *context, const struct reflector_object *object),
                    void *context);

/* Below, at or above zero as version `a` is older than, the same as or newer than `b`: decimal
 * strings without leading zeros (KEP-5504). */
int resource_version_compare(const char *a, const char *b);

#endif
