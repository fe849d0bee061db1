/* The words in which a failed run is told to people: "hook 'to-configmap' line 7: …". */
#ifndef SLUICE_LUA_RUN_ERROR_H
#define SLUICE_LUA_RUN_ERROR_H

#include <stdint.h>

#include "base/error.h"

/* Who runs, in messages; the members of struct transform_call. Any may be NULL. */
struct run_subject {
    const char *label;
    const char *chunk_name;
    const char *module;
    const char *place;
};

/* An ERROR_HOOK about `line` (0: none) of the subject's script. `text` is untrusted. The message is
 * valid UTF-8 of at most TEXT_MESSAGE_MAX bytes. Thread-safe. */
struct error *run_error(const struct run_subject *subject, const char *reason, uint64_t line,
                        const char *text, size_t length)
    __attribute__((returns_nonnull, warn_unused_result));

/* The same about the run as a whole, with our own words. */
struct error *run_errorf(const struct run_subject *subject, const char *reason, const char *format,
                         ...)
    __attribute__((format(printf, 3, 4), returns_nonnull, warn_unused_result));

/* OutputLimit: "gave more than its limit of 128Mi". */
struct error *run_error_output_limit(const struct run_subject *subject, uint64_t limit)
    __attribute__((returns_nonnull, warn_unused_result));

/* "64Mi", "1Gi", "1000": as limits are written. */
#define SIZE_TEXT_SIZE 24
void size_format(uint64_t bytes, char text[SIZE_TEXT_SIZE]);

#endif
