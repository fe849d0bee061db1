/*
 * libcurl's multi interface on the libuv loop: curl says which sockets and which time to watch, the
 * loop says what happened to them. Internal to the HTTP client.
 */
#ifndef SLUICE_HTTP_MULTI_H
#define SLUICE_HTTP_MULTI_H

#include <curl/curl.h>
#include <uv.h>

#include "base/error.h"

struct multi;

/* Called from the loop, never from inside curl, when the transfer of an added handle has ended;
 * `private` is its CURLOPT_PRIVATE. The receiver then removes the handle. */
typedef void (*multi_done)(void *private, CURLcode code);

/* Keeps at most `connections` idle connections. */
struct error *multi_new(uv_loop_t *loop, unsigned connections, multi_done done,
                        struct multi **multi) __attribute__((warn_unused_result));

/* Every handle must have been removed. Ends idle connections; memory goes when the loop has run
 * once. */
void multi_free(struct multi *multi);

/* A handle with nothing set, perhaps used before. NULL without memory. */
CURL *multi_acquire(struct multi *multi);

/* Takes back a handle that is not added. */
void multi_release(struct multi *multi, CURL *easy);

struct error *multi_add(struct multi *multi, CURL *easy) __attribute__((warn_unused_result));

/* Never from inside a callback of curl. */
void multi_remove(struct multi *multi, CURL *easy);

#endif
