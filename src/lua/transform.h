/*
 * Transforms: Lua of people who are not trusted, each run in a fresh child of the zygote.
 *
 * The core sends a run with the script and read-only descriptors of its input, and gets back how
 * the child ended and its output, a memfd that is read only after the child has been reaped: a
 * script can neither forge a result nor outlive its run. Limits: CPU and wall time, heap, output;
 * SIGKILL at the limit.
 */
#ifndef SLUICE_LUA_TRANSFORM_H
#define SLUICE_LUA_TRANSFORM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/operation.h"
#include "lua/modules.h"
#include "source/payload.h"

#define TRANSFORM_WALL_MS 30000
#define TRANSFORM_HEAP_BYTES ((uint64_t)256 << 20)
#define TRANSFORM_OUTPUT_BYTES ((uint64_t)128 << 20)

struct transform_limits {
    int64_t wall_ms;       /* from the start of the child; CPU time is bounded by the same */
    uint64_t heap_bytes;   /* of the Lua heap */
    uint64_t output_bytes; /* of all results together */
};

struct transformer;

struct transformer_options {
    uv_loop_t *loop;
    struct log *log;
    struct blob_store *blobs;
    const struct clock *clock;
    unsigned concurrency; /* children at once; more runs wait in order */
};

/* Starts a zygote that knows the transform and library modules of `modules` (copied). A zygote that
 * dies is started again; runs that it had are failed as Crashed. */
struct error *transformer_new(const struct transformer_options *options,
                              const struct lua_module_set *modules,
                              struct transformer **transformer) __attribute__((warn_unused_result));

void transformer_free(struct transformer *transformer);

/* True while a run waits or is in flight. */
bool transformer_busy(const struct transformer *transformer);

struct transform_call {
    const char
        *label; /* the hook's name, for messages: "hook 'to-configmap' line 7: …"; NULL for the
                   script itself (`sluice transform`): "script.lua line 7: …" with chunk_name */
    const char *chunk_name;
    const char
        *place; /* "FILE:LINE" where `text` begins in its manifest: a message about a line of the
                   script ends with its place there, " (FILE:LINE)"; NULL if there is none */
    const char *text; /* inline source of `text_length` bytes; NULL to run `module` */
    size_t text_length;
    const char *module;
    const struct payload *input; /* copied by reference */
    const json_t *env;           /* object of strings: ctx.env */
    const json_t *source;        /* ctx.source: namespace, name, labels, generation; may be NULL */
    const json_t *metadata;      /* ctx.metadata: object of strings */
    struct transform_limits limits;
    bool allow_empty; /* spec.allowEmpty: nil, "" and {} are results */
};

struct transform_result {
    struct payload *output; /* the receiver takes it with TAKE, or it is freed after the call */
    const json_t *metadata; /* strings that the script added, or NULL */
};

/* Exactly one of `error` and `result` is not NULL. `logs` are the last lines (at most 20) that the
 * script logged, "level: text", also when it failed. Errors are ERROR_HOOK with reason EmptyResult,
 * InvalidResult, Timeout, MemoryLimit, OutputLimit, Crashed, HookFailed (a run-time or syntax
 * error), or the script's own from error{reason=…}. `explicit` is true for the last: a refusal that
 * was meant, which retryPolicy: ignore does not pass over. */
typedef void (*transform_done)(void *context, struct error *error, bool explicit,
                               struct transform_result *result, const char *const *logs,
                               size_t log_count);

struct error *transform_run(struct transformer *transformer, const struct transform_call *call,
                            transform_done done, void *context, struct operation **operation)
    __attribute__((warn_unused_result));

#endif
