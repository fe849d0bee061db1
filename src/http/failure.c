/*
 * Failures in words. The one idea: a person reads the message, so it says what was seen and, where
 * there is something to do about it, what.
 */
#include "http/failure.h"

#include <ctype.h>
#include <string.h>

#include <openssl/x509_vfy.h>

#include "base/clock.h"

static struct error *fetch_failed(const char *what, const char *detail)
{
    return error_new(ERROR_TRANSIENT, "FetchFailed", detail && *detail ? "%s: %s" : "%s", what,
                     detail);
}

static struct error *unknown_authority(const char *ca_name)
{
    return error_new(ERROR_TRANSIENT, "FetchFailed",
                     "TLS: the server's certificate is signed by an unknown authority; put the "
                     "authority's certificate (PEM) into %s",
                     ca_name ? ca_name : "a Secret and name it in caBundleSecretRef");
}

static struct error *bundle_refused(const struct exchange *exchange)
{
    const char *ca_name = exchange->options.request->ca_name;

    if (!ca_name)
        return fetch_failed("TLS: the CA bundle named by caBundleSecretRef is not a list of PEM "
                            "certificates",
                            exchange->curl_error);
    return error_new(ERROR_TRANSIENT, "FetchFailed", "TLS: %s is not a list of PEM certificates",
                     ca_name);
}

static struct error *certificate_refused(const struct exchange *exchange)
{
    long verdict = X509_V_OK;

    curl_easy_getinfo(exchange->easy, CURLINFO_SSL_VERIFYRESULT, &verdict);
    switch (verdict) {
    case X509_V_OK: /* the chain is good, so it was the name; curl 7.88 leaves "unspecified" there
                     */
    case X509_V_ERR_UNSPECIFIED:
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return error_new(ERROR_TRANSIENT, "FetchFailed",
                         "TLS: the server's certificate is not for the name '%s'; ask for a name "
                         "that is in it, or have one issued for this name",
                         exchange->options.request->url.host);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return unknown_authority(exchange->options.request->ca_name);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return error_new(ERROR_TRANSIENT, "FetchFailed",
                         "TLS: the server's certificate, or one that signed it, has expired; "
                         "have it renewed");
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return error_new(ERROR_TRANSIENT, "FetchFailed",
                         "TLS: the server's certificate is not valid yet; check both clocks");
    default:
        return fetch_failed("TLS: the server's certificate is refused", exchange->curl_error);
    }
}

static struct error *not_connected(const struct exchange *exchange)
{
    long number = 0;
    char reason[128];

    curl_easy_getinfo(exchange->easy, CURLINFO_OS_ERRNO, &number);
    if (number == 0)
        return fetch_failed("cannot connect", exchange->curl_error);
    char *text = strerror_r((int)number, reason, sizeof(reason));
    if (text != reason) {
        strncpy(reason, text, sizeof(reason) - 1);
        reason[sizeof(reason) - 1] = '\0';
    }
    reason[0] = (char)tolower((unsigned char)reason[0]);
    return fetch_failed("cannot connect", reason);
}

static struct error *not_connected_in_time(const struct exchange *exchange)
{
    char limit[TIME_TEXT_SIZE];

    duration_format(exchange->options.request->connect_timeout_ms, limit);
    return error_new(ERROR_TRANSIENT, "Timeout", "no connection within %s", limit);
}

/* curl says how many bytes it counted, which its own message does not do well. */
static struct error *body_cut_short(const struct exchange *exchange)
{
    curl_off_t announced = -1;
    curl_off_t received = 0;

    curl_easy_getinfo(exchange->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    curl_easy_getinfo(exchange->easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
    if (announced < 0)
        return fetch_failed("the answer's body was cut off", NULL);
    return error_new(ERROR_TRANSIENT, "FetchFailed",
                     "the answer's body was cut off after %lld of %lld bytes", (long long)received,
                     (long long)announced);
}

struct error *failure_explain(struct exchange *exchange, CURLcode code)
{
    if (exchange->error)
        return TAKE(exchange->error);
    /* One address was refused and no other could be reached: the refusal is what a person can act
     * on. */
    if (exchange->denied && (exchange->sockets == 0 || code == CURLE_COULDNT_CONNECT))
        return TAKE(exchange->denied);
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return error_out_of_memory();
    case CURLE_OPERATION_TIMEDOUT:
        return not_connected_in_time(exchange);
    case CURLE_COULDNT_CONNECT:
        return not_connected(exchange);
    case CURLE_PARTIAL_FILE:
        return body_cut_short(exchange);
    case CURLE_GOT_NOTHING:
        return fetch_failed("the server closed the connection without an answer", NULL);
    case CURLE_PEER_FAILED_VERIFICATION:
        return certificate_refused(exchange);
    case CURLE_SSL_CACERT_BADFILE:
        return bundle_refused(exchange);
    case CURLE_SSL_CERTPROBLEM:
        return fetch_failed("TLS: the client certificate or its key cannot be used",
                            exchange->curl_error);
    case CURLE_SSL_CONNECT_ERROR:
        return fetch_failed("TLS: no secure connection", exchange->curl_error);
    case CURLE_BAD_CONTENT_ENCODING:
        return fetch_failed("the answer's compressed body is damaged", exchange->curl_error);
    default:
        return fetch_failed(
            exchange->curl_error[0] ? exchange->curl_error : curl_easy_strerror(code), NULL);
    }
}
