/*
 * Clean-up tied to a variable's scope, instead of goto ladders: `_cleanup_(error) struct error
 * *error`. A variable hands over what it owns with TAKE, which leaves NULL behind.
 */
#ifndef SLUICE_BASE_CLEANUP_H
#define SLUICE_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Defines cleanup_NAME_(TYPE *), which calls `release` on a value that is not zero. */
#define CLEANUP_DEFINE(name, type, release)                                   \
    static inline __attribute__((unused)) void cleanup_##name##_(type *value) \
    {                                                                         \
        if (*value)                                                           \
            release(*value);                                                  \
    }

/* `_cleanup_(free) char *path = NULL;` The name is one given to CLEANUP_DEFINE. */
#define _cleanup_(name) __attribute__((cleanup(cleanup_##name##_)))

/* Moves ownership out of a variable: the value, with NULL left in its place. */
#define TAKE(pointer)                                  \
    ({                                                 \
        __typeof__(pointer) *take_from_ = &(pointer);  \
        __typeof__(pointer) take_value_ = *take_from_; \
        *take_from_ = NULL;                            \
        take_value_;                                   \
    })

static inline __attribute__((unused)) void cleanup_free_(void *pointer)
{
    free(*(void **)pointer);
}

static inline __attribute__((unused)) void cleanup_fd_(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
}

CLEANUP_DEFINE(file, FILE *, fclose)
CLEANUP_DEFINE(directory, DIR *, closedir)

#endif
