/*
 * The work queue: which source is reconciled when.
 *
 * A source is in it at most once, however often it is added; the earliest time asked for wins. One
 * that is added while it runs runs again afterwards, never twice at once. At most `concurrency` run
 * together. Everything happens on the loop's thread.
 */
#ifndef SLUICE_RECONCILE_QUEUE_H
#define SLUICE_RECONCILE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/clock.h"
#include "base/error.h"

struct queue;

/* Starts work on a source; queue_done follows when it ends. `due` is true if the time that
 * queue_done set has come, false if somebody asked earlier. Called from the loop, never from inside
 * queue_add. */
typedef void (*queue_run)(void *context, const char *namespace_name, const char *name, bool due);

struct queue *queue_new(uv_loop_t *loop, const struct clock *clock, unsigned concurrency,
                        queue_run run, void *context); /* NULL without memory */

/* Nothing may be running. The loop must run once more, to close the queue's timer. */
void queue_free(struct queue *queue);

/* Asks for a run in `delay_ms` (0: now) or earlier. Without memory the error is the caller's. */
struct error *queue_add(struct queue *queue, const char *namespace_name, const char *name,
                        int64_t delay_ms) __attribute__((warn_unused_result));

/* The run of a source has ended. `delay_ms` is when it is due again, negative for never; an earlier
 * time asked for meanwhile wins. */
void queue_done(struct queue *queue, const char *namespace_name, const char *name,
                int64_t delay_ms);

/* Forgets a source that does not run. */
void queue_forget(struct queue *queue, const char *namespace_name, const char *name);

/* Sources in the queue, those that run included. */
size_t queue_length(const struct queue *queue);

/* Makes every source due at a random moment within `spread_ms`, or when it is due anyway if that is
 * earlier; one that runs will run again. */
void queue_wake_all(struct queue *queue, int64_t spread_ms, uint64_t (*random)(void *context),
                    void *random_context);

/* Starts no more work; what runs goes on. */
void queue_stop(struct queue *queue);

/* Goes on after queue_stop. */
void queue_resume(struct queue *queue);

#endif
