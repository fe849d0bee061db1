/*
 * A map that remembers a bounded number of things for a bounded time: what was used longest ago is
 * forgotten first. Keys are digests, so that an entry costs the same whatever it is about. Internal
 * to events.
 */
#ifndef SLUICE_KUBE_RECENT_H
#define SLUICE_KUBE_RECENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define RECENT_KEY_SIZE 33 /* half a sha256 in hex, and NUL */

/* Stands first in what is remembered. */
struct recent_entry {
    TAILQ_ENTRY(recent_entry) order; /* of use, the latest last */
    struct recent_entry *next;       /* with the same hash */
    char key[RECENT_KEY_SIZE];
    int64_t used_ms;
};

struct recent;

/* Holds at most `limit` entries. `forget` is called with each that is too many, too old, or there
 * when the map is freed: it is not in the map any more and belongs to the callee. NULL without
 * memory. */
struct recent *recent_new(size_t limit, void (*forget)(struct recent_entry *entry));
void recent_free(struct recent *recent);

/* The key of `count` strings; NULL counts as "". */
void recent_key(const char *const *strings, size_t count, char key[RECENT_KEY_SIZE]);

/* The entry with this key, or NULL. */
struct recent_entry *recent_find(struct recent *recent, const char *key);

/* Marks it as used. */
void recent_use(struct recent *recent, struct recent_entry *entry, int64_t now_ms);

/* Takes an entry with a key that is not there yet. */
void recent_add(struct recent *recent, struct recent_entry *entry, const char *key, int64_t now_ms);

/* Gives an entry back to the caller; `forget` is not called. */
void recent_remove(struct recent *recent, struct recent_entry *entry);

/* Forgets whatever was last used at `before_ms` or earlier. */
void recent_expire(struct recent *recent, int64_t before_ms);

/* Calls `visit` for each entry; of the map's entries it may remove others, and add none. */
void recent_each(struct recent *recent, void (*visit)(struct recent_entry *entry));

#endif
