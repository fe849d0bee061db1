/* The core's side of a run's output: a memfd in which a hostile child may have written anything
 * (run.h). */
#ifndef SLUICE_LUA_RUN_OUTPUT_H
#define SLUICE_LUA_RUN_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/blob.h"
#include "lua/run.h"
#include "lua/run_error.h"
#include "source/payload.h"

struct run_output {
    struct payload *payload; /* NULL if the run failed */
    json_t *metadata;        /* object of strings, or NULL */
    bool explicit_error;     /* the script's own error{…} */
    char *logs[RUN_LOGS_MAX];
    size_t log_count;
};

/* Reads the output of a child that is gone. `failure` is how it ended if it did not exit with a
 * result (taken), and then only the logs are read. What the script reports as its own failure is
 * returned as the error it is; what no honest child writes is reason Crashed; results of more than
 * `limit` bytes OutputLimit; none at all EmptyResult unless `allow_empty`. Slow: on the thread
 * pool. *output must be zero before and is released by the caller in any case. */
struct error *run_output_read(int descriptor, struct error *failure, uint64_t limit,
                              bool allow_empty, struct blob_store *blobs,
                              const struct run_subject *subject, struct run_output *output)
    __attribute__((warn_unused_result));

void run_output_release(struct run_output *output);

#endif
