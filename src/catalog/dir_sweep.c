/* Removes what a crash left in the middle of an atomic write: temporary files beside their targets.
 * What cannot be removed does no harm, so that nothing here fails. */
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "catalog/dir_catalog.h"

static void sweep(char *below)
{
    char *const roots[] = {below, NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *entry;

    while (tree && (entry = fts_read(tree))) {
        if (entry->fts_info == FTS_F && strstr(entry->fts_name, ".yaml" FILE_TEMPORARY_INFIX))
            unlink(entry->fts_path);
    }
    if (tree)
        fts_close(tree);
}

void dir_sweep(const char *data_directory)
{
    static const char *const names[] = {"status", "externalartifacts"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        _cleanup_(free) char *below = path_join(data_directory, names[i]);

        if (below && access(below, F_OK) == 0)
            sweep(below);
    }
}
