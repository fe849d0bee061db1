/*
 * One hop over curl. The one idea: what curl is told is in one place (`configure` and the functions
 * that it calls), because every line of it is a promise: no redirects, no proxies, no names
 * resolved, nothing but http and https, our header lines only.
 */
#include "http/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "http/exchange_io.h"
#include "http/failure.h"
#include "http/guard.h"

#define BUFFER_SIZE 8192L /* curl's own 16 KiB a handle are most of what a waiting fetch costs */
#define UPLOAD_BUFFER_SIZE 16384L /* curl's least, not its 64 KiB; a handle keeps it */
#define IDLE_SECONDS_MAX 90L      /* upstreams and middleboxes forget idle connections; so do we */
#define LIFETIME_SECONDS_MAX 600L /* and DNS changes are to be noticed */
#define ADDRESS_SECONDS_MAX 600L  /* curl's copy of addresses, which each hop replaces */

/* Sets an option and keeps the first failure in `code`. */
#define SET(option, value)                                         \
    do {                                                           \
        CURLcode set_ = curl_easy_setopt(easy, (option), (value)); \
        if (code == CURLE_OK)                                      \
            code = set_;                                           \
    } while (0)

static struct curl_blob pem(const char *text)
{
    return (struct curl_blob){(void *)text, strlen(text), CURL_BLOB_NOCOPY};
}

static CURLcode configure_tls(struct exchange *exchange)
{
    const struct request *request = exchange->options.request;
    CURL *easy = exchange->easy;
    CURLcode code = CURLE_OK;

    if (request->ca_bundle) {
        struct curl_blob bundle = pem(request->ca_bundle);

        SET(CURLOPT_CAINFO_BLOB, &bundle);
        /* Or the system's directory of roots would count as well. */
        SET(CURLOPT_CAPATH, NULL);
    }
    if (request->client_certificate && request_trusts(request, &request->url)) {
        struct curl_blob certificate = pem(request->client_certificate);
        struct curl_blob key = pem(request->client_key ? request->client_key : "");

        SET(CURLOPT_SSLCERT_BLOB, &certificate);
        SET(CURLOPT_SSLKEY_BLOB, &key);
    }
    if (request->insecure_skip_verify) {
        SET(CURLOPT_SSL_VERIFYPEER, 0L);
        SET(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return code;
}

static CURLcode configure_connection(struct exchange *exchange)
{
    const struct exchange_options *options = &exchange->options;
    bool https = strcmp(options->request->url.scheme, "https") == 0;
    CURL *easy = exchange->easy;
    CURLcode code = CURLE_OK;

    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_BUFFERSIZE, BUFFER_SIZE);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_SIZE);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)options->request->connect_timeout_ms);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, 30L);
    SET(CURLOPT_TCP_KEEPINTVL, 15L);
    SET(CURLOPT_MAXAGE_CONN, IDLE_SECONDS_MAX);
    SET(CURLOPT_MAXLIFETIME_CONN, LIFETIME_SECONDS_MAX);
    SET(CURLOPT_DNS_CACHE_TIMEOUT, ADDRESS_SECONDS_MAX);
    SET(CURLOPT_FRESH_CONNECT, options->fresh_connection ? 1L : 0L);
    SET(CURLOPT_FORBID_REUSE, options->request->fresh_connection ? 1L : 0L);
    /* Waiting to see whether a connection can be shared makes sense only where ALPN may say so. */
    SET(CURLOPT_HTTP_VERSION, https ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PIPEWAIT, https ? 1L : 0L);
    SET(CURLOPT_RESOLVE, exchange->resolve_lines);
    SET(CURLOPT_RESOLVER_START_FUNCTION, guard_resolve);
    SET(CURLOPT_RESOLVER_START_DATA, exchange);
    SET(CURLOPT_OPENSOCKETFUNCTION, guard_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, exchange);
    SET(CURLOPT_PREREQFUNCTION, guard_request);
    SET(CURLOPT_PREREQDATA, exchange);
    return code;
}

static CURLcode configure_request(struct exchange *exchange)
{
    const struct request *request = exchange->options.request;
    CURL *easy = exchange->easy;
    CURLcode code = CURLE_OK;

    SET(CURLOPT_URL, request->url.text);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_USERAGENT, exchange->options.user_agent);
    SET(CURLOPT_ACCEPT_ENCODING, "");
    SET(CURLOPT_HTTPHEADER, exchange->header_lines);
    if (request->body) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)blob_length(request->body));
        SET(CURLOPT_READFUNCTION, exchange_read);
        SET(CURLOPT_READDATA, exchange);
        SET(CURLOPT_SEEKFUNCTION, exchange_seek);
        SET(CURLOPT_SEEKDATA, exchange);
    } else if (strcmp(request->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (strcmp(request->method, "POST") == 0 || strcmp(request->method, "PUT") == 0 ||
               strcmp(request->method, "PATCH") == 0) {
        SET(CURLOPT_POSTFIELDS, "");
    }
    if (strcmp(request->method, "HEAD") != 0 && strcmp(request->method, "GET") != 0)
        SET(CURLOPT_CUSTOMREQUEST, request->method);
    return code;
}

static CURLcode configure(struct exchange *exchange)
{
    CURL *easy = exchange->easy;
    CURLcode code = CURLE_OK;

    SET(CURLOPT_PRIVATE, exchange);
    SET(CURLOPT_ERRORBUFFER, exchange->curl_error);
    SET(CURLOPT_HEADERFUNCTION, exchange_header);
    SET(CURLOPT_HEADERDATA, exchange);
    SET(CURLOPT_WRITEFUNCTION, exchange_write);
    SET(CURLOPT_WRITEDATA, exchange);
    if (code == CURLE_OK)
        code = configure_request(exchange);
    if (code == CURLE_OK)
        code = configure_connection(exchange);
    if (code == CURLE_OK)
        code = configure_tls(exchange);
    return code;
}

static bool add_line(struct curl_slist **list, char *line)
{
    struct curl_slist *longer = line ? curl_slist_append(*list, line) : NULL;

    free(line);
    if (longer)
        *list = longer;
    return longer;
}

/* The header lines for this hop: the sensitive ones only for an origin that they are meant for. */
static bool write_header_lines(struct exchange *exchange)
{
    const struct request *request = exchange->options.request;
    bool trusted = request_trusts(request, &request->url);
    bool typed = false;

    for (size_t i = 0; i < request->headers.count; i++) {
        const struct http_header *header = &request->headers.items[i];
        bool empty = header->value[strspn(header->value, " \t")] == '\0';

        if (header->sensitive && !trusted)
            continue;
        typed = typed || strcasecmp(header->name, "Content-Type") == 0;
        /* "Name:" would mean to curl: leave it out. */
        if (!add_line(&exchange->header_lines,
                      empty ? format_string("%s;", header->name)
                            : format_string("%s: %s", header->name, header->value)))
            return false;
    }
    /* What curl would add of its own accord. */
    if (!typed && !add_line(&exchange->header_lines, strdup("Content-Type:")))
        return false;
    return add_line(&exchange->header_lines, strdup("Expect:"));
}

/* "+" makes curl forget the addresses in time; they replace those that it had. */
static bool write_resolve_line(struct exchange *exchange)
{
    const struct url *url = &exchange->options.request->url;
    const char *addresses = exchange->options.addresses;

    return !addresses || add_line(&exchange->resolve_lines,
                                  format_string("+%s:%u:%s", url->host, url->port, addresses));
}

struct error *exchange_start(const struct exchange_options *options, struct exchange **exchange)
{
    struct exchange *created = calloc(1, sizeof(*created));
    struct error *error = NULL;

    if (!created)
        return error_out_of_memory();
    created->options = *options;
    created->easy = multi_acquire(options->multi);
    if (!created->easy || !write_header_lines(created) || !write_resolve_line(created))
        error = error_out_of_memory();
    if (!error) {
        CURLcode code = configure(created);

        if (code != CURLE_OK)
            error = failure_explain(created, code);
    }
    if (!error)
        error = multi_add(options->multi, created->easy);
    if (error) {
        exchange_free(created, false);
        return error;
    }
    created->added = true;
    created->options.addresses = NULL; /* the caller's; curl has its copy */
    *exchange = created;
    return NULL;
}

void exchange_close(struct exchange *exchange)
{
    exchange->closed = true;
}

void exchange_free(struct exchange *exchange, bool suspect)
{
    if (!exchange)
        return;
    if (suspect)
        curl_easy_setopt(exchange->easy, CURLOPT_FORBID_REUSE, 1L);
    exchange->closed = true;
    if (exchange->added)
        multi_remove(exchange->options.multi, exchange->easy);
    if (exchange->easy)
        multi_release(exchange->options.multi, exchange->easy);
    curl_slist_free_all(exchange->header_lines);
    curl_slist_free_all(exchange->resolve_lines);
    headers_free(&exchange->headers);
    if (exchange->body)
        blob_writer_free(exchange->body);
    error_free(exchange->error);
    error_free(exchange->denied);
    free(exchange);
}

void exchange_ended(void *private, CURLcode code)
{
    struct exchange *exchange = private;
    struct error *error = NULL;

    if (exchange->closed)
        return;
    if (code != CURLE_OK && !(exchange->is_redirect && exchange->body_cut))
        error = failure_explain(exchange, code);
    exchange->options.done(exchange->options.context, error);
}
