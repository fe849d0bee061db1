/*
 * The chain is one operation that holds the payload and the number of the hook it is at; each
 * hook's completion starts the next. See chain.h.
 */
#include "hook/chain.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/json.h"

struct chain {
    struct operation operation; /* first: see base/operation.h */
    struct hook_chain_call call;
    struct payload *payload;
    json_t *metadata;
    json_t *source; /* ctx.source */
    size_t index;
    struct buffer lines; /* that the current hook logged */
    int64_t hook_started_ms;
    struct operation *running;
    hook_chain_done done;
    void *context;
};

static void chain_free(struct chain *chain)
{
    payload_free(chain->payload);
    json_decref(chain->metadata);
    json_decref(chain->source);
    buffer_free(&chain->lines);
    free(chain);
}

static void chain_cancel(struct operation *operation)
{
    struct chain *chain = (struct chain *)operation;

    operation_cancel(&chain->running);
    chain_free(chain);
}

static void chain_finish(struct chain *chain, struct error *error)
{
    if (error)
        chain->done(chain->context, error, NULL, NULL, buffer_string(&chain->lines));
    else
        chain->done(chain->context, NULL, TAKE(chain->payload), chain->metadata, "");
    chain_free(chain);
}

static struct error *refuse_command(const struct hook_spec *hook)
{
    _cleanup_(free) char *field = format_string("%s.command", hook->path);
    struct error *error = error_new(
        ERROR_CONFIGURATION, "InvalidSpec",
        "%s.command: found the command '%s', but this version has no hook executor; accepted: "
        "'lua' (an inline transform) or 'module' (one of the platform's)",
        hook->path, hook->command);

    return error_about_field(error, field);
}

struct error *hook_chain_check(const struct source_spec *spec)
{
    if (spec->pre_request.count > 0) {
        const struct hook_spec *hook = &spec->pre_request.hooks[0];

        if (hook->kind == HOOK_COMMAND)
            return refuse_command(hook);
        return error_about_field(
            error_new(ERROR_CONFIGURATION, "InvalidSpec",
                      "%s: found a Lua hook, but before the request only commands can run; "
                      "move it to spec.hooks.postRequest",
                      hook->path),
            hook->path);
    }
    for (size_t i = 0; i < spec->post_request.count; i++) {
        if (spec->post_request.hooks[i].kind == HOOK_COMMAND)
            return refuse_command(&spec->post_request.hooks[i]);
    }
    return NULL;
}

/* What a transform sees of its source; nothing that it could not read in its own manifest. */
static json_t *source_for_lua(const struct source *source)
{
    return json_pack("{s:s, s:s, s:I, s:O}", "namespace", source->namespace_name, "name",
                     source->name, "generation", (json_int_t)source->generation, "labels",
                     source->labels);
}

static json_t *environment_for_lua(const struct hook_spec *hook)
{
    json_t *environment = json_object();

    for (size_t i = 0; environment && i < hook->env_count; i++) {
        if (json_object_set_new(environment, hook->env[i].name, json_string(hook->env[i].value)))
            json_decref(TAKE(environment));
    }
    return environment;
}

static const struct hook_spec *current_hook(const struct chain *chain)
{
    return &chain->call.hooks->hooks[chain->index];
}

static void count_hook(const struct chain *chain, bool success)
{
    int64_t elapsed_ms = clock_monotonic_ms(chain->call.clock) - chain->hook_started_ms;
    const char *labels[] = {"lua", success ? "true" : "false"};

    metrics_add(chain->call.metrics, &metric_hook_execution_total, labels, 1);
    metrics_observe(chain->call.metrics, &metric_hook_execution_duration_seconds, labels,
                    (double)elapsed_ms / 1000.0);
}

/* Tells that a failed hook was passed over, where the person who wrote `ignore` will look. */
static void report_ignored(struct chain *chain, const struct error *error)
{
    _cleanup_(free) char *message =
        format_string("%s; ignored by retryPolicy, its input goes on unchanged", error->message);
    struct catalog_event event = {CATALOG_WARNING, error->reason,
                                  message ? message : error->message, NULL};

    catalog_event(chain->call.catalog, chain->call.source, &event);
}

static void take_lines(struct chain *chain, const char *const *lines, size_t count)
{
    buffer_free(&chain->lines);
    for (size_t i = 0; i < count; i++) {
        log_info(chain->call.log, chain->call.subject, lines[i], "hook", current_hook(chain)->name,
                 NULL);
        buffer_appendf(&chain->lines, "%s\n", lines[i]);
    }
}

static struct error *chain_step(struct chain *chain);

/* Goes on with the next hook, or ends the chain after the last. */
static void chain_continue(struct chain *chain)
{
    if (++chain->index == chain->call.hooks->count) {
        chain_finish(chain, NULL);
        return;
    }
    struct error *error = chain_step(chain);
    if (error)
        chain_finish(chain, error);
}

static struct error *add_metadata(struct chain *chain, const json_t *metadata)
{
    if (!metadata)
        return NULL;
    return json_object_update(chain->metadata, (json_t *)metadata) ? error_out_of_memory() : NULL;
}

static void hook_done(void *context, struct error *error, bool explicit,
                      struct transform_result *result, const char *const *logs, size_t log_count)
{
    struct chain *chain = context;
    const struct hook_spec *hook = current_hook(chain);

    chain->running = NULL;
    take_lines(chain, logs, log_count);
    count_hook(chain, !error);
    if (!error) {
        payload_free(chain->payload);
        chain->payload = TAKE(result->output);
        error = add_metadata(chain, result->metadata);
        if (error)
            chain_finish(chain, error);
        else
            chain_continue(chain);
        return;
    }
    if (hook->retry == HOOK_RETRY_IGNORE && !explicit && error->kind == ERROR_HOOK) {
        report_ignored(chain, error);
        error_free(error);
        chain_continue(chain);
        return;
    }
    chain_finish(chain, error);
}

/* Where the script's text stands, for messages; NULL for a module, which has a name of its own. */
static char *place_of(const struct chain *chain, const struct hook_spec *hook)
{
    if (hook->kind == HOOK_LUA_FROM)
        return format_string("ConfigMap %s/%s key %s", chain->call.source->namespace_name,
                             hook->config_map, hook->config_map_key);
    if (hook->kind != HOOK_LUA)
        return NULL;
    _cleanup_(free) char *field = format_string("%s.lua", hook->path);
    return field ? catalog_locate(chain->call.catalog, chain->call.source, field, true) : NULL;
}

/* `text` is the script's, NULL for a module. */
static struct error *run_transform(struct chain *chain, const char *text, size_t length)
{
    const struct hook_spec *hook = current_hook(chain);
    _cleanup_(json) json_t *environment = environment_for_lua(hook);
    _cleanup_(free) char *place = place_of(chain, hook);

    if (!environment)
        return error_out_of_memory();

    struct transform_call call = {
        .label = hook->name,
        .place = place,
        .text = text,
        .text_length = length,
        .module = hook->kind == HOOK_MODULE ? hook->module : NULL,
        .input = chain->payload,
        .env = environment,
        .source = chain->source,
        .metadata = chain->metadata,
        .limits = {hook->timeout_ms, TRANSFORM_HEAP_BYTES, TRANSFORM_OUTPUT_BYTES},
        .allow_empty = chain->call.source->spec->allow_empty,
    };

    chain->hook_started_ms = clock_monotonic_ms(chain->call.clock);
    return transform_run(chain->call.transformer, &call, hook_done, chain, &chain->running);
}

static struct error *run_from(struct chain *chain, const struct catalog_object *object)
{
    const struct hook_spec *hook = current_hook(chain);
    const char *encoded = object ? json_get_string(object->data, hook->config_map_key) : NULL;
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;

    if (!object)
        return error_new(ERROR_CONFIGURATION, "InvalidSpec",
                         "ConfigMap %s/%s: not found; %s.luaFrom refers to it",
                         chain->call.source->namespace_name, hook->config_map, hook->path);
    if (!encoded)
        return error_new(ERROR_CONFIGURATION, "InvalidSpec",
                         "ConfigMap %s/%s: has no key '%s', which %s.luaFrom refers to",
                         chain->call.source->namespace_name, hook->config_map, hook->config_map_key,
                         hook->path);
    if (!base64_decode(&text, encoded, strlen(encoded)))
        return error_new(
            ERROR_CONFIGURATION, "InvalidSpec", "ConfigMap %s/%s: key '%s' is no base64",
            chain->call.source->namespace_name, hook->config_map, hook->config_map_key);
    if (text.failed)
        return error_out_of_memory();
    return run_transform(chain, buffer_string(&text), text.length);
}

static void script_read(void *context, struct error *error, const struct catalog_object *object)
{
    struct chain *chain = context;

    chain->running = NULL;
    if (!error)
        error = run_from(chain, object);
    if (error)
        chain_finish(chain, error);
}

static struct error *chain_step(struct chain *chain)
{
    const struct hook_spec *hook = current_hook(chain);

    if (hook->kind == HOOK_LUA_FROM)
        return catalog_get_object(chain->call.catalog, "ConfigMap",
                                  chain->call.source->namespace_name, hook->config_map, script_read,
                                  chain, &chain->running);
    return run_transform(chain, hook->kind == HOOK_LUA ? hook->lua : NULL, hook->lua_length);
}

struct error *hook_chain_run(const struct hook_chain_call *call, hook_chain_done done,
                             void *context, struct operation **operation)
{
    struct chain *chain = calloc(1, sizeof(*chain));

    if (!chain) {
        payload_free(call->input);
        return error_out_of_memory();
    }
    chain->operation.cancel = chain_cancel;
    chain->call = *call;
    chain->payload = call->input;
    chain->metadata = call->metadata ? json_copy(call->metadata) : json_object();
    chain->source = source_for_lua(call->source);
    chain->done = done;
    chain->context = context;
    struct error *error =
        chain->metadata && chain->source ? chain_step(chain) : error_out_of_memory();
    if (error) {
        chain_free(chain);
        return error;
    }
    *operation = &chain->operation;
    return NULL;
}
