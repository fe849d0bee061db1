/* The Lua files that are part of the program, made at build time by embed.cmake. */
#ifndef SLUICE_LUA_SHIPPED_H
#define SLUICE_LUA_SHIPPED_H

#include <stddef.h>

struct shipped_file {
    const char *path; /* "lua/http.lua", "generators/http.lua", ... */
    const char *text; /* `length` bytes and a NUL */
    size_t length;
};

extern const struct shipped_file shipped_files[];
extern const size_t shipped_file_count;

#endif
