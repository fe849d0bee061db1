/* See recent.h. A chained hash table and a list in the order of use. */
#include "kube/recent.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"

TAILQ_HEAD(order, recent_entry);

struct recent {
    size_t limit;
    size_t count;
    void (*forget)(struct recent_entry *entry);
    struct order order;
    size_t width; /* of the table: a power of two */
    struct recent_entry **table;
};

struct recent *recent_new(size_t limit, void (*forget)(struct recent_entry *entry))
{
    struct recent *recent = calloc(1, sizeof(*recent));

    if (!recent)
        return NULL;
    recent->limit = limit;
    recent->forget = forget;
    TAILQ_INIT(&recent->order);
    recent->width = 16;
    while (recent->width < limit / 4)
        recent->width *= 2;
    recent->table = calloc(recent->width, sizeof(struct recent_entry *));
    if (recent->table)
        return recent;
    free(recent);
    return NULL;
}

void recent_key(const char *const *strings, size_t count, char key[RECENT_KEY_SIZE])
{
    _cleanup_(sha256) struct sha256 *digest = sha256_new();
    char hex[SHA256_HEX_SIZE] = "";

    for (size_t i = 0; digest && i < count; i++) {
        const char *string = strings[i] ? strings[i] : "";

        sha256_update(digest, string, strlen(string) + 1);
    }
    if (digest)
        sha256_final(digest, hex);
    memcpy(key, hex, RECENT_KEY_SIZE - 1);
    key[RECENT_KEY_SIZE - 1] = '\0';
}

static struct recent_entry **slot_of(struct recent *recent, const char *key)
{
    char head[9] = "";

    memcpy(head, key, strnlen(key, sizeof(head) - 1));
    return &recent->table[strtoul(head, NULL, 16) & (recent->width - 1)];
}

struct recent_entry *recent_find(struct recent *recent, const char *key)
{
    struct recent_entry *entry = *slot_of(recent, key);

    while (entry && strcmp(entry->key, key) != 0)
        entry = entry->next;
    return entry;
}

void recent_use(struct recent *recent, struct recent_entry *entry, int64_t now_ms)
{
    entry->used_ms = now_ms;
    TAILQ_REMOVE(&recent->order, entry, order);
    TAILQ_INSERT_TAIL(&recent->order, entry, order);
}

void recent_remove(struct recent *recent, struct recent_entry *entry)
{
    struct recent_entry **link = slot_of(recent, entry->key);

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    TAILQ_REMOVE(&recent->order, entry, order);
    recent->count--;
}

static void forget_oldest(struct recent *recent)
{
    struct recent_entry *oldest = TAILQ_FIRST(&recent->order);

    recent_remove(recent, oldest);
    recent->forget(oldest);
}

void recent_add(struct recent *recent, struct recent_entry *entry, const char *key, int64_t now_ms)
{
    struct recent_entry **slot = slot_of(recent, key);

    memcpy(entry->key, key, RECENT_KEY_SIZE);
    entry->used_ms = now_ms;
    entry->next = *slot;
    *slot = entry;
    TAILQ_INSERT_TAIL(&recent->order, entry, order);
    if (++recent->count > recent->limit)
        forget_oldest(recent);
}

void recent_expire(struct recent *recent, int64_t before_ms)
{
    while (recent->count > 0 && TAILQ_FIRST(&recent->order)->used_ms <= before_ms)
        forget_oldest(recent);
}

void recent_each(struct recent *recent, void (*visit)(struct recent_entry *entry))
{
    struct recent_entry *entry;

    TAILQ_FOREACH(entry, &recent->order, order)
    visit(entry);
}

void recent_free(struct recent *recent)
{
    if (!recent)
        return;
    while (recent->count > 0)
        forget_oldest(recent);
    free(recent->table);
    free(recent);
}
