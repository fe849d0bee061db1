/* What curl asks before it resolves, connects and sends; the context is the exchange. Internal. */
#ifndef SLUICE_HTTP_GUARD_H
#define SLUICE_HTTP_GUARD_H

#include <curl/curl.h>

/* Refuses every name: all of them were resolved before. */
int guard_resolve(void *resolver_state, void *reserved, void *context);

/* Opens a socket to an address that may be reached, else refuses it. */
curl_socket_t guard_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address);

/* Checks the address that the request is about to be sent to, over a new connection or one reused.
 */
int guard_request(void *context, char *remote_address, char *local_address, int remote_port,
                  int local_port);

#endif
