/* See delay.h. */
#include "base/delay.h"

#include <stdlib.h>

struct delay {
    struct operation operation; /* first: see operation.h */
    uv_timer_t timer;
    void (*done)(void *context);
    void *context;
};

static void closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void cancel(struct operation *operation)
{
    struct delay *delay = (struct delay *)operation;

    uv_close((uv_handle_t *)&delay->timer, closed);
}

static void on_timer(uv_timer_t *timer)
{
    struct delay *delay = timer->data;

    uv_close((uv_handle_t *)timer, closed);
    delay->done(delay->context);
}

struct error *delay_start(uv_loop_t *loop, int64_t delay_ms, void (*done)(void *context),
                          void *context, struct operation **operation)
{
    struct delay *delay = calloc(1, sizeof(*delay));

    if (!delay)
        return error_out_of_memory();
    delay->operation.cancel = cancel;
    delay->done = done;
    delay->context = context;
    uv_timer_init(loop, &delay->timer);
    delay->timer.data = delay;
    uv_timer_start(&delay->timer, on_timer, delay_ms > 0 ? (uint64_t)delay_ms : 0, 0);
    *operation = &delay->operation;
    return NULL;
}
