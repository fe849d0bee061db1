/*
 * For tests that decide what the world around them answers: a journal of what was asked for, faults
 * that the next call of a verb meets, and calls that are held back until the test lets them go.
 * A call is a deferred completion by the rule of base/operation.h, on the loop's next turn.
 */
#ifndef SLUICE_TEST_SCRIPT_WORLD_H
#define SLUICE_TEST_SCRIPT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/json.h"
#include "base/operation.h"

#define SCRIPT_FAULTS_MAX 16

struct script {
    uv_loop_t *loop;
    struct buffer journal; /* "VERB DETAIL;" of each call that had its effect */
    struct {
        const char *verb; /* NULL: none */
        enum error_kind kind;
        const char *reason;
        const char *message;
        unsigned times;
    } faults[SCRIPT_FAULTS_MAX];
    const char *held; /* the verb whose calls wait; NULL: none do */
    struct deferred *waiting;
};

struct deferred {
    struct operation operation;
    uv_timer_t timer;
    struct script *script;
    const char *verb;
    struct deferred *next; /* among those that wait */
    /* Has the call's effect, unless `fault` (taken) is not NULL, and calls its `done`. */
    void (*finish)(struct deferred *deferred, struct error *fault);
    void *world;
    void (*done)(void);
    void *context;
    char *key;
    char *version;
    json_t *json;
};

static inline void script_note(struct script *script, const char *verb, const char *detail)
{
    buffer_appendf(&script->journal, "%s%s%s;", verb, *detail ? " " : "", detail);
}

static inline void script_clear(struct script *script)
{
    buffer_free(&script->journal);
}

/* The next `times` calls of `verb` fail like this. */
static inline void script_fail(struct script *script, const char *verb, enum error_kind kind,
                               const char *reason, const char *message, unsigned times)
{
    for (size_t i = 0; i < SCRIPT_FAULTS_MAX; i++) {
        if (script->faults[i].times > 0)
            continue;
        script->faults[i].verb = verb;
        script->faults[i].kind = kind;
        script->faults[i].reason = reason;
        script->faults[i].message = message;
        script->faults[i].times = times;
        return;
    }
    fail_msg("too many faults");
}

static inline struct error *script_fault(struct script *script, const char *verb)
{
    for (size_t i = 0; i < SCRIPT_FAULTS_MAX; i++) {
        if (script->faults[i].times == 0 || strcmp(script->faults[i].verb, verb) != 0)
            continue;
        script->faults[i].times--;
        return error_new(script->faults[i].kind, script->faults[i].reason, "%s",
                         script->faults[i].message);
    }
    return NULL;
}

static inline void deferred_closed(uv_handle_t *handle)
{
    struct deferred *deferred = handle->data;

    free(deferred->key);
    free(deferred->version);
    json_decref(deferred->json);
    free(deferred);
}

static inline void deferred_unlink(struct deferred *deferred)
{
    struct deferred **link = &deferred->script->waiting;

    while (*link && *link != deferred)
        link = &(*link)->next;
    if (*link)
        *link = deferred->next;
}

static inline void deferred_cancel(struct operation *operation)
{
    struct deferred *deferred = (struct deferred *)operation;

    deferred_unlink(deferred);
    buffer_appendf(&deferred->script->journal, "cancelled %s;", deferred->verb);
    uv_close((uv_handle_t *)&deferred->timer, deferred_closed);
}

static inline void deferred_fired(uv_timer_t *timer)
{
    struct deferred *deferred = timer->data;

    uv_close((uv_handle_t *)timer, deferred_closed);
    deferred->finish(deferred, script_fault(deferred->script, deferred->verb));
}

static inline struct deferred *
script_call(struct script *script, const char *verb,
            void (*finish)(struct deferred *deferred, struct error *fault), void *world,
            void (*done)(void), void *context, struct operation **operation)
{
    struct deferred *deferred = calloc(1, sizeof(*deferred));

    deferred->operation.cancel = deferred_cancel;
    deferred->script = script;
    deferred->verb = verb;
    deferred->finish = finish;
    deferred->world = world;
    deferred->done = done;
    deferred->context = context;
    deferred->timer.data = deferred;
    uv_timer_init(script->loop, &deferred->timer);
    if (script->held && strcmp(script->held, verb) == 0) {
        deferred->next = script->waiting;
        script->waiting = deferred;
    } else {
        uv_timer_start(&deferred->timer, deferred_fired, 0, 0);
    }
    *operation = &deferred->operation;
    return deferred;
}

/* Lets the calls go that were held back, and holds no more. */
static inline void script_release(struct script *script)
{
    script->held = NULL;
    while (script->waiting) {
        struct deferred *deferred = script->waiting;

        script->waiting = deferred->next;
        uv_timer_start(&deferred->timer, deferred_fired, 0, 0);
    }
}

#endif
