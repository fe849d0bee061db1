/* One request and its answer over curl: one hop. Internal to the HTTP client. */
#ifndef SLUICE_HTTP_EXCHANGE_H
#define SLUICE_HTTP_EXCHANGE_H

#include <curl/curl.h>

#include "http/multi.h"
#include "http/request.h"

/* Called once, never from inside exchange_start nor from inside curl. `error` is owned by the
 * receiver; where it is NULL, the answer stands in the exchange. */
typedef void (*exchange_done)(void *context, struct error *error);

/* All pointers must outlive the exchange. */
struct exchange_options {
    struct multi *multi;
    struct blob_store *blobs;
    const char *user_agent;
    const struct egress_floor *floor; /* may be NULL */
    const struct request *request;
    const struct network *refused; /* must not be reached */
    size_t refused_count;
    const char *addresses; /* of the host, as the resolver writes them; NULL where it is an address
                              itself; copied */
    bool fresh_connection;
    void *context; /* for request->on_body and `done` */
    void *body_context;
    exchange_done done;
};

struct exchange {
    struct exchange_options options;
    CURL *easy;
    bool added;  /* to the multi handle */
    bool closed; /* its owner is gone: every callback refuses */
    struct curl_slist *header_lines;
    struct curl_slist *resolve_lines;
    uint64_t sent; /* bytes of the body that curl has taken */

    struct headers headers; /* of the answer */
    bool head_complete;
    unsigned status;
    bool is_redirect;  /* to be followed: its body is of no interest */
    bool body_cut;     /* ... and was long, so we stopped */
    uint64_t received; /* decoded bytes of the body */
    struct blob_writer *body;

    struct error *error;  /* found in a callback, which curl knows only as "aborted" */
    struct error *denied; /* why the first address got no socket: refused, as a rule */
    unsigned sockets;     /* opened, so not all addresses were refused */
    bool denied_reused;   /* the connection refused was one that others had made */
    char curl_error[CURL_ERROR_SIZE];
};

struct error *exchange_start(const struct exchange_options *options, struct exchange **exchange)
    __attribute__((warn_unused_result));

/* Nobody waits for it any more. May be called from inside curl, as exchange_free may not. */
void exchange_close(struct exchange *exchange);

/* Ends it in any state. `suspect`: its connection is not to be used again. */
void exchange_free(struct exchange *exchange, bool suspect);

/* For multi_new. */
void exchange_ended(void *private, CURLcode code);

#endif
