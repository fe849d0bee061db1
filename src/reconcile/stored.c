/* What storage holds of a source: listed and removed by deletion and by collection alike. */
#include <stdlib.h>
#include <string.h>

#include "reconcile/phase.h"

void stored_forget(struct reconcile *reconcile)
{
    for (size_t i = 0; i < reconcile->key_count; i++)
        free(reconcile->keys[i]);
    free(TAKE(reconcile->keys));
    reconcile->key_count = 0;
}

static struct error *copy_keys(struct reconcile *reconcile, const char *const *keys, size_t count)
{
    stored_forget(reconcile);
    reconcile->keys = calloc(count ? count : 1, sizeof(char *));
    if (!reconcile->keys)
        return error_out_of_memory();
    for (size_t i = 0; i < count; i++) {
        reconcile->keys[i] = strdup(keys[i]);
        if (!reconcile->keys[i])
            return error_out_of_memory();
        reconcile->key_count++;
    }
    return NULL;
}

static void listed(void *context, struct error *error, const char *const *keys, size_t count)
{
    struct reconcile *reconcile = context;

    reconcile_resume(reconcile, error ? error : copy_keys(reconcile, keys, count));
}

struct step stored_list(struct reconcile *reconcile)
{
    _cleanup_(free) char *prefix = artifact_prefix(reconcile);

    if (!prefix)
        return step_failed(error_out_of_memory());
    return step_started(storage_list(reconcile->options->storage, prefix, listed, reconcile,
                                     &reconcile->operation));
}

struct step stored_remove_next(struct reconcile *reconcile)
{
    struct error *fenced = reconcile_fence(reconcile);
    if (fenced)
        return step_failed(fenced);
    const char *key = reconcile->keys[reconcile->cursor++];

    return step_started(storage_remove(reconcile->options->storage, key, reconcile_completed,
                                       reconcile, &reconcile->operation));
}
