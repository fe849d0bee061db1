/*
 * A transform's child: forked from the zygote for one run, and gone after it.
 */
#ifndef SLUICE_LUA_CHILD_H
#define SLUICE_LUA_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lua/modules.h"
#include "lua/sandbox.h"
#include "lua/script.h"

/* What the zygote makes once, and every child has from the fork. */
struct child_setup {
    struct script_state *state; /* Lua with its libraries, warm */
    const struct lua_module_set *modules;
    struct seccomp_filter filter;
    uint64_t address_bytes; /* of address space before any run */
};

/* One run. The descriptors are closed by both sides of the fork. */
struct child_task {
    pid_t parent;
    int request, input, output;
    int64_t wall_ms;
    uint64_t heap_bytes, output_bytes;
};

/* Before the zygote's sandbox. `modules` may grow until the process ends. False: cannot be made. */
bool child_setup_init(struct child_setup *setup, const struct lua_module_set *modules);

/* In the child: gives up what it does not need, runs the script, writes the output, exits. */
_Noreturn void child_main(const struct child_setup *setup, const struct child_task *task);

#endif
