/* URLs, taken apart by curl's own parser, so that what is checked is what will be asked for. */
#ifndef SLUICE_HTTP_URL_H
#define SLUICE_HTTP_URL_H

#include "base/error.h"

struct url {
    char *text;   /* normalised, without fragment */
    char *scheme; /* "http" or "https" */
    char *host;   /* lower case, without brackets or zone */
    char *origin; /* "https://host:443" */
    unsigned port;
};

/* Takes an absolute http or https URL apart. With `base`, a relative one is resolved against it (RFC 3986;
 * for Location). User-info is refused: credentials belong in a Secret. ERROR_CONFIGURATION, InvalidURL. */
struct error *url_parse(const char *text, const struct url *base, struct url *url)
    __attribute__((warn_unused_result));

void url_free(struct url *url); /* what it holds; the struct is the caller's */

/* "https://host/path" without query, fragment and user-info: for messages and logs. Free it; NULL without
 * memory. Never fails on odd input: it cuts what it cannot parse. */
char *url_for_people(const char *text);

#endif
