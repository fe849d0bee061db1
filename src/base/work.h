/*
 * Slow work (disk, hashing, compression) on libuv's thread pool, as an operation (operation.h).
 *
 * Implementations put `struct work` first in their own struct, which holds references to everything
 * that `run` touches: work that is cancelled while it runs goes on for a while without its owner.
 */
#ifndef SLUICE_BASE_WORK_H
#define SLUICE_BASE_WORK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "base/operation.h"

struct work;

struct work_ops {
    void (*run)(struct work *work);     /* on a thread of the pool */
    void (*deliver)(struct work *work); /* on the loop, when run has ended; not if cancelled */
    void (*free)(struct work *work);    /* on the loop, last of all */
};

struct work {
    struct operation operation;
    const struct work_ops *ops;
    uv_work_t request;
    atomic_bool cancelled;
};

/* Queues `work`, which is zero but for what the implementation added; it is freed in any case, here
 * on error (ERROR_INTERNAL). */
struct error *work_start(uv_loop_t *loop, struct work *work, const struct work_ops *ops,
                         struct operation **operation) __attribute__((warn_unused_result));

/* True once nobody waits for the result any more: a long run looks now and then, and ends early. */
static inline __attribute__((unused)) bool work_cancelled(struct work *work)
{
    return atomic_load_explicit(&work->cancelled, memory_order_relaxed);
}

#endif
