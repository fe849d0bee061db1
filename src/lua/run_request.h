/* The core's side of a run's request and input: two descriptors that can only be read (run.h). */
#ifndef SLUICE_LUA_RUN_REQUEST_H
#define SLUICE_LUA_RUN_REQUEST_H

#include "base/buffer.h"
#include "lua/transform.h"

struct run_request {
    struct buffer bytes; /* of the request */
    struct blob **inputs;
    size_t input_count;
    int request, input; /* -1 until run_request_open */
};

/* Copies what the call says; its blobs by reference. On the loop: it reads the call's JSON. */
struct error *run_request_init(struct run_request *request, const struct transform_call *call)
    __attribute__((warn_unused_result));

/* Makes the two descriptors. Slow: on the thread pool. ERROR_TRANSIENT, reason SpoolFailed. */
struct error *run_request_open(struct run_request *request) __attribute__((warn_unused_result));

/* Releases what it holds, also after a failed init. */
void run_request_release(struct run_request *request);

#endif
