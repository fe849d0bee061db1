/* What came of a script that gave no result: made in the child, written for the core. */
#ifndef SLUICE_LUA_SCRIPT_FAILURE_H
#define SLUICE_LUA_SCRIPT_FAILURE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

struct script_failure {
    bool set;
    bool out_of_memory; /* nothing else counts */
    bool explicit_error;
    char reason[64];
    uint64_t line; /* of the script; 0 if none of its lines has part in it */
    struct buffer message;
};

/* Describes the error value at the top of the stack, from inside a message handler, where the
 * failed functions are still on the stack. Leaves a failure that is set already. */
void script_failure_describe(struct script_failure *failure, lua_State *state);

/* Sets a failure of ours and raises. Not while a script's function could catch it. */
_Noreturn void script_fail(struct script_failure *failure, lua_State *state, const char *reason,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
