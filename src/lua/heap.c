/* See heap.h. */
#include "lua/heap.h"

#include <lua.h>
#include <stdlib.h>

/* What heap_malloc puts before a block. */
union header {
    size_t size;
    max_align_t alignment;
};

static bool admits(struct heap *heap, size_t old_size, size_t new_size)
{
    if (new_size <= old_size)
        return true;
    if (heap->used <= heap->limit && new_size - old_size <= heap->limit - heap->used)
        return true;
    heap->exceeded = true;
    return false;
}

void *heap_allocate(void *context, void *pointer, size_t old_size, size_t new_size)
{
    struct heap *heap = context;
    void *moved;

    if (!pointer)
        old_size = 0;
    if (new_size == 0) {
        heap->used -= old_size;
        free(pointer);
        return NULL;
    }
    if (!admits(heap, old_size, new_size))
        return NULL;
    moved = realloc(pointer, new_size);
    if (moved)
        heap->used = heap->used - old_size + new_size;
    return moved;
}

struct heap *heap_of(lua_State *lua)
{
    void *context;

    return lua_getallocf(lua, &context) == heap_allocate ? context : NULL;
}

void *heap_malloc(size_t size, void *context)
{
    union header *header;

    if (__builtin_add_overflow(size, sizeof *header, &size))
        return NULL;
    header = heap_allocate(context, NULL, 0, size);
    if (!header)
        return NULL;
    header->size = size;
    return header + 1;
}

void heap_free(void *pointer, void *context)
{
    union header *header = pointer;

    if (header)
        heap_allocate(context, header - 1, header[-1].size, 0);
}
