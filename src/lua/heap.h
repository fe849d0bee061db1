/*
 * The memory of one Lua state: an allocator for lua_newstate that counts, and refuses past a limit.
 * Lua then raises "not enough memory" cleanly.
 */
#ifndef SLUICE_LUA_HEAP_H
#define SLUICE_LUA_HEAP_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;

struct heap {
    size_t used;   /* bytes that are allocated now */
    size_t limit;  /* bytes; SIZE_MAX for none; may be changed at any time */
    bool exceeded; /* an allocation was refused; for the reader to reset */
};

/* A lua_Alloc whose context is a struct heap. */
void *heap_allocate(void *context, void *pointer, size_t old_size, size_t new_size);

/* The heap of a state made by state_new; NULL for a state of another allocator. */
struct heap *heap_of(struct lua_State *lua);

/* malloc and free in the shape that C libraries want them (a heap as `context`), counted in the
 * same way; such blocks remember their size. */
void *heap_malloc(size_t size, void *context);
void heap_free(void *pointer, void *context);

#endif
