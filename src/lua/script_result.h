/* From what a transform returned to the output's bytes. */
#ifndef SLUICE_LUA_SCRIPT_RESULT_H
#define SLUICE_LUA_SCRIPT_RESULT_H

#include "lua/script.h"
#include "lua/script_failure.h"

/* Checks the two values that the function returned, at `data` and `extra` of the stack, and writes
 * the result. What is no result raises by script_fail: InvalidResult, OutputLimit. */
void script_result_write(lua_State *state, int data, int extra, const struct script_run *run,
                         struct script_failure *failure);

/* Writes a failure in a result's place. 0, or an enum run_status. */
int script_failure_write(const struct script_run *run, const struct script_failure *failure);

#endif
