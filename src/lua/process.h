/*
 * A Lua process: this program again, as `sluice lua-host KIND`, with a channel on descriptor 3.
 *
 * Started by exec, so that it never had the core's memory, with an empty environment and no other
 * descriptors. It dies with the core (PDEATHSIG, which follows the
 * thread that started it: start on the main thread); the core reaps it.
 */
#ifndef SLUICE_LUA_PROCESS_H
#define SLUICE_LUA_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "lua/channel.h"

struct host_process;

struct host_process_options {
    uv_loop_t *loop;
    const char *kind;         /* "generator", "policy", "zygote" */
    int shared_descriptor;    /* becomes descriptor 4 (the page with the running call's id); -1 for
                                 none */
    bool accepts_descriptors; /* the zygote returns outputs as descriptors */
    channel_received received;
    /* The process ended, by itself or killed: nothing comes after it. `error` says how, for people
     * ("killed by signal 11"), and is the receiver's. host_process_free may be called inside. */
    void (*ended)(void *context, struct error *error);
    void *context;
};

struct error *host_process_start(const struct host_process_options *options,
                                 struct host_process **process) __attribute__((warn_unused_result));

struct channel *host_process_channel(struct host_process *process);

/* CPU time the process has used, in milliseconds; -1 if it cannot be told. */
int64_t host_process_cpu_ms(const struct host_process *process);

/* SIGKILL; `ended` follows. */
void host_process_kill(struct host_process *process);

/* Kills it if it still runs, and forgets it: no callback comes any more. The process is reaped on
 * the loop. NULL is fine. */
void host_process_free(struct host_process *process);

#endif
