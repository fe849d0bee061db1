/*
 * The generator host and the policy host: the processes in which the platform's Lua runs.
 *
 * The core sends modules and then calls; each call is a coroutine, each primitive one message and a
 * yield. Frames (channel.h), from the core: {op: "module", kind, name, origin} + text      {op:
 * "start"} {op: "call", call, request}                    {op: "reply", call, value | error} +
 * bytes {op: "cancel", call}                           {op: "ask", ask, type, request} and from the
 * host: {op: "loaded", types}                          {op: "load_failed", error} {op: "primitive",
 * call, name, arguments} + bytes {op: "return", call, value} + bytes            {op: "error", call,
 * error} {op: "log", call, level} + text                {op: "verdict", ask, value} where error is
 * {reason, message, kind, retry_after}.
 */
#ifndef SLUICE_LUA_GENERATOR_HOST_H
#define SLUICE_LUA_GENERATOR_HOST_H

#include <stdbool.h>
#include <stdint.h>

/* The page on descriptor 4 that tells the core's watchdog which call has control of the process. */
struct host_page {
    _Atomic uint64_t call;    /* 0 while none has */
    _Atomic uint64_t resumes; /* counts, so that two resumes of one call can be told apart */
};

/* How the process ends when it is out of memory for its own work. */
#define HOST_EXIT_MEMORY 71
/* How it ends when the core breaks the protocol or is gone. */
#define HOST_EXIT_CHANNEL 72

/* Serves the channel on descriptor 3 until it ends; the exit status. Must be in its sandbox
 * already. */
int generator_host_main(bool policy);

#endif
