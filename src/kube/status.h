/* What the API server's answers mean. Internal to src/kube. */
#ifndef SLUICE_KUBE_STATUS_H
#define SLUICE_KUBE_STATUS_H

#include "base/blob.h"
#include "http/client.h"
#include "kube/client.h"

/* Reads an answer: its JSON where it is JSON, and what that says. A success that is no JSON object,
 * or is cut off, is an error (ERROR_TRANSIENT, APIServerError); a refusal in whatever form is not.
 * The members of *response live as long as `response->object`, which the caller owns. */
struct error *status_read(const struct http_response *answer, const struct clock *clock,
                          struct kube_response *response) __attribute__((warn_unused_result));

/* Whether the same request may be answered otherwise a little later. */
bool status_may_pass(const struct kube_response *response);

#endif
