/*
 * A transform's script in Lua: loading, calling, and telling what came of it. Runs in the child
 * only.
 */
#ifndef SLUICE_LUA_SCRIPT_H
#define SLUICE_LUA_SCRIPT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "lua/modules.h"
#include "lua/run.h"

/* What the script's chunk is called in messages of Lua; the core puts the hook's name in its place.
 */
#define SCRIPT_CHUNK "script"

/* A Lua state with every library that transforms have. */
struct script_state;

/* NULL if it cannot be made. It lives as long as its process. */
struct script_state *script_state_new(void);

struct script_run {
    const char *text; /* of the script */
    size_t text_length;
    const json_t *request;                /* run.h */
    const struct lua_module_set *modules; /* what `require` finds */
    const char *input;
    size_t input_length;
    int output; /* where the result or failure is written, at its offset */
    uint64_t heap_bytes, output_bytes;
    struct run_logs *logs;
};

/* Runs the script once. 0 if a result or a failure was written; else an enum run_status. */
int script_run(struct script_state *state, const struct script_run *run);

#endif
