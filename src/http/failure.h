/* Why an exchange failed, for people. Internal to the HTTP client. */
#ifndef SLUICE_HTTP_FAILURE_H
#define SLUICE_HTTP_FAILURE_H

#include "http/exchange.h"

/* The error for curl's `code`, which is not CURLE_OK: what a callback found, if it was one that
 * stopped curl; takes it out of the exchange. */
struct error *failure_explain(struct exchange *exchange, CURLcode code)
    __attribute__((returns_nonnull, warn_unused_result));

#endif
