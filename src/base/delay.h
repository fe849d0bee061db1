/* A call that comes later, as an operation (operation.h): for answers that are known at once, which
 * must not come from inside the start, and for pauses between tries. */
#ifndef SLUICE_BASE_DELAY_H
#define SLUICE_BASE_DELAY_H

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/operation.h"

/* Calls `done` on the loop after `delay_ms`; 0: at its next turn. */
struct error *delay_start(uv_loop_t *loop, int64_t delay_ms, void (*done)(void *context),
                          void *context, struct operation **operation)
    __attribute__((warn_unused_result));

#endif
