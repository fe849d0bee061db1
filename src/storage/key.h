/* Keys and their parts (see storage.h for their form). Internal to this folder. */
#ifndef SLUICE_STORAGE_KEY_H
#define SLUICE_STORAGE_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define KEY_ROOT "artifacts"
#define KEY_SUFFIX ".tar.gz"
#define KEY_NAMESPACE_SIZE 64 /* a namespace and NUL */
#define KEY_NAME_SIZE 254     /* an object's name and NUL */

/* The parts of "artifacts/NAMESPACE/NAME/FILE", or of a prefix of such keys; those that a prefix
 * does not reach are empty. */
struct key_parts {
    char namespace_name[KEY_NAMESPACE_SIZE];
    char name[KEY_NAME_SIZE];
    char file[256]; /* "REVISION.tar.gz" */
};

/* False for anything that is no valid key. */
bool key_parse(const char *key, struct key_parts *parts);

/* "artifacts/", "artifacts/NAMESPACE/" or "artifacts/NAMESPACE/NAME/"; false for anything else. */
bool key_parse_prefix(const char *prefix, struct key_parts *parts);

/* Whether a file below a source's directory is named as an artifact is, and each directory above as
 * a namespace or object: what a listing passes over is none of ours. */
bool key_file_valid(const char *file);
bool key_namespace_valid(const char *name);
bool key_name_valid(const char *name);

/* Keys in no order until they are sorted. */
struct key_list {
    char **keys;
    size_t count;
    size_t capacity;
};

/* Appends a copy. */
struct error *key_list_add(struct key_list *list, const char *key)
    __attribute__((warn_unused_result));
void key_list_sort(struct key_list *list);
void key_list_free(struct key_list *list); /* what it holds */

#endif
