/* Listening sockets from addresses as people write them. Internal to the HTTP servers. */
#ifndef SLUICE_HTTP_LISTEN_H
#define SLUICE_HTTP_LISTEN_H

#include "base/error.h"

/* A listening TCP socket for "HOST:PORT", "[IPV6]:PORT" or ":PORT" (all addresses, IPv4 and, where
 * there is any, IPv6). *address (free) is what was bound, in the same form, with the real port.
 * Anything that cannot be used is ERROR_CONFIGURATION, reason ListenFailed. */
struct error *listen_on(const char *text, int *descriptor, char **address)
    __attribute__((warn_unused_result));

#endif
