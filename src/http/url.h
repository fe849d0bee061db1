/* URLs, taken apart by curl's own parser, so that what is checked is what will be asked for. */
#ifndef SLUICE_HTTP_URL_H
#define SLUICE_HTTP_URL_H

#include "base/error.h"

#define URL_LENGTH_MAX 16384

struct url {
    char *text;   /* normalised: no fragment, no default port, the host as below */
    char *scheme; /* "http" or "https" */
    char *host;   /* lower case, without brackets or zone; IPv4 in any notation as a.b.c.d */
    char *origin; /* "https://host:443", IPv6 in brackets */
    unsigned port;
};

#define URL_INIT                  \
    {                             \
        NULL, NULL, NULL, NULL, 0 \
    }

/* Takes an absolute http or https URL apart. With `base`, a relative one is resolved against it
 * (RFC 3986; for Location). User-info is refused: credentials belong in a Secret.
 * ERROR_CONFIGURATION, InvalidURL. On error *url is empty. */
struct error *url_parse(const char *text, const struct url *base, struct url *url)
    __attribute__((warn_unused_result));

void url_free(struct url *url); /* what it holds; the struct is the caller's */

static inline __attribute__((unused)) void cleanup_url_(struct url *url)
{
    url_free(url);
}

/* "https://host/path" without query, fragment and user-info: for messages and logs. Free it; NULL
 * without memory. Never fails on odd input: it cuts what it cannot parse, and puts "?" for control
 * characters. */
char *url_for_people(const char *text);

#endif
