/*
 * Removes the artifacts that nobody is pointed at any more: all but the current one and the one
 * before it, which a consumer may still be downloading. A failure here is no failure of the source.
 */
#include <stdlib.h>
#include <string.h>

#include "reconcile/phase.h"

static bool kept(const struct reconcile *reconcile, const char *key)
{
    return strcmp(key, reconcile->status->artifact->path) == 0 ||
           (reconcile->previous_path && strcmp(key, reconcile->previous_path) == 0);
}

static struct step give_up(struct reconcile *reconcile)
{
    log_error(reconcile->options->log, &reconcile->subject, reconcile->error,
              "old artifacts could not be removed; the next new artifact tries again", NULL);
    error_free(TAKE(reconcile->error));
    return step_done();
}

struct step phase_collect(struct reconcile *reconcile)
{
    if (reconcile->error)
        return give_up(reconcile);
    if (!reconcile->returned)
        return stored_list(reconcile);

    while (reconcile->cursor < reconcile->key_count &&
           kept(reconcile, reconcile->keys[reconcile->cursor]))
        reconcile->cursor++;
    if (reconcile->cursor == reconcile->key_count)
        return step_done();
    return stored_remove_next(reconcile);
}
