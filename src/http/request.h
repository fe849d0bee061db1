/* A request's own copy of what it was asked for, checked. Internal to the HTTP client. */
#ifndef SLUICE_HTTP_REQUEST_H
#define SLUICE_HTTP_REQUEST_H

#include "http/client.h"
#include "http/headers.h"
#include "http/url.h"

struct request {
    char *method;
    struct url url; /* of the hop that is being made */
    struct headers headers;
    struct blob *body; /* referenced; NULL for none */
    char *ca_bundle;
    char *client_certificate;
    char *client_key;
    bool insecure_skip_verify;
    char *ca_name;          /* for messages; NULL where it is caBundleSecretRef */
    char **trusted_origins; /* as struct url writes them; at least the request's own */
    size_t trusted_origin_count;
    int64_t timeout_ms;
    int64_t connect_timeout_ms;
    uint64_t max_body;
    unsigned max_redirects;
    struct egress egress; /* `ask` is NULL where every URL is allowed */
    bool (*on_body)(void *context, const void *bytes, size_t length);
    bool fresh_connection;
};

/* Copies and checks. On error *request is empty. */
struct error *request_copy(const struct http_request *from, struct request *request)
    __attribute__((warn_unused_result));

/* Whether credentials may go to `url`. */
bool request_trusts(const struct request *request, const struct url *url);

/* What a redirect with `status` makes of the request: 303, and 301 and 302 after a POST, go on as
 * GET without body, as browsers do. */
struct error *request_redirect(struct request *request, unsigned status)
    __attribute__((warn_unused_result));

void request_free(struct request *request); /* what it holds */

#endif
