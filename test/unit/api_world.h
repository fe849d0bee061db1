/*
 * For tests of what talks to a Kubernetes API or another receiver of JSON: an HTTP server on the
 * test's own loop whose answers the test gives, at once or later, and clocks that the test moves.
 */
#ifndef SLUICE_TEST_API_WORLD_H
#define SLUICE_TEST_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/json.h"
#include "kube/client.h"

#define API_START_WALL_MS INT64_C(1795603205042) /* 2026-11-25T10:40:05.042Z */

struct api;

struct api_connection {
    uv_tcp_t stream;
    struct api *api;
    struct api_connection *next;
    struct buffer input;
    bool asked; /* a request is with the test */
};

/* A request that the test has not answered yet. Freed by the answer. */
struct api_request {
    struct api_connection *connection; /* NULL: the client went away */
    char method[16];
    char path[512];
    char content_type[64];
    json_t *body; /* NULL for none */
};

struct api {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_timer_t beat; /* a turn that runs a timer would poll for ever afterwards */
    unsigned port;
    struct api_connection *connections;
    struct api_request *held; /* one that `handle` left unanswered, for tests that ask for it */
    void (*handle)(void *context, struct api_request *request);
    void *context;

    struct blob_store *blobs;
    struct kube_config config;
    struct kube_client *client;
    struct clock clock; /* moved by the test; the client has the machine's */
    int64_t monotonic_ms;
    int64_t wall_ms;
    struct log *log;
    int log_reader; /* ends of a pipe */
    int log_writer;
    uint64_t random_state;
};

static inline void api_on_written(uv_write_t *write, int status)
{
    (void)status;
    free(write->data);
    free(write);
}

static inline void api_request_free(struct api_request *request)
{
    json_decref(request->body);
    free(request);
}

/* Answers with JSON text, or with nothing where `text` is NULL, and frees the request. */
static inline void api_answer_text(struct api_request *request, unsigned status, const char *text,
                                   const char *headers)
{
    struct api_connection *connection = request->connection;

    if (connection) {
        uv_write_t *write = calloc(1, sizeof(*write));
        char *bytes = format_string("HTTP/1.1 %u X\r\nContent-Type: application/json\r\n%s"
                                    "Content-Length: %zu\r\n\r\n%s",
                                    status, headers ? headers : "", text ? strlen(text) : 0,
                                    text ? text : "");
        uv_buf_t buffer = uv_buf_init(bytes, (unsigned)strlen(bytes));

        connection->asked = false;
        write->data = bytes;
        uv_write(write, (uv_stream_t *)&connection->stream, &buffer, 1, api_on_written);
    }
    api_request_free(request);
}

/* Takes `object`. */
static inline void api_answer(struct api_request *request, unsigned status, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    assert_non_null(text);
    api_answer_text(request, status, text, NULL);
    free(text);
    json_decref(object);
}

/* A metav1.Status. */
static inline void api_refuse(struct api_request *request, unsigned status, const char *reason)
{
    api_answer(request, status,
               json_pack("{s:s, s:s, s:s, s:s, s:i}", "kind", "Status", "apiVersion", "v1",
                         "message", "scripted refusal", "reason", reason, "code", (int)status));
}

static inline void api_copy_header(const char *head, const char *name, char *value, size_t size)
{
    const char *found = strcasestr(head, name);

    *value = '\0';
    if (found)
        snprintf(value, size, "%.*s", (int)strcspn(found + strlen(name), "\r\n"),
                 found + strlen(name));
}

/* Hands a complete request over; requests of one connection come one after the other. */
static inline void api_take_request(struct api_connection *connection)
{
    struct buffer *input = &connection->input;
    const char *text = buffer_string(input);
    const char *end = strstr(text, "\r\n\r\n");
    char length_text[32];

    if (!end || connection->asked)
        return;
    char *head = format_string("%.*s\r\n", (int)(end - text), text);
    api_copy_header(head, "\nContent-Length: ", length_text, sizeof(length_text));
    size_t length = strtoul(length_text, NULL, 10);
    size_t head_length = (size_t)(end - text) + 4;
    if (input->length >= head_length + length) {
        struct api_request *request = calloc(1, sizeof(*request));

        request->connection = connection;
        assert_int_equal(sscanf(head, "%15s %511s", request->method, request->path), 2);
        api_copy_header(head, "\nContent-Type: ", request->content_type,
                        sizeof(request->content_type));
        if (length > 0) {
            request->body = json_loadb(text + head_length, length, 0, NULL);
            assert_non_null(request->body);
        }
        buffer_consume(input, head_length + length);
        connection->asked = true;
        connection->api->handle(connection->api->context, request);
    }
    free(head);
}

static inline void api_on_connection_closed(uv_handle_t *handle)
{
    struct api_connection *connection = handle->data;

    buffer_free(&connection->input);
    free(connection);
}

static inline void api_close_connection(struct api_connection *connection)
{
    struct api *api = connection->api;
    struct api_connection **link = &api->connections;

    while (*link != connection)
        link = &(*link)->next;
    *link = connection->next;
    if (api->held && api->held->connection == connection)
        api->held->connection = NULL;
    uv_close((uv_handle_t *)&connection->stream, api_on_connection_closed);
}

static inline void api_allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    struct api_connection *connection = handle->data;

    *buffer = uv_buf_init(buffer_reserve(&connection->input, size), (unsigned)size);
}

static inline void api_on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct api_connection *connection = stream->data;

    (void)buffer;
    if (count < 0) {
        api_close_connection(connection);
        return;
    }
    buffer_commit(&connection->input, (size_t)count);
    api_take_request(connection);
}

static inline void api_on_connection(uv_stream_t *listener, int status)
{
    struct api *api = listener->data;
    struct api_connection *connection = calloc(1, sizeof(*connection));

    assert_int_equal(status, 0);
    connection->api = api;
    uv_tcp_init(&api->loop, &connection->stream);
    connection->stream.data = connection;
    connection->next = api->connections;
    api->connections = connection;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&connection->stream), 0);
    uv_read_start((uv_stream_t *)&connection->stream, api_allocate, api_on_read);
}

static inline int64_t api_wall_ms(void *context)
{
    return ((struct api *)context)->wall_ms;
}

static inline int64_t api_monotonic_ms(void *context)
{
    return ((struct api *)context)->monotonic_ms;
}

/* The same numbers in each run. */
static inline uint64_t api_random(void *context)
{
    struct api *api = context;

    api->random_state = api->random_state * UINT64_C(6364136223846793005) + 1;
    return api->random_state >> 33;
}

static inline void api_listen(struct api *api)
{
    struct sockaddr_in address;
    struct sockaddr_storage bound;
    int length = sizeof(bound);

    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&api->loop, &api->listener);
    api->listener.data = api;
    assert_int_equal(uv_tcp_bind(&api->listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&api->listener, 16, api_on_connection), 0);
    uv_tcp_getsockname(&api->listener, (struct sockaddr *)&bound, &length);
    api->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
}

static inline void api_on_beat(uv_timer_t *timer)
{
    (void)timer;
}

static inline struct api *api_new(void (*handle)(void *context, struct api_request *request),
                                  void *context)
{
    struct api *api = calloc(1, sizeof(*api));
    int ends[2];

    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&api->loop), 0);
    uv_timer_init(&api->loop, &api->beat);
    uv_timer_start(&api->beat, api_on_beat, 10, 10);
    api->handle = handle;
    api->context = context;
    api_listen(api);
    api->blobs = blob_store_new("/tmp", 16 << 20);
    api->monotonic_ms = 1000000;
    api->wall_ms = API_START_WALL_MS;
    api->clock = (struct clock){api_wall_ms, api_monotonic_ms, api};
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    api->log_reader = ends[0];
    api->log_writer = ends[1];
    api->log = log_new(ends[1], LOG_LEVEL_INFO, LOG_JSON, &clock_system);
    api->config.server = format_string("http://127.0.0.1:%u", api->port);
    api->config.namespace_name = strdup("default");
    const struct kube_client_options options = {
        .loop = &api->loop,
        .blobs = api->blobs,
        .clock = &clock_system,
        .config = &api->config,
        .random = api_random,
        .random_context = api,
    };
    assert_null(kube_client_new(&options, &api->client));
    return api;
}

/* Runs the loop until *done. */
static inline void api_run_until(struct api *api, const bool *done)
{
    while (!*done)
        assert_true(uv_run(&api->loop, UV_RUN_ONCE) != 0 || *done);
}

/* ... until *count is at least `least`. */
static inline void api_run_until_count(struct api *api, const unsigned *count, unsigned least)
{
    while (*count < least)
        assert_true(uv_run(&api->loop, UV_RUN_ONCE) != 0 || *count >= least);
}

/* Time passes for what has the test's clock. */
static inline void api_pass(struct api *api, int64_t milliseconds)
{
    api->monotonic_ms += milliseconds;
    api->wall_ms += milliseconds;
}

/* How often `text` stands in the log so far; it is read only once. */
static inline unsigned api_count_in_log(struct api *api, const char *text)
{
    struct buffer log = BUFFER_INIT;
    unsigned count = 0;
    ssize_t got;
    char bytes[4096];

    while ((got = read(api->log_reader, bytes, sizeof(bytes))) > 0)
        buffer_append(&log, bytes, (size_t)got);
    for (const char *at = buffer_string(&log); (at = strstr(at, text)); at++)
        count++;
    buffer_free(&log);
    return count;
}

/* What was tested must be freed already. */
static inline void api_free(struct api *api)
{
    kube_client_free(api->client);
    if (api->held)
        api_request_free(api->held);
    api->held = NULL;
    uv_close((uv_handle_t *)&api->beat, NULL);
    uv_close((uv_handle_t *)&api->listener, NULL);
    while (api->connections)
        api_close_connection(api->connections);
    uv_run(&api->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&api->loop), 0);
    blob_store_free(api->blobs);
    log_free(api->log);
    close(api->log_reader);
    close(api->log_writer);
    free(api->config.server);
    free(api->config.namespace_name);
    free(api);
}

#endif
