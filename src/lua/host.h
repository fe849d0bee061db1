/* `sluice lua-host KIND`: the processes in which Lua runs. Internal; the core starts them
 * (process.h). */
#ifndef SLUICE_LUA_HOST_H
#define SLUICE_LUA_HOST_H

/* Runs as the process that `argv[1]` names: "generator", "policy" or "zygote", with the channel on
 * descriptor 3. Returns the exit status; 2 for any other use. Must run before any thread is
 * started. */
int lua_host_main(int argc, char **argv);

#endif
