/*
 * One Event and its repeats: what it says, how often it was told, and how much of that the API
 * knows. Internal to events.
 */
#ifndef SLUICE_KUBE_EVENT_SERIES_H
#define SLUICE_KUBE_EVENT_SERIES_H

#include <jansson.h>
#include <stdbool.h>

#include "kube/events.h"
#include "kube/recent.h"

#define EVENT_REPEAT_MS (6 * 60 * 1000) /* between two writes of one series */
#define EVENT_MEMORY_MS (10 * 60 * 1000)

struct event_series {
    struct recent_entry recent;
    TAILQ_ENTRY(event_series) order; /* of waiting to be written, or of being written */
    struct events *events;
    char *path;           /* of the namespace's events */
    char *object;         /* the name of the object it is about */
    char *name;           /* of the Event */
    char *text;           /* the Event, compact, without its name and series */
    uint32_t count;       /* how often it was told */
    uint32_t written;     /* ... as the API knows; 0: it has no such Event */
    uint32_t sending;     /* ... as the write in flight says */
    int64_t told_wall_ms; /* last */
    int64_t written_ms;   /* monotonic */
    bool waiting;         /* in the queue */
    bool forgotten; /* no longer in the map: to be freed when nothing of it is left to write */
    struct operation *operation;
};

/* Who tells, and when. */
struct event_origin {
    const char *controller;
    const char *instance;
    int64_t wall_ms;
};

/* Keys: of an event that is the same, and of the object that it is about. */
void event_series_key(const struct event *event, char key[RECENT_KEY_SIZE]);
void event_object_key(const struct event *event, char key[RECENT_KEY_SIZE]);

/* An Event told once and not written. NULL without memory. */
struct event_series *event_series_new(const struct event *event, const struct event_origin *origin);
void event_series_free(struct event_series *series);

/* Gives it a name that no other Event has: "OBJECT.HEX", unique by origin and `number`. One name
 * for all tries, so that a create whose answer was lost is not made twice. */
bool event_series_rename(struct event_series *series, const struct event_origin *origin,
                         uint64_t number);

/* Whether something should be written at `now_ms`: an Event that the API does not have, its first
 * repeat, or further ones when the last write is EVENT_REPEAT_MS ago. */
bool event_series_due(const struct event_series *series, int64_t now_ms);

/* What is to be written: the whole Event, or a merge patch of its series. NULL without memory. */
json_t *event_series_object(const struct event_series *series);
json_t *event_series_patch(const struct event_series *series);

/* What an object may say in ever new words: 25 Events at once, then one in five minutes, as
 * client-go's spam filter has it. */
struct event_budget {
    struct recent_entry recent;
    int64_t credit_ms;
};

#define EVENT_BUDGET_STEP_MS (5 * 60 * 1000)
#define EVENT_BUDGET_MS (25 * EVENT_BUDGET_STEP_MS) /* a full one, and the time to fill it */

/* Takes one Event's worth; false where there is none. `now_ms` is not before recent.used_ms. */
bool event_budget_take(struct event_budget *budget, int64_t now_ms);

#endif
