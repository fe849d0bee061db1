/* The record of a call and what its primitives share. Private to src/primitives. */
#ifndef SLUICE_PRIMITIVES_CALL_H
#define SLUICE_PRIMITIVES_CALL_H

#include <stdbool.h>

#include "base/buffer.h"
#include "http/url.h"
#include "primitives/primitives.h"

#define CALL_BLOBS_MAX 1024
#define CALL_SECRETS_MAX 1024

struct call_blob {
    uint64_t id;
    struct blob *blob;
};

struct call_secret {
    uint64_t id;
    char *text; /* `length` bytes and a NUL */
    size_t length;
    char *name; /* of the Secret; NULL for a text from upstream */
    char *key;
};

struct primitive_call {
    const struct primitive_services *services;
    struct source *source;
    char *module;
    int64_t deadline_ms;
    struct log_subject subject;
    uint64_t last_id;
    struct call_blob *blobs;
    size_t blob_count;
    struct call_secret *secrets;
    size_t secret_count;
    char **origins; /* to which secrets may be sent */
    size_t origin_count;
    struct operation *operation; /* of the primitive in flight */
    void *state;                 /* the primitive's own, while it is in flight */
    void (*free_state)(void *state);
    primitive_answered answered;
    void *context;
};

/* A primitive: checks its arguments and either answers later or returns what no honest host sends.
 */
typedef struct error *(*primitive_function)(struct primitive_call *call, const json_t *arguments,
                                            const char *bytes, size_t length);

struct error *primitive_http_request(struct primitive_call *call, const json_t *arguments,
                                     const char *bytes, size_t length);
struct error *primitive_secrets_get(struct primitive_call *call, const json_t *arguments,
                                    const char *bytes, size_t length);
struct error *primitive_secrets_sensitive(struct primitive_call *call, const json_t *arguments,
                                          const char *bytes, size_t length);
struct error *primitive_secrets_text(struct primitive_call *call, const json_t *arguments,
                                     const char *bytes, size_t length);
struct error *primitive_blob_read(struct primitive_call *call, const json_t *arguments,
                                  const char *bytes, size_t length);
struct error *primitive_time_now(struct primitive_call *call, const json_t *arguments,
                                 const char *bytes, size_t length);
struct error *primitive_time_sleep(struct primitive_call *call, const json_t *arguments,
                                   const char *bytes, size_t length);

/* The error for what no honest host sends. */
struct error *call_protocol_error(const char *what) __attribute__((warn_unused_result));

/* Ends the primitive in flight: gives the answer, whose parts stay the caller's. */
void call_answer(struct primitive_call *call, struct error *error, const json_t *value,
                 const void *bytes, size_t length);

/* The same on the loop's next turn, for what is known at once. `error` and `value` are taken;
 * `bytes` are copied. */
struct error *call_answer_later(struct primitive_call *call, struct error *error, json_t *value,
                                const void *bytes, size_t length)
    __attribute__((warn_unused_result));

/* Remembers a blob (the reference is taken in any case) or a secret's text (copied) under a new id.
 */
struct error *call_add_blob(struct primitive_call *call, struct blob *blob, uint64_t *id)
    __attribute__((warn_unused_result));
struct error *call_add_secret(struct primitive_call *call, const char *name, const char *key,
                              const void *text, size_t length, uint64_t *id)
    __attribute__((warn_unused_result));

/* The secret of that id, or NULL. */
const struct call_secret *call_find_secret(const struct primitive_call *call, uint64_t id);

/* Appends what a message's string or secret ({secret: [text | {id}…]}) stands for; *sensitive
 * becomes true if a secret has part in it. False for anything else: the host is not honest. */
bool call_resolve_text(const struct primitive_call *call, const json_t *value, struct buffer *text,
                       bool *sensitive);

/* {namespace, name, labels}: what policies see of the source. NULL without memory. */
json_t *call_source_json(const struct primitive_call *call);

#endif
