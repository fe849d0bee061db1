/*
 * HTTP servers on libmicrohttpd: the artifact server (artifacts only) and the small ones for health
 * and metrics. They run on threads of their own, so that a slow client never holds up the loop;
 * what they call must be thread-safe.
 */
#ifndef SLUICE_HTTP_SERVER_H
#define SLUICE_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/buffer.h"
#include "base/error.h"

struct http_server;

/* What a handler answers with. */
struct http_answer {
    unsigned status;          /* 200, 404, 503, … */
    const char *content_type; /* static; NULL for text/plain; charset=utf-8 */
    struct blob *blob;        /* the body; the server takes the reference. Or: */
    struct buffer text;       /* the body, taken over; used where blob is NULL */
};

/* Answers GET (HEAD is the same without the body) of `path` (decoded, begins with "/", without
 * query) by filling *answer, which is zero with status 404 at first. Called on a server thread. */
typedef void (*http_handler)(void *context, const char *path, struct http_answer *answer);

/* One route: every path that begins with `prefix` goes to `handler`; the longest prefix wins. */
struct http_route {
    const char *prefix;
    http_handler handler;
    void *context;
};

/* Listens on `address` ("127.0.0.1:8080", "[::1]:0", ":8080" for all; port 0 takes a free one) and
 * serves `routes` (copied) until http_server_free. Blobs go out by sendfile where they are files.
 * Other methods get 405. An address that cannot be used is ERROR_CONFIGURATION, reason
 * ListenFailed, naming it. */
struct error *http_server_start(const char *address, const struct http_route *routes, size_t count,
                                struct http_server **server) __attribute__((warn_unused_result));

/* The address really bound, "127.0.0.1:41234". Valid as long as the server. */
const char *http_server_address(const struct http_server *server);

/* Stops listening, ends connections, joins the threads. NULL is fine. */
void http_server_free(struct http_server *server);

#endif
