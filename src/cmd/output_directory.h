/* Writing a payload's files for people: to a stream, or into a directory and nowhere else. */
#ifndef SLUICE_CMD_OUTPUT_DIRECTORY_H
#define SLUICE_CMD_OUTPUT_DIRECTORY_H

#include "base/error.h"
#include "source/payload.h"

/* One run of bytes as it is; files each after a line "# path". ERROR_STORAGE, FileWriteFailed. */
struct error *payload_print(const struct payload *payload, int descriptor)
    __attribute__((warn_unused_result));

/* Below `directory`, which is made if it is not there; one run of bytes as the file `data`. No
 * symbolic link below it is followed, so nothing outside is written, whoever else writes there.
 * Existing files are replaced. ERROR_STORAGE, FileWriteFailed, naming the path. */
struct error *payload_write_directory(const struct payload *payload, const char *directory)
    __attribute__((warn_unused_result));

#endif
