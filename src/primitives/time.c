/* time.now and time.sleep: the only clock that Lua has. */
#include <stdlib.h>

#include "base/json.h"
#include "primitives/call.h"

#define SLEEP_MAX_SECONDS 60.0

struct error *primitive_time_now(struct primitive_call *call, const json_t *arguments,
                                 const char *bytes, size_t length)
{
    double seconds = (double)clock_wall_ms(call->services->clock) / 1000.0;

    (void)arguments;
    (void)bytes;
    (void)length;
    return call_answer_later(call, NULL, json_pack("{s:f}", "seconds", seconds), NULL, 0);
}

struct sleep {
    struct operation operation;
    uv_timer_t timer;
    struct primitive_call *call;
};

static void sleep_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void sleep_cancel(struct operation *operation)
{
    struct sleep *sleep = (struct sleep *)operation;

    uv_close((uv_handle_t *)&sleep->timer, sleep_closed);
}

static void sleep_over(uv_timer_t *timer)
{
    struct sleep *sleep = timer->data;
    struct primitive_call *call = sleep->call;
    _cleanup_(json) json_t *nothing = json_object();

    uv_close((uv_handle_t *)timer, sleep_closed);
    call_answer(call, nothing ? NULL : error_out_of_memory(), nothing, NULL, 0);
}

struct error *primitive_time_sleep(struct primitive_call *call, const json_t *arguments,
                                   const char *bytes, size_t length)
{
    const json_t *value = json_object_get(arguments, "seconds");
    double seconds = json_number_value(value);
    struct sleep *sleep;

    (void)bytes;
    (void)length;
    if (!json_is_number(value) || !(seconds >= 0) || seconds > SLEEP_MAX_SECONDS)
        return call_answer_later(call,
                                 error_new(ERROR_CONFIGURATION, "InvalidRequest",
                                           "time.sleep: accepted: 0 to 60 seconds"),
                                 NULL, NULL, 0);
    sleep = calloc(1, sizeof(*sleep));
    if (!sleep)
        return error_out_of_memory();
    sleep->operation.cancel = sleep_cancel;
    sleep->call = call;
    sleep->timer.data = sleep;
    uv_timer_init(call->services->loop, &sleep->timer);
    uv_timer_start(&sleep->timer, sleep_over, (uint64_t)(seconds * 1000), 0);
    call->operation = &sleep->operation;
    return NULL;
}
