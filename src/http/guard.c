/*
 * The guard at the door of the machine. The one idea: the address itself is judged, at the last
 * moment, both where a connection begins and where a request is sent (for a reused connection has
 * no beginning), so it does not matter how anybody came to the address.
 */
#include "http/guard.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <uv.h>

#include "http/exchange.h"

#define UNACKNOWLEDGED_MS_MAX 30000 /* a peer that is gone is noticed after so long */

/* NULL if the address may be reached. */
static struct error *judge(const struct exchange_options *options, const struct sockaddr *address)
{
    char shown[INET6_ADDRSTRLEN] = "the address";
    char network[NETWORK_TEXT_SIZE];
    const char *fault = NULL;

    uv_ip_name(address, shown, sizeof(shown));
    if (options->floor)
        fault = egress_floor_fault(options->floor, address);
    if (fault)
        return error_new(ERROR_CONFIGURATION, "EgressDenied",
                         "egress denied: %s %s, which no source may reach", shown, fault);
    for (size_t i = 0; i < options->refused_count; i++) {
        if (!network_contains(&options->refused[i], address))
            continue;
        network_format(&options->refused[i], network);
        return error_new(ERROR_CONFIGURATION, "EgressDenied",
                         "egress denied: %s is in %s, which the egress policy refuses", shown,
                         network);
    }
    return NULL;
}

int guard_resolve(void *resolver_state, void *reserved, void *context)
{
    const struct exchange *exchange = context;

    (void)resolver_state;
    (void)reserved;
    return exchange->resolve_lines ? 1 : 0;
}

curl_socket_t guard_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct exchange *exchange = context;
    struct error *denied;
    int timeout = UNACKNOWLEDGED_MS_MAX;
    int descriptor;

    if (exchange->closed || purpose != CURLSOCKTYPE_IPCXN)
        return CURL_SOCKET_BAD;
    denied = judge(&exchange->options, &address->addr);
    if (denied) {
        if (!exchange->denied)
            exchange->denied = denied;
        else
            error_free(denied);
        return CURL_SOCKET_BAD;
    }
    descriptor = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                        address->protocol);
    if (descriptor < 0) {
        /* An address family that this machine lacks is passed over; a want of descriptors is told.
         */
        if (errno != EAFNOSUPPORT && !exchange->denied)
            exchange->denied =
                error_from_errno(ERROR_TRANSIENT, "FetchFailed", errno, "cannot open a socket");
        return CURL_SOCKET_BAD;
    }
    setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
    exchange->sockets++;
    return descriptor;
}

int guard_request(void *context, char *remote_address, char *local_address, int remote_port,
                  int local_port)
{
    struct exchange *exchange = context;
    struct sockaddr_storage address = {0};

    (void)local_address;
    (void)local_port;
    if (exchange->closed)
        return CURL_PREREQFUNC_ABORT;
    if (uv_ip4_addr(remote_address, remote_port, (struct sockaddr_in *)&address) == 0 ||
        uv_ip6_addr(remote_address, remote_port, (struct sockaddr_in6 *)&address) == 0)
        exchange->error = judge(&exchange->options, (struct sockaddr *)&address);
    else
        exchange->error = error_new(ERROR_INTERNAL, "EgressDenied",
                                    "egress denied: '%s' is not an address", remote_address);
    exchange->denied_reused = exchange->error && exchange->sockets == 0;
    return exchange->error ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}
