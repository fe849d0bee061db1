/* See flush.h. */
#include "kube/flush.h"

#include "base/cleanup.h"

void flush_init(struct flush *flush, uv_loop_t *loop, void *data)
{
    flush->flushed = NULL;
    flush->context = NULL;
    uv_timer_init(loop, &flush->timer);
    flush->timer.data = data;
}

void flush_done(struct flush *flush)
{
    void (*flushed)(void *context) = TAKE(flush->flushed);

    uv_timer_stop(&flush->timer);
    if (flushed)
        flushed(flush->context);
}

static void on_time(uv_timer_t *timer)
{
    flush_done((struct flush *)timer);
}

void flush_begin(struct flush *flush, int64_t timeout_ms, void (*flushed)(void *context),
                 void *context)
{
    flush->flushed = flushed;
    flush->context = context;
    uv_timer_start(&flush->timer, on_time, timeout_ms > 0 ? (uint64_t)timeout_ms : 0, 0);
}
