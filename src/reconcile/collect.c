/*
 * Removes the artifacts that nobody is pointed at any more: all but the current one and the one
 * before it, which a consumer may still be downloading. A failure here is no failure of the source.
 *
 * A process that was killed between publication and collection leaves one too many, and if upstream
 * does not change, no collection follows. So a source that is looked at for another reason than its
 * time, as each is after a start, is tidied up as well; but not while its ExternalArtifact says
 * another thing than the status, for then it may point at any of them.
 */
#include <stdlib.h>
#include <string.h>

#include "reconcile/phase.h"

static bool is_current(const struct reconcile *reconcile, size_t index)
{
    return strcmp(reconcile->keys[index], reconcile->status->artifact->path) == 0;
}

/* Where nobody knows any more which was the one before, it is the first. */
static bool is_kept(const struct reconcile *reconcile, size_t index)
{
    if (is_current(reconcile, index))
        return true;
    if (reconcile->previous_path)
        return strcmp(reconcile->keys[index], reconcile->previous_path) == 0;
    return index == (is_current(reconcile, 0) ? 1 : 0);
}

/* Removes the next one; `end` where there is none. */
static struct step remove_next(struct reconcile *reconcile, struct step end)
{
    while (reconcile->cursor < reconcile->key_count && is_kept(reconcile, reconcile->cursor))
        reconcile->cursor++;
    return reconcile->cursor == reconcile->key_count ? end : stored_remove_next(reconcile);
}

static struct step give_up(struct reconcile *reconcile, struct step end)
{
    log_error(reconcile->options->log, &reconcile->subject, reconcile->error,
              "old artifacts could not be removed; the next new artifact tries again", NULL);
    error_free(TAKE(reconcile->error));
    return end;
}

struct step phase_tidy(struct reconcile *reconcile)
{
    if (reconcile->due || !reconcile->intact || reconcile->source->artifact_differs)
        return step_next();
    if (reconcile->error)
        return give_up(reconcile, step_next());
    return reconcile->returned ? remove_next(reconcile, step_next()) : stored_list(reconcile);
}

struct step phase_collect(struct reconcile *reconcile)
{
    if (reconcile->error)
        return give_up(reconcile, step_done());
    return reconcile->returned ? remove_next(reconcile, step_done()) : stored_list(reconcile);
}
