/*
 * What every fuzz target shares. A target is one LLVMFuzzerTestOneInput (libFuzzer): it reads
 * hostile bytes and checks, besides not crashing, what its header promises. `./dev fuzz` builds and
 * runs them.
 */
#ifndef SLUICE_TEST_FUZZ_H
#define SLUICE_TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

/* What libFuzzer calls; 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A NUL-terminated copy (free) of just its size, so that ASan sees the first byte read past it. */
static inline __attribute__((unused)) char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    CHECK(text);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/* Cuts the first line off `text`, which is changed; what follows it, "" if that is all. */
static inline __attribute__((unused)) char *fuzz_cut_line(char *text)
{
    char *end = strchr(text, '\n');

    if (!end)
        return text + strlen(text);
    *end = '\0';
    return end + 1;
}

/* Whether there is an error, which is freed: it must be of this kind and reason, and worded in
 * UTF-8. */
static inline __attribute__((unused)) bool fuzz_failed(struct error *error, enum error_kind kind,
                                                       const char *reason)
{
    if (!error)
        return false;
    if (error->kind != kind || strcmp(error->reason, reason) != 0 || !*error->message ||
        utf8_valid_prefix(error->message, strlen(error->message)) != strlen(error->message)) {
        fprintf(stderr, "%s %s: %s\n", error_kind_name(error->kind), error->reason, error->message);
        abort();
    }
    error_free(error);
    return true;
}

#endif
