/*
 * Egress: which URLs may be asked for, and which addresses may be connected to.
 *
 * A policy decides (by name, before each hop), the core enforces (on the address really connected
 * to): a verdict carries the networks that the policy refuses, and these are compared with the peer
 * address in curl's open-socket and pre-request callbacks, so that neither DNS rebinding nor a
 * reused connection nor a redirect gets round them. Below every policy lies the floor, which no
 * policy can lift: link-local and cloud metadata addresses, and this program's own listeners.
 */
#ifndef SLUICE_HTTP_EGRESS_H
#define SLUICE_HTTP_EGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/operation.h"

/* An IPv4 or IPv6 network; IPv4 is held as v4-mapped IPv6, so that ::ffff:a.b.c.d is the same
 * address. */
struct network {
    uint8_t address[16];
    uint8_t prefix; /* bits, 0 to 128 */
};

#define NETWORK_TEXT_SIZE 64

/* "10.0.0.0/8", "::1", "fe80::/10"; bits behind the prefix do not count. False if `text` is
 * anything else. */
bool network_parse(const char *text, struct network *network);

/* As "10.0.0.0/8", always with the prefix. */
void network_format(const struct network *network, char text[NETWORK_TEXT_SIZE]);

/* An IPv6 network contains no IPv4 address: "::/0" is all of IPv6, "0.0.0.0/0" all of IPv4. */
bool network_contains(const struct network *network, const struct sockaddr *address);

/* The floor: our own listeners, by address and port. Immutable once the servers listen. */
struct egress_floor;

struct egress_floor *egress_floor_new(void); /* NULL without memory */
void egress_floor_free(struct egress_floor *floor);

/* Adds one of our listeners, "127.0.0.1:8080", "[::1]:8080" or ":8080"; a wildcard address covers
 * every local address. Anything else: ERROR_CONFIGURATION, InvalidAddress. */
struct error *egress_floor_add_listener(struct egress_floor *floor, const char *address)
    __attribute__((warn_unused_result));

/* NULL if `address` may be connected to, else a static phrase: "is a link-local address". Addresses
 * behind the NAT64 prefix count as the IPv4 address that they stand for. */
const char *egress_floor_fault(const struct egress_floor *floor, const struct sockaddr *address);

/* One hop that is about to be made. */
struct egress_request {
    const char *method;
    const char *url;
    const char *scheme; /* "http" or "https" */
    const char *host;   /* without brackets */
    unsigned port;
    bool redirect; /* a hop that upstream asked for */
};

/* What was decided. `denied` is NULL if the hop may be made, else an error (EgressDenied;
 * ERROR_CONFIGURATION, or ERROR_TRANSIENT where nobody could be asked) that the receiver owns;
 * `refused` are networks that it must not reach, valid during the call. */
typedef void (*egress_decided)(void *context, struct error *denied, const struct network *refused,
                               size_t refused_count);

/* Who decides: bound by the caller of the HTTP client to a source and a module. Asynchronous by the
 * rule of base/operation.h. `context` must outlive the request. */
struct egress {
    struct error *(*ask)(void *context, const struct egress_request *request,
                         egress_decided decided, void *decided_context,
                         struct operation **operation);
    void *context;
};

#endif
