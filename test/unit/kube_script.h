/*
 * For tests of what talks to the Kubernetes API: a server on loopback, on the test's own loop, that
 * answers by a script. Each request must be the one that the script's next act expects.
 */
#ifndef SLUICE_TEST_KUBE_SCRIPT_H
#define SLUICE_TEST_KUBE_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buffer.h"

enum act_end {
    ACT_END,  /* the answer is complete */
    ACT_HANG, /* it goes on, but nothing comes any more */
    ACT_CUT,  /* the connection is closed in its middle */
};

struct act {
    const char *expect[5]; /* parts of the request's head, in any order */
    const char *refuse;    /* what must not be in it; may be NULL */
    unsigned code;         /* 0: 200 */
    const char *body;
    enum act_end end;
    size_t torn; /* the body is sent in pieces of so many bytes; 0: in one */
};

struct script {
    uv_tcp_t listener;
    unsigned port;
    const struct act *acts;
    size_t count;
    size_t played;
    size_t connections; /* open ones */
    struct script_connection *first;
};

struct script_connection {
    uv_tcp_t tcp; /* first */
    struct script *script;
    struct buffer input;
    struct script_connection *next;
};

static inline void script_closed(uv_handle_t *handle)
{
    struct script_connection *connection = (struct script_connection *)handle;
    struct script_connection **place = &connection->script->first;

    while (*place != connection)
        place = &(*place)->next;
    *place = connection->next;
    connection->script->connections--;
    buffer_free(&connection->input);
    free(connection);
}

static inline void script_close(struct script_connection *connection)
{
    if (!uv_is_closing((uv_handle_t *)&connection->tcp))
        uv_close((uv_handle_t *)&connection->tcp, script_closed);
}

static inline void script_written(uv_write_t *write, int status)
{
    (void)status;
    free(write->data);
    free(write);
}

static inline void script_send(struct script_connection *connection, const char *bytes,
                               size_t length)
{
    uv_write_t *write = malloc(sizeof(*write));
    char *copy = malloc(length + 1);

    memcpy(copy, bytes, length);
    write->data = copy;
    const uv_buf_t piece = uv_buf_init(copy, (unsigned)length);
    if (uv_write(write, (uv_stream_t *)&connection->tcp, &piece, 1, script_written)) {
        free(copy);
        free(write);
    }
}

static inline void script_shut(uv_shutdown_t *request, int status)
{
    (void)status;
    script_close(request->data);
    free(request);
}

/* Closes when everything is sent. */
static inline void script_cut(struct script_connection *connection)
{
    uv_shutdown_t *request = malloc(sizeof(*request));

    request->data = connection;
    if (uv_shutdown(request, (uv_stream_t *)&connection->tcp, script_shut)) {
        free(request);
        script_close(connection);
    }
}

static inline void script_play(struct script_connection *connection, const struct act *act)
{
    _cleanup_(buffer) struct buffer answer = BUFFER_INIT;
    size_t length = act->body ? strlen(act->body) : 0;
    size_t piece = act->torn ? act->torn : length;

    buffer_appendf(&answer,
                   "HTTP/1.1 %u Scripted\r\nContent-Type: application/json\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n",
                   act->code ? act->code : 200);
    for (size_t at = 0; at < length; at += piece) {
        if (piece > length - at)
            piece = length - at;
        buffer_appendf(&answer, "%zx\r\n", piece);
        buffer_append(&answer, act->body + at, piece);
        buffer_append_string(&answer, "\r\n");
        if (act->torn) { /* a write each, so that the pieces come apart */
            script_send(connection, answer.bytes, answer.length);
            buffer_free(&answer);
        }
    }
    if (act->end == ACT_END)
        buffer_append_string(&answer, "0\r\n\r\n");
    script_send(connection, buffer_string(&answer), answer.length);
    if (act->end == ACT_CUT)
        script_cut(connection);
}

static inline void script_request(struct script_connection *connection, const char *head)
{
    struct script *script = connection->script;

    if (script->played == script->count)
        fail_msg("the script is over, but there came: %s", head);
    const struct act *act = &script->acts[script->played++];
    for (size_t i = 0; i < sizeof(act->expect) / sizeof(act->expect[0]) && act->expect[i]; i++) {
        if (!strstr(head, act->expect[i]))
            fail_msg("act %zu expects '%s', but there came: %s", script->played, act->expect[i],
                     head);
    }
    if (act->refuse && strstr(head, act->refuse))
        fail_msg("act %zu refuses '%s', but there came: %s", script->played, act->refuse, head);
    script_play(connection, act);
}

static inline void script_allocate(uv_handle_t *handle, size_t size, uv_buf_t *piece)
{
    (void)handle;
    *piece = uv_buf_init(malloc(size), (unsigned)size);
}

static inline void script_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *piece)
{
    struct script_connection *connection = (struct script_connection *)stream;
    const char *end;

    if (count > 0)
        buffer_append(&connection->input, piece->base, (size_t)count);
    free(piece->base);
    if (count < 0) {
        script_close(connection);
        return;
    }
    while (connection->input.bytes && (end = strstr(connection->input.bytes, "\r\n\r\n"))) {
        size_t length = (size_t)(end - connection->input.bytes) + 4;
        _cleanup_(free) char *head = strndup(connection->input.bytes, length);

        buffer_consume(&connection->input, length);
        script_request(connection, head);
    }
}

static inline void script_accept(uv_stream_t *listener, int status)
{
    struct script *script = listener->data;
    struct script_connection *connection = calloc(1, sizeof(*connection));

    assert_int_equal(status, 0);
    connection->script = script;
    connection->next = script->first;
    script->first = connection;
    script->connections++;
    uv_tcp_init(listener->loop, &connection->tcp);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&connection->tcp), 0);
    uv_tcp_nodelay(&connection->tcp, 1);
    uv_read_start((uv_stream_t *)&connection->tcp, script_allocate, script_read);
}

static inline void script_start(struct script *script, uv_loop_t *loop, const struct act *acts,
                                size_t count)
{
    struct sockaddr_in address;
    int size = sizeof(address);

    *script = (struct script){.acts = acts, .count = count};
    script->listener.data = script;
    uv_ip4_addr("127.0.0.1", 0, &address);
    assert_int_equal(uv_tcp_init(loop, &script->listener), 0);
    script->listener.data = script;
    assert_int_equal(uv_tcp_bind(&script->listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&script->listener, 16, script_accept), 0);
    uv_tcp_getsockname(&script->listener, (struct sockaddr *)&address, &size);
    script->port = ntohs(address.sin_port);
}

/* Completes the answers that hang. */
static inline void script_end_all(struct script *script)
{
    for (struct script_connection *c = script->first; c; c = c->next)
        script_send(c, "0\r\n\r\n", 5);
}

/* The loop must run until it has nothing left to do. */
static inline void script_stop(struct script *script)
{
    uv_close((uv_handle_t *)&script->listener, NULL);
    for (struct script_connection *c = script->first; c; c = c->next)
        script_close(c);
}

#endif
