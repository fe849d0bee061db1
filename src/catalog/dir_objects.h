/* The Secrets, ConfigMaps and Lua modules among the manifests. Private to src/catalog. */
#ifndef SLUICE_CATALOG_DIR_OBJECTS_H
#define SLUICE_CATALOG_DIR_OBJECTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "catalog/catalog.h"

struct dir_object {
    char *kind;
    char *namespace_name;
    char *name;
    char *place;  /* "FILE:LINE" */
    json_t *data; /* key -> base64 */
    char *uid;
    char *version; /* a keyed hash of the data, so that it tells nothing about a secret's value */
};

struct dir_objects {
    char *key; /* of the hash: random, one for each data directory; NULL until it is needed */
    char *key_path;
    struct dir_object *items;
    size_t count;
    struct catalog_module *modules;
    size_t module_count;
};

/* `data_directory` holds the key. */
struct error *dir_objects_init(struct dir_objects *objects, const char *data_directory)
    __attribute__((warn_unused_result));

/* Takes a Secret or ConfigMap. What is wrong with it is in *fault (free), and then it is left out.
 */
struct error *dir_objects_add(struct dir_objects *objects, const json_t *object,
                              const char *namespace_name, const char *name, const char *place,
                              char **fault) __attribute__((warn_unused_result));

/* "NS/NAME.KEY=env:VAR" or "…=file:PATH": sets one key of a Secret, which may exist already. */
struct error *dir_objects_set_secret(struct dir_objects *objects, const char *setting)
    __attribute__((warn_unused_result));

/* To be called when all have been added: gives each its version. */
struct error *dir_objects_finish(struct dir_objects *objects) __attribute__((warn_unused_result));

const struct dir_object *dir_objects_find(const struct dir_objects *objects, const char *kind,
                                          const char *namespace_name, const char *name);

void dir_objects_free(struct dir_objects *objects); /* what it holds */

#endif
