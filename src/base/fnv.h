/* FNV-1a, 64 bits: a hash for spreading and for noticing change, the same in every process. Whoever
 * chooses the input can make it collide: a table gets slow by that, and must not get wrong.
 * http://www.isthe.com/chongo/tech/comp/fnv/ */
#ifndef SLUICE_BASE_FNV_H
#define SLUICE_BASE_FNV_H

#include <stddef.h>
#include <stdint.h>

#define FNV_BASIS UINT64_C(0xcbf29ce484222325)

/* The hash `hash` (FNV_BASIS at first) with `length` more bytes. */
static inline __attribute__((unused)) uint64_t fnv_add(uint64_t hash, const void *bytes,
                                                       size_t length)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
