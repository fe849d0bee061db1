/*
 * The spec of an ExternalSource, checked: every field of compatibility.md, with its default filled
 * in.
 *
 * Parsing is validation. The first fault found ends it with an error that names the field by its
 * path, what was found and what is accepted; unknown fields are faults, because a misspelt one
 * would silently mean its default. The generator's own section is left to its Lua module's schema.
 */
#ifndef SLUICE_SOURCE_SPEC_H
#define SLUICE_SOURCE_SPEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define SPEC_INTERVAL_MIN_MS 60000
#define SPEC_HOOK_TIMEOUT_MS 30000
#define SPEC_MAX_RETRIES 3
#define SPEC_DESTINATION_PATH "data"

enum hook_kind {
    HOOK_COMMAND,  /* a whitelisted command in the hook executor */
    HOOK_LUA,      /* inline source of a transform */
    HOOK_MODULE,   /* a transform module of the platform's */
    HOOK_LUA_FROM, /* a transform in a ConfigMap of the source's namespace */
};
enum hook_retry { HOOK_RETRY_FAIL, HOOK_RETRY_IGNORE, HOOK_RETRY_RETRY };

struct hook_variable {
    const char *name;
    const char *value;
};
struct hook_spec {
    const char *name; /* for messages; where it is not given, "postRequest[0]" */
    const char *path; /* "spec.hooks.postRequest[0]" */
    enum hook_kind kind;
    const char *command; /* HOOK_COMMAND */
    const char *const *arguments;
    size_t argument_count;
    const char *lua; /* HOOK_LUA; `lua_length` bytes */
    size_t lua_length;
    const char *module;     /* HOOK_MODULE */
    const char *config_map; /* HOOK_LUA_FROM: its name and key */
    const char *config_map_key;
    int64_t timeout_ms;
    enum hook_retry retry;
    const struct hook_variable *env;
    size_t env_count;
};
struct hook_list {
    struct hook_spec *hooks;
    size_t count;
};
struct source_spec {
    json_t *object; /* the spec itself; everything below may point into it */
    int64_t interval_ms;
    int64_t timeout_ms; /* of the fetch; 0: the program's default */
    bool suspend;
    bool allow_empty;
    const char *destination_path;
    unsigned max_retries;
    struct hook_list pre_request;
    struct hook_list post_request;
    const char *generator_type;
    const json_t *generator_config; /* the section named like the type; `no_config` if missing */
    json_t *no_config;              /* an empty object */
};

/* Checks `object` (the value of `spec`, NULL if missing; a reference is taken) and fills *spec. On
 * a fault returns its error, and *path (free) names the field; *spec is then empty. */
struct error *source_spec_parse(json_t *object, struct source_spec **spec, char **path)
    __attribute__((warn_unused_result));

void source_spec_free(struct source_spec *spec);

#endif
