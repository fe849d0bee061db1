/* A transformer for tests: its zygote is the test program itself, started again by /proc/self/exe.
 */
#ifndef SLUICE_TEST_TRANSFORM_WORLD_H
#define SLUICE_TEST_TRANSFORM_WORLD_H

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "lua/host.h"
#include "lua/transform.h"

/* A program whose zygotes are itself begins its main with this. */
#define TRANSFORM_WORLD_MAIN(argc, argv)                  \
    if ((argc) > 1 && strcmp((argv)[1], "lua-host") == 0) \
    return lua_host_main((argc)-1, (argv) + 1)

struct world {
    uv_loop_t loop;
    struct blob_store *blobs;
    struct transformer *transformer;
};

/* What came of one run. */
struct outcome {
    struct world *world;
    struct operation *operation;
    unsigned done;
    unsigned order; /* the how-manieth of all runs this was */
    struct error *error;
    bool explicit_error;
    struct payload *output;
    json_t *metadata;
    char logs[32768]; /* each line ended by '\n' */
};

static inline void world_open(struct world *world, const struct lua_module_set *modules,
                              unsigned concurrency)
{
    memset(world, 0, sizeof(*world));
    assert_int_equal(uv_loop_init(&world->loop), 0);
    world->blobs = blob_store_new("/tmp", (size_t)64 << 20);
    struct transformer_options options = {
        .loop = &world->loop,
        .blobs = world->blobs,
        .clock = &clock_system,
        .concurrency = concurrency,
    };

    assert_null(transformer_new(&options, modules, &world->transformer));
}

static inline void world_close(struct world *world)
{
    transformer_free(TAKE(world->transformer));
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    blob_store_free(world->blobs);
}

static inline void outcome_free(struct outcome *outcome)
{
    error_free(outcome->error);
    payload_free(outcome->output);
    json_decref(outcome->metadata);
}

static inline void on_run_done(void *context, struct error *error, bool explicit_error,
                               struct transform_result *result, const char *const *logs,
                               size_t log_count)
{
    static unsigned order;
    struct outcome *outcome = context;
    size_t used = 0;

    outcome->done++;
    outcome->order = ++order;
    outcome->operation = NULL;
    outcome->error = error;
    outcome->explicit_error = explicit_error;
    if (result) {
        outcome->output = TAKE(result->output);
        outcome->metadata = json_deep_copy(result->metadata);
    }
    for (size_t i = 0; i < log_count; i++)
        used +=
            (size_t)snprintf(outcome->logs + used, sizeof(outcome->logs) - used, "%s\n", logs[i]);
}

static inline struct payload *payload_of_text(struct world *world, const char *text, size_t length)
{
    struct blob *blob = NULL;

    assert_null(blob_from_bytes(world->blobs, text, length, &blob));
    return payload_new_single(blob);
}

static inline struct transform_call call_of(const char *script, const struct payload *input)
{
    return (struct transform_call){
        .label = "h",
        .text = script,
        .text_length = script ? strlen(script) : 0,
        .input = input,
        .limits = {30000, (uint64_t)64 << 20, (uint64_t)1 << 20},
    };
}

static inline void start_run(struct world *world, const struct transform_call *call,
                             struct outcome *outcome)
{
    memset(outcome, 0, sizeof(*outcome));
    outcome->world = world;
    assert_null(transform_run(world->transformer, call, on_run_done, outcome, &outcome->operation));
    assert_int_equal(outcome->done, 0);
}

static inline void wait_for(struct outcome *outcome)
{
    while (!outcome->done)
        uv_run(&outcome->world->loop, UV_RUN_ONCE);
    assert_int_equal(outcome->done, 1);
}

static inline void run_call(struct world *world, const struct transform_call *call,
                            struct outcome *outcome)
{
    start_run(world, call, outcome);
    wait_for(outcome);
}

/* Runs `script` on the text `input`. */
static inline void run_script(struct world *world, const char *script, const char *input,
                              struct outcome *outcome)
{
    _cleanup_(payload) struct payload *payload = payload_of_text(world, input, strlen(input));
    struct transform_call call = call_of(script, payload);

    run_call(world, &call, outcome);
}

/* The files as "path=content;", a single one as its content. Freed by the caller. */
static inline char *output_text(const struct outcome *outcome)
{
    struct buffer text = BUFFER_INIT;

    for (size_t i = 0; i < outcome->output->count; i++) {
        const struct payload_file *file = &outcome->output->files[i];
        char *bytes = NULL;
        size_t length;

        assert_null(blob_read_all(file->blob, 1 << 20, &bytes, &length));
        if (file->path)
            buffer_appendf(&text, "%s=%s;", file->path, bytes);
        else
            buffer_append(&text, bytes, length);
        free(bytes);
    }
    buffer_append(&text, "", 0);
    return text.bytes ? buffer_steal(&text) : strdup("");
}

static inline void assert_output(const struct outcome *outcome, const char *expected)
{
    if (outcome->error)
        fail_msg("%s: %s", outcome->error->reason, outcome->error->message);
    char *text = output_text(outcome);

    assert_string_equal(text, expected);
    free(text);
}

static inline void assert_failed(const struct outcome *outcome, const char *reason,
                                 const char *message)
{
    assert_null(outcome->output);
    assert_non_null(outcome->error);
    assert_string_equal(outcome->error->message, message);
    assert_string_equal(outcome->error->reason, reason);
}

#endif
