/*
 * Typed errors.
 *
 * An error is made where the fault is found, with the kind that decides what happens next (retry,
 * stall, wait for the interval), a reason that becomes the condition's reason, and a message for
 * the person who must act: what failed, on what, what was expected, what to do. Callers add context
 * with error_wrap on the way up; it is logged once, at the top. Nobody ever guesses a kind from a
 * message.
 *
 * Convention: a function that can fail returns `struct error *`, NULL on success; the caller owns
 * it.
 */
#ifndef SLUICE_BASE_ERROR_H
#define SLUICE_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum error_kind {
    ERROR_TRANSIENT,     /* may pass by itself: backoff */
    ERROR_CONFIGURATION, /* a person must change something: Stalled */
    ERROR_UPSTREAM,      /* upstream answered no: next try at the interval */
    ERROR_HOOK,          /* a hook failed or refused: next try at the interval */
    ERROR_STORAGE,       /* the artifact store failed: backoff */
    ERROR_CONFLICT,      /* the object changed beneath us: read it again */
    ERROR_INTERNAL,      /* our own fault or out of memory: backoff */
};

struct error {
    enum error_kind kind;
    char reason[64];        /* CamelCase, a valid reason of metav1.Condition */
    char *message;          /* UTF-8, no final full stop; never NULL */
    int64_t retry_after_ms; /* what upstream asked for; 0 where it said nothing */
    char *field; /* of the manifest, that a person must change: "spec.interval"; or NULL */
};

/* A new error with a printf-style message. Never returns NULL: without memory it returns the one
 * immortal out-of-memory error, which error_free leaves alone. */
struct error *error_new(enum error_kind kind, const char *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4), returns_nonnull, warn_unused_result));

struct error *error_new_v(enum error_kind kind, const char *reason, const char *format,
                          va_list arguments)
    __attribute__((format(printf, 3, 0), returns_nonnull, warn_unused_result));

/* The error for a failed allocation (ERROR_INTERNAL, OutOfMemory). */
struct error *error_out_of_memory(void) __attribute__((returns_nonnull, warn_unused_result));

/* "FORMAT: strerror(number)", for a failed system call. `number` is an errno value, positive. */
struct error *error_from_errno(enum error_kind kind, const char *reason, int number,
                               const char *format, ...)
    __attribute__((format(printf, 4, 5), returns_nonnull, warn_unused_result));

/* Puts "CONTEXT: " before the message. Takes `error` and returns it; NULL stays NULL. */
struct error *error_wrap(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));

/* Says which field of the source's manifest is at fault, by its path, so that whoever knows the
 * file can name the line. Takes `error` and returns it; `field` is copied, NULL changes nothing. */
struct error *error_about_field(struct error *error, const char *field)
    __attribute__((warn_unused_result));

/* Whether Lua may give the reason: letters and digits, the first a capital, and no longer than an
 * error's. Any bytes may come, NULL too. */
bool error_reason_valid(const char *reason, size_t length);

/* A copy with a life of its own. */
struct error *error_copy(const struct error *error) __attribute__((warn_unused_result));

void error_free(struct error *error);

/* "transient", "configuration", ...: for logs and for errors that cross to Lua. */
const char *error_kind_name(enum error_kind kind);

CLEANUP_DEFINE(error, struct error *, error_free)

#endif
