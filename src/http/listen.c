/*
 * See listen.h. We bind ourselves, and hand the socket to libmicrohttpd: so that a port that is
 * taken is told from one that is refused, and port 0 tells its number.
 */
#include "http/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"

#define BACKLOG 511
#define PORT_DIGITS_MAX 5

struct endpoint {
    char host[NI_MAXHOST]; /* without brackets; "" for all addresses */
    char port[PORT_DIGITS_MAX + 1];
};

static bool parse_port(const char *text, char port[PORT_DIGITS_MAX + 1])
{
    size_t length = strlen(text);

    if (length == 0 || length > PORT_DIGITS_MAX || strspn(text, "0123456789") != length ||
        strtoul(text, NULL, 10) > 65535)
        return false;
    memcpy(port, text, length + 1);
    return true;
}

static bool parse(const char *text, struct endpoint *endpoint)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;

    if (!colon || !parse_port(colon + 1, endpoint->port))
        return false;
    size_t length = (size_t)(colon - text);
    if (length > 0 && text[0] == '[') {
        if (length < 3 || text[length - 1] != ']')
            return false;
        host++;
        length -= 2;
    } else if (memchr(text, ':', length)) {
        return false; /* an IPv6 address without its brackets */
    }
    if (length >= sizeof(endpoint->host))
        return false;
    memcpy(endpoint->host, host, length);
    endpoint->host[length] = '\0';
    return true;
}

/* A listening socket, or -1 with errno. */
static int listen_at(const struct sockaddr *address, socklen_t length)
{
    int descriptor =
        socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    int on = 1;
    int off = 0;

    if (descriptor < 0)
        return -1;
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->sa_family == AF_INET6)
        setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(descriptor, address, length) == 0 && listen(descriptor, BACKLOG) == 0)
        return descriptor;

    int number = errno;
    close(descriptor);
    errno = number;
    return -1;
}

/* All addresses: one IPv6 socket serves both kinds; without IPv6 an IPv4 one. */
static int listen_anywhere(const char *port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    struct sockaddr_in four = {.sin_family = AF_INET};

    six.sin6_port = four.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    int descriptor = listen_at((struct sockaddr *)&six, sizeof(six));
    if (descriptor < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        descriptor = listen_at((struct sockaddr *)&four, sizeof(four));
    return descriptor;
}

static struct error *listen_failed(const char *text)
{
    return error_from_errno(ERROR_CONFIGURATION, "ListenFailed", errno, "cannot listen on '%s'",
                            text);
}

static struct error *listen_at_host(const char *text, const struct endpoint *endpoint,
                                    int *descriptor)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(endpoint->host, endpoint->port, &hints, &found);

    if (code != 0)
        return error_new(ERROR_CONFIGURATION, "ListenFailed", "cannot listen on '%s': %s", text,
                         gai_strerror(code));
    for (struct addrinfo *at = found; at && *descriptor < 0; at = at->ai_next)
        *descriptor = listen_at(at->ai_addr, at->ai_addrlen);
    struct error *error = *descriptor < 0 ? listen_failed(text) : NULL;
    freeaddrinfo(found);
    return error;
}

/* What the socket is bound to. */
static char *bound_address(int descriptor, bool anywhere)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];

    if (getsockname(descriptor, (struct sockaddr *)&address, &length) != 0 ||
        getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return NULL;
    if (anywhere)
        return format_string(":%s", port);
    return format_string(address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

struct error *listen_on(const char *text, int *descriptor, char **address)
{
    struct endpoint endpoint;

    *descriptor = -1;
    *address = NULL;
    if (!parse(text, &endpoint))
        return error_new(ERROR_CONFIGURATION, "ListenFailed",
                         "cannot listen on '%s'; accepted: HOST:PORT, [IPV6]:PORT or :PORT (all "
                         "addresses), with a port from 0 (any) to 65535",
                         text);
    if (endpoint.host[0]) {
        struct error *error = listen_at_host(text, &endpoint, descriptor);

        if (error)
            return error;
    } else {
        *descriptor = listen_anywhere(endpoint.port);
        if (*descriptor < 0)
            return listen_failed(text);
    }
    *address = bound_address(*descriptor, !endpoint.host[0]);
    if (*address)
        return NULL;
    close(*descriptor);
    return error_out_of_memory();
}
