/*
 * Names to addresses, before curl: one look-up per name in flight whoever asks, few look-ups at
 * once, and answers kept for a short time. libcurl by itself would start a thread for every fetch.
 * Design: "Trust boundaries", 8.
 */
#ifndef SLUICE_HTTP_RESOLVER_H
#define SLUICE_HTTP_RESOLVER_H

#include <stdbool.h>
#include <uv.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/operation.h"

#define RESOLVER_LOOKUPS_MAX 8     /* in flight; more wait in order */
#define RESOLVER_NAMES_MAX 1024    /* answers kept */
#define RESOLVER_ADDRESSES_MAX 16  /* of one name */
#define RESOLVER_POSITIVE_MS 30000 /* an answer is kept for */
#define RESOLVER_NEGATIVE_MS 2000  /* a failure is kept for */

struct resolver;

struct error *resolver_new(uv_loop_t *loop, const struct clock *clock, struct resolver **resolver)
    __attribute__((warn_unused_result));

/* Every look-up must have ended or been cancelled. NULL is fine. Memory goes when the loop has run
 * on, at the latest with the last answer of getaddrinfo. */
void resolver_free(struct resolver *resolver);

/* Exactly one of `error` (owned by the receiver) and `addresses` is not NULL: numeric addresses in
 * the order to try, comma-separated, IPv6 in brackets, as CURLOPT_RESOLVE takes them; valid during
 * the call. */
typedef void (*resolver_done)(void *context, struct error *error, const char *addresses);

/* Looks `name` up (getaddrinfo, so /etc/hosts and the rest of nsswitch.conf count). A name that
 * cannot be resolved is ERROR_TRANSIENT, FetchFailed. */
struct error *resolver_look_up(struct resolver *resolver, const char *name, resolver_done done,
                               void *context, struct operation **operation)
    __attribute__((warn_unused_result));

/* Whether `host` is an address already ("127.0.0.1", "::1") and needs no look-up. */
bool resolver_is_numeric(const char *host);

#endif
