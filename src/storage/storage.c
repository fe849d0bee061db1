/* See storage.h: the door to whichever backend was chosen. Keys are judged here, once for all of
 * them. */
#include "storage/storage.h"

#include "storage/key.h"

static struct error *bad_key(const struct storage *storage, const char *operation, const char *key)
{
    return error_new(ERROR_STORAGE, "StorageOperationFailed",
                     "%s storage: %s '%s': not a key of the form "
                     "artifacts/NAMESPACE/NAME/REVISION.tar.gz",
                     storage->ops->name, operation, key);
}

void storage_free(struct storage *storage)
{
    if (storage)
        storage->ops->free(storage);
}

struct error *storage_put(struct storage *storage, const char *key, struct blob *blob,
                          storage_object_done done, void *context, struct operation **operation)
{
    if (!storage_key_valid(key))
        return bad_key(storage, "put", key);
    return storage->ops->put(storage, key, blob, done, context, operation);
}

struct error *storage_stat(struct storage *storage, const char *key, storage_object_done done,
                           void *context, struct operation **operation)
{
    if (!storage_key_valid(key))
        return bad_key(storage, "stat", key);
    return storage->ops->stat(storage, key, done, context, operation);
}

struct error *storage_remove(struct storage *storage, const char *key, storage_done done,
                             void *context, struct operation **operation)
{
    if (!storage_key_valid(key))
        return bad_key(storage, "remove", key);
    return storage->ops->remove(storage, key, done, context, operation);
}

struct error *storage_list(struct storage *storage, const char *prefix, storage_list_done done,
                           void *context, struct operation **operation)
{
    struct key_parts parts;

    if (!key_parse_prefix(prefix, &parts))
        return bad_key(storage, "list", prefix);
    return storage->ops->list(storage, prefix, done, context, operation);
}

struct error *storage_open(struct storage *storage, const char *key, struct blob **blob)
{
    *blob = NULL;
    if (!storage_key_valid(key))
        return NULL;
    return storage->ops->open(storage, key, blob);
}
