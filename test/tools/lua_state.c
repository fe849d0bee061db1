/*
 * lua_state SCRIPT [HEAP-MIB]: runs a Lua file in the very state that hosts give to people's code,
 * for tests of the native libraries. The chunk gets all of standard input as its argument; the text
 * it returns goes to standard output, log lines and errors to standard error. Exit 1 for an error,
 * 3 if there was not enough memory.
 */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "lua/libraries.h"
#include "lua/state.h"

struct job {
    const char *script;
    struct buffer input;
};

static void print_log(void *context, const char *level, const char *text, size_t length)
{
    (void)context;
    fprintf(stderr, "%s: %.*s\n", level, (int)length, text);
}

static bool read_input(struct buffer *input)
{
    char bytes[65536];
    size_t count;

    while ((count = fread(bytes, 1, sizeof bytes, stdin)) > 0)
        buffer_append(input, bytes, count);
    return !ferror(stdin) && !input->failed;
}

static int run(lua_State *lua)
{
    const struct job *job = lua_touserdata(lua, 1);
    const char *text;
    size_t length;

    if (luaL_loadfile(lua, job->script) != 0)
        return lua_error(lua);
    lua_pushlstring(lua, buffer_string(&job->input), job->input.length);
    lua_call(lua, 1, 1);
    text = lua_tolstring(lua, -1, &length);
    if (text && fwrite(text, 1, length, stdout) != length)
        return luaL_error(lua, "cannot write");
    return 0;
}

int main(int argc, char **argv)
{
    struct job job = {.script = argc > 1 ? argv[1] : NULL, .input = BUFFER_INIT};
    struct heap heap = {.limit = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) << 20 : SIZE_MAX};
    lua_State *lua = state_new(&heap, true);
    int status;

    if (!job.script || !lua || !read_input(&job.input)) {
        fprintf(stderr, "usage: lua_state SCRIPT [HEAP-MIB] < INPUT\n");
        return 2;
    }
    libraries_set_log(lua, print_log, NULL);
    status = lua_cpcall(lua, run, &job);
    if (status != 0)
        fprintf(stderr, "%s\n", libraries_tostring(lua, -1, NULL));
    lua_close(lua);
    buffer_free(&job.input);
    if (heap.used != 0)
        fprintf(stderr, "lua_state: %zu bytes were not given back\n", heap.used);
    return heap.used != 0 ? 4 : status == 0 ? 0 : heap.exceeded ? 3 : 1;
}
