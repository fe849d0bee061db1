/*
 * Something in flight: a fetch, a store, a call into Lua.
 *
 * The rule of every asynchronous function here: `start(…, done, context, &operation)` either
 * returns an error and nothing is in flight, or returns NULL and then exactly one of two things
 * happens: `done` is called once, never from inside start; or operation_cancel is called first, and
 * `done` never is. After either, the operation is gone and the pointer dead. `context` may be freed
 * as soon as cancel returns.
 *
 * Implementations put `struct operation` first in their own struct.
 */
#ifndef SLUICE_BASE_OPERATION_H
#define SLUICE_BASE_OPERATION_H

struct operation {
    void (*cancel)(struct operation *operation);
};

/* Cancels and forgets *operation; NULL is fine. */
static inline __attribute__((unused)) void operation_cancel(struct operation **operation)
{
    struct operation *taken = *operation;

    *operation = NULL;
    if (taken)
        taken->cancel(taken);
}

#endif
