/*
 * The HTTP client: every outgoing request of the program, on libcurl's multi interface and the
 * loop.
 *
 * One client is one multi handle, so connections are kept and reused across sources and reconciles;
 * there is one each for upstreams, the Kubernetes API, storage and the hook executor. Names are
 * resolved before curl (bounded, cached, one look-up per name in flight) and handed over with
 * CURLOPT_RESOLVE. Redirects are followed here and never by curl: each hop is decided anew, only
 * http and https, and credentials stay with the origins they were meant for. Design: "Trust
 * boundaries", 7 and 8.
 */
#ifndef SLUICE_HTTP_CLIENT_H
#define SLUICE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/operation.h"
#include "http/egress.h"

struct http_client;

struct http_client_options {
    uv_loop_t *loop;
    struct blob_store *blobs;
    const struct clock *clock;
    const struct egress_floor *floor; /* NULL: no floor (for the API server and storage) */
    const char *user_agent;           /* NULL: "sluice/VERSION" */
    unsigned max_requests;            /* running at once, > 0; more wait in order */
    unsigned max_requests_per_host;   /* likewise to one origin; who waits for it delays no other */
};

/* Blobs, clock and floor must outlive the client. The process must ignore SIGPIPE: OpenSSL
 * writes to sockets whose peer is gone. */
struct error *http_client_new(const struct http_client_options *options,
                              struct http_client **client) __attribute__((warn_unused_result));

/* Every request must have ended or been cancelled. Closing handles ends on the loop: run it until
 * it has nothing left to do (uv_run with UV_RUN_DEFAULT). NULL is fine. */
void http_client_free(struct http_client *client);

/* A header to send. Names that are no tokens, values with control characters but tabs, and
 * Content-Length and Transfer-Encoding, which follow from the body, are refused:
 * ERROR_CONFIGURATION, InvalidHeader, naming the header and never its value. Authorization,
 * Proxy-Authorization, Cookie and Host are always taken for sensitive. */
struct http_header {
    const char *name;
    const char *value;
    bool sensitive; /* sent only to origins in `trusted_origins` */
};

struct http_tls {
    const char *ca_bundle; /* PEM, instead of the system's roots; NULL for those */
    const char
        *client_certificate; /* PEM, with `client_key`; NULL for none. Sensitive, as a header */
    const char *client_key;
    bool insecure_skip_verify;
    const char *ca_name; /* what messages call the place that names the authority; NULL:
                            "caBundleSecretRef" and how to fill it */
};

/* Everything is copied (blobs are referenced) by http_client_send but `egress`' context. */
struct http_request {
    const char *method; /* "GET", ...; capitals */
    const char *url;    /* http or https, absolute */
    const struct http_header *headers;
    size_t header_count;
    struct blob *body; /* NULL for none */
    struct http_tls tls;
    const char *const *trusted_origins; /* "https://api.example.com:443"; may be empty: then the
                                           request's own origin is the one trusted */
    size_t trusted_origin_count;
    int64_t timeout_ms; /* for the whole request with its redirects, from its turn on; > 0 */
    int64_t connect_timeout_ms; /* > 0 */
    uint64_t max_body;          /* bytes, decoded, for on_body too; UINT64_MAX for no limit */
    unsigned max_redirects; /* 0: a redirect is an answer like any other. POST goes on as GET after
                               301 and 302, every method but HEAD after 303 */
    const struct egress *egress; /* NULL: every URL is allowed (the floor still holds) */
    /* Instead of a blob, the bytes of a 2xx answer's body as they come (a watch), with the context
     * of `done`. Returns false to end the request as failed; may cancel it. May be NULL. */
    bool (*on_body)(void *context, const void *bytes, size_t length);
    bool fresh_connection; /* has one to itself: reuses none, and leaves none to others */
};

struct http_response {
    unsigned status;
    const struct http_header *headers; /* names in lower case; repeated ones stay apart */
    size_t header_count;
    struct blob *body; /* NULL where on_body had it */
    const char *url;   /* of the last hop */
};

/* Exactly one of `error` (owned by the receiver) and `response` (valid during the call; ref the
 * body to keep it) is not NULL. Any status is a response. A body over `max_body`: ERROR_UPSTREAM
 * OutputLimit. A body shorter than announced, an unreachable or unresolvable host, a TLS failure or
 * a time-out: ERROR_TRANSIENT with reason FetchFailed or Timeout. An address that the floor or the
 * policy refuses: ERROR_CONFIGURATION, EgressDenied. More redirects than allowed, or one to a URL
 * that cannot be followed: ERROR_UPSTREAM, FetchFailed. Every message names
 * method and URL without its query and user-info, which may hold secrets. */
typedef void (*http_done)(void *context, struct error *error, const struct http_response *response);

/* What is wrong with the request itself is found here: ERROR_CONFIGURATION with InvalidURL (not
 * absolute http or https, with user-info), InvalidMethod or InvalidHeader. */
struct error *http_client_send(struct http_client *client, const struct http_request *request,
                               http_done done, void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* Value of the first header called `name` (lower case), or NULL. */
const char *http_response_header(const struct http_response *response, const char *name);

/* What Retry-After asks for, in seconds or as a date, in milliseconds; 0 where it is missing, is
 * nothing of the kind, or has passed. Never more than a day. */
int64_t http_response_retry_after_ms(const struct http_response *response,
                                     const struct clock *clock);

#endif
