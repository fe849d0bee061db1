/*
 * What Lua may ask of the core: the one way in.
 *
 * A primitive is an entry of the table in primitives.c with a C file of its own. It gets the core's
 * record of the call (whose source, module and configuration never come from a message), its JSON
 * arguments and bytes, and answers once. Arguments are hostile: ids are valid only within their
 * call, types and lengths are checked, and what breaks the protocol (rather than merely being
 * wrong) kills the host.
 */
#ifndef SLUICE_PRIMITIVES_PRIMITIVES_H
#define SLUICE_PRIMITIVES_PRIMITIVES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/operation.h"
#include "catalog/catalog.h"
#include "http/client.h"
#include "http/egress.h"
#include "source/source.h"

/* A policy's answer: allowed, or why not; with networks that must not be reached. */
struct policy_answer {
    bool allowed;
    const char *reason; /* for people; NULL if allowed */
    bool unanswered;    /* denied because the policies could not be asked, which may pass */
    const struct network *refused;
    size_t refused_count;
};

/* `answer` is valid during the call and never NULL: what fails, denies. */
typedef void (*policy_answered)(void *context, const struct policy_answer *answer);

/* What primitives work with; all of it outlives every call. */
struct primitive_services {
    uv_loop_t *loop;
    struct log *log;
    const struct clock *clock;
    struct blob_store *blobs;
    struct http_client *http;
    struct catalog *catalog;
    int64_t http_timeout_ms;
    uint64_t max_body;
    struct error *(*ask_policy)(void *context, const char *type, const json_t *request,
                                policy_answered done, void *done_context,
                                struct operation **operation);
    void *policy_context;
};

/* The error of a denial: transient where nobody has denied, but nobody could be asked. */
enum error_kind policy_denial_kind(const struct policy_answer *answer);

/* The core's record of one call into a generator. */
struct primitive_call;

/* `source`'s generator section is the call's configuration. `deadline_ms` is on the monotonic
 * clock. */
struct primitive_call *primitive_call_new(const struct primitive_services *services,
                                          struct source *source, const char *module,
                                          int64_t deadline_ms);

/* Cancels its operation in flight and frees its blobs and secrets. */
void primitive_call_free(struct primitive_call *call);

/* The answer of a primitive. Exactly one of `error` (owned by the receiver) and `value` is not
 * NULL; `bytes` go with the value. Valid during the call. */
typedef void (*primitive_answered)(void *context, struct error *error, const json_t *value,
                                   const void *bytes, size_t length);

/* Runs primitive `name`. At most one is in flight in a call. Returns an error (ERROR_INTERNAL,
 * Protocol) only for what no honest host sends: the host must be killed. Everything else is
 * answered by `answered`, once, never from inside, unless the call is freed first. */
struct error *primitive_start(struct primitive_call *call, const char *name,
                              const json_t *arguments, const char *bytes, size_t length,
                              primitive_answered answered, void *context)
    __attribute__((warn_unused_result));

/* A reference to blob `id` of this call, or NULL if the call has no such blob. */
struct blob *primitive_call_blob(struct primitive_call *call, uint64_t id);

/* Replaces every secret's text that this call has seen by "***" in `text`, for messages and log
 * lines that come from its module. Free the result; NULL without memory. */
char *primitive_call_mask(const struct primitive_call *call, const char *text);

/* A line that the call's module logged ("debug", "info" or "error"), masked. */
void primitive_call_log(const struct primitive_call *call, const char *level, const char *text);

#endif
