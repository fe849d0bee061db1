/*
 * The bytes of an exchange. The one idea: every byte is counted where curl hands it over decoded,
 * so neither a missing Content-Length nor a compressed body nor endless headers get past a limit. A
 * fault found here is kept in the exchange, for curl knows only that it was stopped.
 */
#include "http/exchange_io.h"

#include <stdio.h>
#include <string.h>

#include "http/exchange.h"

#define REDIRECT_BODY_MAX 65536 /* read to keep the connection; past it a new one is cheaper */

static bool is_followed(unsigned status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void complete_head(struct exchange *exchange)
{
    long status = 0;

    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 && status != 101)
        return; /* interim: another head follows */
    exchange->head_complete = true;
    exchange->status = (unsigned)status;
    exchange->is_redirect =
        is_followed(exchange->status) && exchange->options.request->max_redirects > 0 &&
        headers_find(exchange->headers.items, exchange->headers.count, "location");
}

size_t exchange_header(char *line, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    size_t length = size * count;

    if (exchange->closed)
        return 0;
    if (length >= strlen("HTTP/") && memcmp(line, "HTTP/", strlen("HTTP/")) == 0) {
        headers_free(&exchange->headers);
        exchange->head_complete = false;
        return length;
    }
    if (exchange->head_complete)
        return length; /* a trailer: nobody asks for those */
    if (length > 0 && (line[0] == '\r' || line[0] == '\n')) {
        complete_head(exchange);
        return length;
    }
    exchange->error = headers_add_line(&exchange->headers, line, length);
    return exchange->error ? 0 : length;
}

static struct error *over_limit(const struct exchange *exchange)
{
    return error_new(ERROR_UPSTREAM, "OutputLimit",
                     "the answer's body is over the limit of %llu bytes",
                     (unsigned long long)exchange->options.request->max_body);
}

/* Hands bytes to the request's own receiver, which may even cancel the request. */
static struct error *stream(struct exchange *exchange, const char *bytes, size_t length)
{
    if (exchange->options.request->on_body(exchange->options.body_context, bytes, length) ||
        exchange->closed)
        return NULL;
    return error_new(ERROR_TRANSIENT, "FetchFailed", "the answer's receiver stopped reading it");
}

static struct error *store(struct exchange *exchange, const char *bytes, size_t length)
{
    if (!exchange->body)
        exchange->body =
            blob_writer_new(exchange->options.blobs, exchange->options.request->max_body);
    if (!exchange->body)
        return error_out_of_memory();
    return blob_writer_write(exchange->body, bytes, length);
}

size_t exchange_write(char *bytes, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    const struct request *request = exchange->options.request;
    size_t length = size * count;
    bool streamed = exchange->status >= 200 && exchange->status < 300 && request->on_body;

    if (exchange->closed)
        return 0;
    exchange->received += length;
    if (exchange->is_redirect) {
        exchange->body_cut = exchange->received > REDIRECT_BODY_MAX;
        return exchange->body_cut ? 0 : length;
    }
    if (exchange->received > request->max_body)
        exchange->error = over_limit(exchange);
    else if (streamed)
        exchange->error = stream(exchange, bytes, length);
    else
        exchange->error = store(exchange, bytes, length);
    return exchange->error || exchange->closed ? 0 : length;
}

size_t exchange_read(char *bytes, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    size_t got = 0;

    if (exchange->closed)
        return CURL_READFUNC_ABORT;
    exchange->error =
        blob_read(exchange->options.request->body, exchange->sent, bytes, size * count, &got);
    if (exchange->error)
        return CURL_READFUNC_ABORT;
    exchange->sent += got;
    return got;
}

int exchange_seek(void *context, curl_off_t offset, int origin)
{
    struct exchange *exchange = context;

    if (exchange->closed || origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_FAIL;
    exchange->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}
