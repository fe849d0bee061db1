/*
 * Reading fields of a manifest: each function reads one field, and the first fault of all ends the
 * reading. Private to src/source.
 */
#ifndef SLUICE_SOURCE_FIELD_H
#define SLUICE_SOURCE_FIELD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The first fault, and the path of the field that it is about. */
struct field_reader {
    struct error *error;
    char *path;
};

/* Notes a fault of the field PATH.KEY (or of PATH itself where `key` is NULL), unless there is one
 * already: "PATH.KEY: found …; accepted: ACCEPTED", or "PATH.KEY: missing; accepted: …" where
 * `found` is NULL. */
void field_fault(struct field_reader *reader, const char *path, const char *key,
                 const json_t *found, const char *accepted);

/* Notes a fault with a message of its own. */
void field_fault_message(struct field_reader *reader, const char *path, const char *key,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The member if it is there and not null (which Kubernetes takes for missing). */
const json_t *field_get(const json_t *object, const char *key);

/* Faults a member of `object` whose name is not in `names` (`count` of them), with the nearest
 * known one. */
void field_check_names(struct field_reader *reader, const json_t *object, const char *path,
                       const char *const *names, size_t count);

/* Optional fields: the value, or `fallback` if it is missing or at fault. Strings are borrowed. */
const char *field_string(struct field_reader *reader, const json_t *object, const char *path,
                         const char *key, const char *fallback);
bool field_boolean(struct field_reader *reader, const json_t *object, const char *path,
                   const char *key, bool fallback);
/* A whole number from 0 to `max`. */
unsigned field_count(struct field_reader *reader, const json_t *object, const char *path,
                     const char *key, unsigned max, unsigned fallback);
/* A Go duration of at least `min_ms`. */
int64_t field_duration(struct field_reader *reader, const json_t *object, const char *path,
                       const char *key, int64_t min_ms, int64_t fallback);
/* An object or a list, or NULL. */
const json_t *field_object(struct field_reader *reader, const json_t *object, const char *path,
                           const char *key);
const json_t *field_list(struct field_reader *reader, const json_t *object, const char *path,
                         const char *key);

#endif
