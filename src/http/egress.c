/*
 * Networks and the floor. The one idea: there is one kind of address, sixteen bytes of IPv6 with
 * IPv4 mapped into it, so that no second notation of an address escapes a comparison.
 */
#include "http/egress.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define V4_MAPPED_BITS 96

struct listener {
    struct listener *next;
    uint8_t address[16];
    uint16_t port; /* host byte order */
    bool wildcard; /* listens on every local address */
};

struct egress_floor {
    struct listener *listeners;
};

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};

/* Addresses that give out credentials or control of the machine, whoever asks. Link-local holds the
 * metadata services of most clouds; the others chose addresses of their own. */
static const struct {
    const char *network;
    const char *fault;
} forbidden[] = {
    {"169.254.0.0/16", "is a link-local address"},
    {"fe80::/10", "is a link-local address"},
    {"0.0.0.0/8", "is an unspecified address"},
    {"::/128", "is an unspecified address"},
    {"100.100.100.200", "is a cloud metadata address"},    /* Alibaba Cloud */
    {"168.63.129.16", "is a cloud metadata address"},      /* Azure */
    {"192.0.0.192", "is a cloud metadata address"},        /* Oracle Cloud */
    {"fd00:ec2::254", "is a cloud metadata address"},      /* AWS */
    {"fd20:ce::254", "is a cloud metadata address"},       /* Google Cloud */
    {"fd00:42::42", "is a cloud metadata address"},        /* Scaleway */
    {"fd00:c1::a9fe:a9fe", "is a cloud metadata address"}, /* Oracle Cloud */
};

bool network_parse(const char *text, struct network *network)
{
    char address[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "/");
    unsigned most = 128;
    unsigned prefix = 0;

    if (length >= sizeof(address))
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    if (inet_pton(AF_INET, address, network->address + sizeof(v4_mapped)) == 1) {
        memcpy(network->address, v4_mapped, sizeof(v4_mapped));
        most = 32;
    } else if (inet_pton(AF_INET6, address, network->address) != 1) {
        return false;
    }
    if (text[length] == '\0') {
        network->prefix = 128;
        return true;
    }

    const char *digit = text + length + 1;
    if (*digit == '\0' || (*digit == '0' && digit[1] != '\0'))
        return false;
    for (; *digit; digit++) {
        if (*digit < '0' || *digit > '9')
            return false;
        prefix = prefix * 10 + (unsigned)(*digit - '0');
        if (prefix > most)
            return false;
    }
    network->prefix = (uint8_t)(prefix + 128 - most);
    return true;
}

void network_format(const struct network *network, char text[NETWORK_TEXT_SIZE])
{
    bool v4 = network->prefix >= V4_MAPPED_BITS &&
              memcmp(network->address, v4_mapped, sizeof(v4_mapped)) == 0;
    char address[INET6_ADDRSTRLEN] = "";

    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? network->address + sizeof(v4_mapped) : network->address,
              address, sizeof(address));
    snprintf(text, NETWORK_TEXT_SIZE, "%s/%d", address,
             v4 ? network->prefix - V4_MAPPED_BITS : network->prefix);
}

/* False for anything but an internet address. */
static bool bytes_of(const struct sockaddr *address, uint8_t bytes[16])
{
    if (address->sa_family == AF_INET) {
        memcpy(bytes, v4_mapped, sizeof(v4_mapped));
        memcpy(bytes + sizeof(v4_mapped), &((const struct sockaddr_in *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
        return true;
    }
    return false;
}

static unsigned port_of(const struct sockaddr *address)
{
    return ntohs(address->sa_family == AF_INET ? ((const struct sockaddr_in *)address)->sin_port
                                               : ((const struct sockaddr_in6 *)address)->sin6_port);
}

static bool contains_bytes(const struct network *network, const uint8_t bytes[16])
{
    unsigned whole = network->prefix / 8;
    unsigned rest = network->prefix % 8;

    /* "::/0" means every IPv6 address, as people expect, and not also every IPv4 one. */
    if (network->prefix < V4_MAPPED_BITS && memcmp(bytes, v4_mapped, sizeof(v4_mapped)) == 0)
        return false;
    if (memcmp(network->address, bytes, whole) != 0)
        return false;
    return rest == 0 || (network->address[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

bool network_contains(const struct network *network, const struct sockaddr *address)
{
    uint8_t bytes[16];

    return bytes_of(address, bytes) && contains_bytes(network, bytes);
}

struct egress_floor *egress_floor_new(void)
{
    return calloc(1, sizeof(struct egress_floor));
}

void egress_floor_free(struct egress_floor *floor)
{
    if (!floor)
        return;
    while (floor->listeners) {
        struct listener *listener = floor->listeners;

        floor->listeners = listener->next;
        free(listener);
    }
    free(floor);
}

/* "127.0.0.1:8080", "[::1]:8080" or ":8080". */
static bool parse_listener(const char *text, struct listener *listener)
{
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    char host[INET6_ADDRSTRLEN];
    char *end = NULL;
    struct network network;

    if (!colon || colon[1] < '0' || colon[1] > '9')
        return false;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || port == 0 || port > UINT16_MAX)
        return false;
    listener->port = (uint16_t)port;
    if (length == 0) {
        listener->wildcard = true;
        return true;
    }
    if (text[0] == '[' && text[length - 1] == ']') {
        text++;
        length -= 2;
    }
    if (length >= sizeof(host))
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    if (strchr(host, '/') || !network_parse(host, &network))
        return false;
    memcpy(listener->address, network.address, sizeof(listener->address));
    listener->wildcard = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    return true;
}

struct error *egress_floor_add_listener(struct egress_floor *floor, const char *address)
{
    struct listener *listener = calloc(1, sizeof(*listener));

    if (!listener)
        return error_out_of_memory();
    if (!parse_listener(address, listener)) {
        free(listener);
        return error_new(ERROR_CONFIGURATION, "InvalidAddress",
                         "listener '%s' is not ADDRESS:PORT with a numeric address, such as "
                         "127.0.0.1:8080, [::1]:8080 or :8080",
                         address);
    }
    listener->next = floor->listeners;
    floor->listeners = listener;
    return NULL;
}

/* Whether `bytes` is an address of this machine. Without an answer from the kernel it counts as
 * one. */
static bool is_local(const uint8_t bytes[16])
{
    static const struct network loopback = {
        .address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127}, .prefix = 104};
    struct ifaddrs *interfaces = NULL;
    bool found = false;

    if (contains_bytes(&loopback, bytes) || getifaddrs(&interfaces) != 0)
        return true;
    for (struct ifaddrs *at = interfaces; at && !found; at = at->ifa_next) {
        uint8_t local[16];

        found = at->ifa_addr && bytes_of(at->ifa_addr, local) && memcmp(local, bytes, 16) == 0;
    }
    freeifaddrs(interfaces);
    return found;
}

static const char *forbidden_fault(const uint8_t bytes[16])
{
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        struct network network;

        if (network_parse(forbidden[i].network, &network) && contains_bytes(&network, bytes))
            return forbidden[i].fault;
    }
    return NULL;
}

const char *egress_floor_fault(const struct egress_floor *floor, const struct sockaddr *address)
{
    uint8_t bytes[16];
    const char *fault;

    if (!bytes_of(address, bytes))
        return "is not an internet address";
    /* A NAT64 gateway would carry the request on to the IPv4 address within. */
    if (memcmp(bytes, nat64, sizeof(nat64)) == 0)
        memcpy(bytes, v4_mapped, sizeof(v4_mapped));
    fault = forbidden_fault(bytes);
    if (fault)
        return fault;
    for (const struct listener *at = floor->listeners; at; at = at->next) {
        if (at->port != port_of(address))
            continue;
        if (at->wildcard ? is_local(bytes) : memcmp(at->address, bytes, sizeof(bytes)) == 0)
            return "is a listener of this program";
    }
    return NULL;
}
