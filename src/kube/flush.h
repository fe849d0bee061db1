/* "Tell me when all is written, at the latest then": for the ends of programs. Internal to kube. */
#ifndef SLUICE_KUBE_FLUSH_H
#define SLUICE_KUBE_FLUSH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct flush {
    uv_timer_t timer;
    void (*flushed)(void *context); /* NULL while nobody waits */
    void *context;
};

/* Initialises in place; `data` becomes the timer's. */
void flush_init(struct flush *flush, uv_loop_t *loop, void *data);

/* Calls `flushed` at flush_done or after `timeout_ms`; with 0, at the next turn of the loop. One at
 * a time: a later call takes the place of an earlier one. */
void flush_begin(struct flush *flush, int64_t timeout_ms, void (*flushed)(void *context),
                 void *context);

/* All is written: whoever waits is told. It may free what the flush is part of, so this comes last.
 */
void flush_done(struct flush *flush);

#endif
