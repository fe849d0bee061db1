/*
 * The chain of hooks: each one's output is the next one's input, and what comes out at the end is
 * packed.
 *
 * Lua transforms run in the sandbox; commands belong to the hook executor. A hook that fails ends
 * the chain, unless its retryPolicy is `ignore` and it did not refuse on purpose: then the next
 * hook gets its input unchanged. A transform is a pure function, so `retry` never runs one again on
 * the same input.
 */
#ifndef SLUICE_HOOK_CHAIN_H
#define SLUICE_HOOK_CHAIN_H

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/operation.h"
#include "catalog/catalog.h"
#include "lua/transform.h"
#include "metrics/metrics.h"
#include "source/payload.h"
#include "source/source.h"

struct hook_chain_call {
    struct transformer *transformer;
    struct catalog *catalog; /* places of messages, events */
    struct log *log;
    const struct log_subject *subject;
    const struct clock *clock;
    struct metrics *metrics;
    const struct hook_list *hooks; /* of `source`, which must live until the chain ends */
    const struct source *source;
    struct payload *input; /* taken, also on failure */
    json_t *metadata;      /* what the generator said; referenced */
};

/* Exactly one of `error` (owned by the receiver) and `output` (taken by the receiver) is not NULL.
 * `metadata` (object of strings, borrowed) has what the generator and the hooks said. `log` (valid
 * during the call) has the last lines that the hook which failed logged, each ended by a newline;
 * "" if there are none. */
typedef void (*hook_chain_done)(void *context, struct error *error, struct payload *output,
                                json_t *metadata, const char *log);

/* Refuses, before anything is fetched, what the chain could not run: ERROR_CONFIGURATION,
 * InvalidSpec. */
struct error *hook_chain_check(const struct source_spec *spec) __attribute__((warn_unused_result));

struct error *hook_chain_run(const struct hook_chain_call *call, hook_chain_done done,
                             void *context, struct operation **operation)
    __attribute__((warn_unused_result));

#endif
