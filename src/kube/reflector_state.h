/*
 * What the reflector's files share. Private to them: reflector.c decides what comes next,
 * reflector_list.c lists, reflector_watch.c watches.
 */
#ifndef SLUICE_KUBE_REFLECTOR_STATE_H
#define SLUICE_KUBE_REFLECTOR_STATE_H

#include <uv.h>

#include "kube/reflector.h"
#include "kube/reflector_store.h"

/* What a reflector is to do next. */
enum reflector_step { REFLECTOR_LIST, REFLECTOR_WATCH };

struct reflector {
    struct reflector_options options; /* what it points to is ours, below, or outlives us */
    char *path;                       /* of the collection; for messages too */
    char *selector;                   /* "&labelSelector=ESCAPED" or "" */
    struct reflector_store store;
    struct operation *operation; /* the page or the watch in flight */
    uv_timer_t timer;   /* the wait before `step`, or in a watch how long it may be silent */
    uv_prepare_t sweep; /* frees what was replaced when the loop turns */
    unsigned handles;   /* of those two that are open */
    enum reflector_step step;
    bool synced;
    unsigned failures;      /* in a row; each doubles the wait */
    unsigned silences;      /* watches in a row in which nothing came */
    bool watch_heard;       /* this watch has told something */
    int64_t watch_since_ms; /* monotonic */
    struct error
        *complaint;       /* what was logged last of a failure that lasts; NULL when all is well */
    int64_t complaint_ms; /* monotonic */
};

/* Asks for the list's first page. An error means that nothing is in flight. */
struct error *reflector_list_begin(struct reflector *reflector) __attribute__((warn_unused_result));

/* Watches from where we are. An error means that nothing is in flight. */
struct error *reflector_watch_begin(struct reflector *reflector)
    __attribute__((warn_unused_result));

/* Goes on with `step` at once. Last call of whoever makes it: nothing is in flight before. */
void reflector_go(struct reflector *reflector, enum reflector_step step);

/* Something failed (takes `error`, never NULL): goes on with `step` after a while. */
void reflector_fail(struct reflector *reflector, enum reflector_step step, struct error *error);

/* What we know is too old or too new for the server (takes `error`): lists at once, or, where that
 * has just been tried, after a while. */
void reflector_start_over(struct reflector *reflector, struct error *error);

/* The API works as it should: the next failure is a first one. */
void reflector_recovered(struct reflector *reflector);

/* Something was told: see to it that what it replaced is freed. */
void reflector_sweep_soon(struct reflector *reflector);

/* Appends `text` as a value in a URL's query. */
void reflector_escape(struct buffer *buffer, const char *text);

#endif
