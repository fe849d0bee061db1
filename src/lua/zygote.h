/*
 * The zygote: a process with a warm Lua state that runs no user's code and forks a child for every
 * run.
 *
 * From the core:
 *     {type: "module", kind: "transform" | "library", name, origin}, bytes: the text
 *     {type: "run", id, wall_ms, heap_bytes, output_bytes, descriptors: 2}: the request and the
 * input (run.h) {type: "cancel", id} To the core, once for every run: {type: "ended", id, how,
 * status, cpu_ms, memory_bytes, descriptors: 1}: the output `how` is exited (status: the exit
 * status), signal (status: its number), timeout, cancelled, or failed (status: an errno value; no
 * child was made and there is no descriptor).
 */
#ifndef SLUICE_LUA_ZYGOTE_H
#define SLUICE_LUA_ZYGOTE_H

/* Runs until the core is gone. Returns the exit status. */
int zygote_main(void);

#endif
