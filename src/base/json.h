/* Small additions to jansson: what the whole program asks of a json_t. */
#ifndef SLUICE_BASE_JSON_H
#define SLUICE_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"

CLEANUP_DEFINE(json, json_t *, json_decref)

/* Member of an object as a string, or NULL if it is missing or no string. Borrowed. */
const char *json_get_string(const json_t *object, const char *key);

/* Member of an object as an integer or boolean; `fallback` if it is missing or of another type. */
int64_t json_get_integer(const json_t *object, const char *key, int64_t fallback);
bool json_get_boolean(const json_t *object, const char *key, bool fallback);

/* Sets a string member; does nothing where `value` is NULL. 0, or -1 without memory. */
int json_set_string(json_t *object, const char *key, const char *value);

/* Parses text. On failure *value is NULL and the error (ERROR_CONFIGURATION, reason InvalidJSON)
 * names line and column. Duplicate keys are refused. */
struct error *json_parse(const char *text, size_t length, json_t **value)
    __attribute__((warn_unused_result));

/* Appends the value as compact JSON with sorted keys: the same bytes for the same value. */
void json_write(struct buffer *buffer, const json_t *value);

/* The merge patch (RFC 7386) that makes `to` of `from`, two objects: members that differ, null for
 * those that are gone, lists whole. A new object, empty where nothing differs; NULL without memory.
 */
json_t *json_merge_patch(const json_t *from, const json_t *to);

/* "a string", "an object", ... and the value itself if it is short: for messages that say what was
 * found. */
void json_describe(struct buffer *buffer, const json_t *value);

#endif
