/*
 * See server.h. libmicrohttpd polls with epoll on a few threads of its own and sends files by
 * sendfile; we give it bound sockets, decode paths ourselves (its own decoder ends a path at an
 * encoded NUL), and turn a handler's answer into a response. Limits of connections, memory and time
 * keep a client from holding more than its share.
 */
#include "http/server.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/listen.h"

#define THREADS 2
#define CONNECTIONS_MAX 1024
#define IDLE_TIMEOUT_SECONDS 30
#define CONNECTION_MEMORY ((size_t)16 << 10) /* bounds a request's head */
#define PATH_SIZE 2048                       /* decoded, with NUL */

struct http_server {
    struct MHD_Daemon *daemon;
    char *address;
    struct http_route *routes; /* prefixes are owned */
    size_t count;
};

/* Keeps libmicrohttpd from decoding: the path comes as it was sent. */
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

/* False for a path that no handler can mean: a broken escape, a NUL, or one that is too long. */
static bool decode_path(const char *url, char path[PATH_SIZE])
{
    size_t length = 0;

    for (const char *at = url; *at; at++) {
        char byte = *at;

        if (byte == '%') {
            int high = hex_value(at[1]);
            int low = high < 0 ? -1 : hex_value(at[2]);

            if (low < 0 || (high == 0 && low == 0))
                return false;
            byte = (char)(high * 16 + low);
            at += 2;
        }
        if (length + 1 >= PATH_SIZE)
            return false;
        path[length++] = byte;
    }
    path[length] = '\0';
    return path[0] == '/';
}

static const struct http_route *find_route(const struct http_server *server, const char *path)
{
    const struct http_route *best = NULL;
    size_t best_length = 0;

    for (size_t i = 0; i < server->count; i++) {
        size_t length = strlen(server->routes[i].prefix);

        if (strncmp(path, server->routes[i].prefix, length) != 0 || (best && length < best_length))
            continue;
        best = &server->routes[i];
        best_length = length;
    }
    return best;
}

static void ask_handler(const struct http_server *server, const char *url,
                        struct http_answer *answer)
{
    char path[PATH_SIZE];
    const struct http_route *route = decode_path(url, path) ? find_route(server, path) : NULL;

    if (route)
        route->handler(route->context, path, answer);
    if (!answer->blob && answer->status == 404 && answer->text.length == 0)
        buffer_append_string(&answer->text, "not found\n");
}

static void drop_blob(void *blob)
{
    blob_unref(blob);
}

/* NULL without memory, or where a spooled blob cannot be opened. */
static struct MHD_Response *response_of_blob(struct blob *blob)
{
    uint64_t length = blob_length(blob);
    const void *bytes = blob_memory(blob);
    int descriptor;

    if (bytes)
        return MHD_create_response_from_buffer_with_free_callback_cls((size_t)length, (void *)bytes,
                                                                      drop_blob, blob_ref(blob));
    struct error *error = blob_open(blob, &descriptor);
    if (error) {
        error_free(error);
        return NULL;
    }
    struct MHD_Response *response = MHD_create_response_from_fd64(length, descriptor);
    if (!response)
        close(descriptor);
    return response;
}

static struct MHD_Response *response_of_text(struct buffer *text)
{
    size_t length = text->length;
    char *bytes = buffer_steal(text);

    if (!bytes)
        return NULL;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length, bytes, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(bytes);
    return response;
}

/* Takes what the answer holds. MHD_NO makes libmicrohttpd close the connection: all that is left to
 * do without memory. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, struct http_answer *answer,
                                   const char *allow)
{
    const char *type = answer->content_type ? answer->content_type : "text/plain; charset=utf-8";
    struct MHD_Response *response =
        answer->blob ? response_of_blob(answer->blob) : response_of_text(&answer->text);
    enum MHD_Result result = MHD_NO;

    blob_unref(answer->blob);
    buffer_free(&answer->text);
    if (!response)
        return MHD_NO;
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
        (!allow || MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow) == MHD_YES))
        result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result refuse_method(struct MHD_Connection *connection)
{
    struct http_answer answer = {.status = MHD_HTTP_METHOD_NOT_ALLOWED};

    buffer_append_string(&answer.text, "method not allowed\n");
    return send_answer(connection, &answer, "GET, HEAD");
}

/* Called when the head of a request is there, and again when all of it is: an answer at the first
 * call ends the connection, so a good request waits for the second. */
static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request)
{
    static char seen;
    struct http_answer answer = {.status = MHD_HTTP_NOT_FOUND};

    (void)version;
    (void)upload;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return refuse_method(connection);
    if (!*request || *upload_size > 0) {
        *request = &seen;
        *upload_size = 0; /* a body means nothing here, and is passed over */
        return MHD_YES;
    }
    ask_handler(context, url, &answer);
    return send_answer(connection, &answer, NULL);
}

static struct error *copy_routes(struct http_server *server, const struct http_route *routes,
                                 size_t count)
{
    server->routes = calloc(count ? count : 1, sizeof(*server->routes));
    if (!server->routes)
        return error_out_of_memory();
    for (size_t i = 0; i < count; i++) {
        server->routes[i] = routes[i];
        server->routes[i].prefix = strdup(routes[i].prefix);
        if (!server->routes[i].prefix)
            return error_out_of_memory();
        server->count++;
    }
    return NULL;
}

/* The socket is libmicrohttpd's from here on, also if it does not start. */
static struct error *start_daemon(struct http_server *server, int descriptor)
{
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, handle, server, MHD_OPTION_LISTEN_SOCKET,
        descriptor, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_END);
    if (server->daemon)
        return NULL;
    return error_new(ERROR_INTERNAL, "ListenFailed", "cannot start an HTTP server on '%s'",
                     server->address);
}

struct error *http_server_start(const char *address, const struct http_route *routes, size_t count,
                                struct http_server **server)
{
    struct http_server *started = calloc(1, sizeof(*started));
    int descriptor = -1;

    *server = NULL;
    if (!started)
        return error_out_of_memory();
    struct error *error = copy_routes(started, routes, count);
    if (!error)
        error = listen_on(address, &descriptor, &started->address);
    if (!error)
        error = start_daemon(started, descriptor);
    if (error) {
        http_server_free(started);
        return error;
    }
    *server = started;
    return NULL;
}

const char *http_server_address(const struct http_server *server)
{
    return server->address;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    for (size_t i = 0; i < server->count; i++)
        free((char *)server->routes[i].prefix);
    free(server->routes);
    free(server->address);
    free(server);
}
