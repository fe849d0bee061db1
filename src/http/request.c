/*
 * A request's own copy. The one idea: what a person can get wrong is refused here, before anything
 * is in flight, and from here on nothing of the caller's is looked at again.
 */
#include "http/request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define METHOD_LENGTH_MAX 32

static struct error *check(const struct http_request *from)
{
    size_t length = strlen(from->method);

    if (length == 0 || length > METHOD_LENGTH_MAX ||
        strspn(from->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != length ||
        strcmp(from->method, "CONNECT") == 0)
        return error_new(ERROR_CONFIGURATION, "InvalidMethod",
                         "'%.32s' is not a method that can be sent; use one such as GET or POST, "
                         "in capitals",
                         from->method);
    if (from->timeout_ms <= 0 || from->connect_timeout_ms <= 0)
        return error_new(ERROR_INTERNAL, "FetchFailed", "a request needs time-outs over 0");
    for (size_t i = 0; i < from->header_count; i++) {
        struct error *error = headers_check(&from->headers[i]);

        if (error)
            return error;
    }
    return NULL;
}

static bool copy_text(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return !from || *to;
}

static struct error *add_origin(struct request *request, const char *text)
{
    _cleanup_(url) struct url url = URL_INIT;
    struct error *error = url_parse(text, NULL, &url);

    if (error)
        return error_wrap(error, "trusted origin");
    request->trusted_origins[request->trusted_origin_count++] = TAKE(url.origin);
    return NULL;
}

static struct error *copy_origins(const struct http_request *from, struct request *request)
{
    size_t count = from->trusted_origin_count;

    request->trusted_origins = calloc(count > 0 ? count : 1, sizeof(char *));
    if (!request->trusted_origins)
        return error_out_of_memory();
    if (count == 0)
        return add_origin(request, request->url.origin);
    for (size_t i = 0; i < count; i++) {
        struct error *error = add_origin(request, from->trusted_origins[i]);

        if (error)
            return error;
    }
    return NULL;
}

/* Credentials, whatever the caller says; and Host names the origin that it was written for. */
static bool is_for_one_origin(const char *name)
{
    return strcasecmp(name, "Authorization") == 0 || strcasecmp(name, "Cookie") == 0 ||
           strcasecmp(name, "Proxy-Authorization") == 0 || strcasecmp(name, "Host") == 0;
}

static struct error *copy_headers(const struct http_request *from, struct request *request)
{
    for (size_t i = 0; i < from->header_count; i++) {
        struct http_header header = from->headers[i];
        struct error *error;

        header.sensitive = header.sensitive || is_for_one_origin(header.name);
        error = headers_add(&request->headers, &header);
        if (error)
            return error;
    }
    return NULL;
}

static struct error *copy(const struct http_request *from, struct request *request)
{
    struct error *error = url_parse(from->url, NULL, &request->url);

    if (!error)
        error = copy_origins(from, request);
    if (!error)
        error = copy_headers(from, request);
    if (error)
        return error;
    if (!copy_text(&request->method, from->method) ||
        !copy_text(&request->ca_bundle, from->tls.ca_bundle) ||
        !copy_text(&request->client_certificate, from->tls.client_certificate) ||
        !copy_text(&request->client_key, from->tls.client_key) ||
        !copy_text(&request->ca_name, from->tls.ca_name))
        return error_out_of_memory();
    return NULL;
}

struct error *request_copy(const struct http_request *from, struct request *request)
{
    struct error *error;

    *request = (struct request){
        .insecure_skip_verify = from->tls.insecure_skip_verify,
        .timeout_ms = from->timeout_ms,
        .connect_timeout_ms = from->connect_timeout_ms,
        .max_body = from->max_body,
        .max_redirects = from->max_redirects,
        .on_body = from->on_body,
        .fresh_connection = from->fresh_connection,
    };
    if (from->egress)
        request->egress = *from->egress;
    if (from->body)
        request->body = blob_ref(from->body);
    error = check(from);
    if (!error)
        error = copy(from, request);
    if (error)
        request_free(request);
    return error;
}

bool request_trusts(const struct request *request, const struct url *url)
{
    for (size_t i = 0; i < request->trusted_origin_count; i++) {
        if (strcmp(request->trusted_origins[i], url->origin) == 0)
            return true;
    }
    return false;
}

static void drop_body_headers(struct headers *headers)
{
    size_t kept = 0;

    for (size_t i = 0; i < headers->count; i++) {
        if (strncasecmp(headers->items[i].name, "Content-", strlen("Content-")) == 0) {
            free((char *)headers->items[i].name);
            free((char *)headers->items[i].value);
            continue;
        }
        headers->items[kept++] = headers->items[i];
    }
    headers->count = kept;
}

struct error *request_redirect(struct request *request, unsigned status)
{
    bool head = strcmp(request->method, "HEAD") == 0;
    bool post = strcmp(request->method, "POST") == 0;
    char *method;

    if (!(status == 303 && !head) && !((status == 301 || status == 302) && post))
        return NULL;
    method = strdup("GET");
    if (!method)
        return error_out_of_memory();
    free(request->method);
    request->method = method;
    if (request->body)
        blob_unref(TAKE(request->body));
    drop_body_headers(&request->headers);
    return NULL;
}

void request_free(struct request *request)
{
    free(request->method);
    url_free(&request->url);
    headers_free(&request->headers);
    if (request->body)
        blob_unref(request->body);
    free(request->ca_bundle);
    free(request->client_certificate);
    free(request->client_key);
    free(request->ca_name);
    for (size_t i = 0; i < request->trusted_origin_count; i++)
        free(request->trusted_origins[i]);
    free(request->trusted_origins);
    *request = (struct request){0};
}
