/*
 * For tests of the HTTP client: a real server (test/tools/http_fixture.py), a loop and a client,
 * and a request that is waited for. The server ends with its test, however that ends: it reads our
 * pipe.
 */
#ifndef SLUICE_TEST_HTTP_WORLD_H
#define SLUICE_TEST_HTTP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "http/client.h"

struct server {
    char directory[64];
    pid_t pid;
    int input;
    unsigned http, http2nd, https, https_wrong_name, https_expired; /* ports */
};

struct world {
    struct server *server;
    uv_loop_t loop;
    struct blob_store *blobs;
    struct egress_floor *floor;
    struct http_client *client;
};

/* What came of a request. */
struct outcome {
    bool done;
    struct error *error;
    unsigned status;
    char *body;
    size_t length;
    char *url;
    char *etag;
    unsigned twos; /* headers called x-two */
};

static inline const char *source_directory(void)
{
    const char *directory = getenv("SLUICE_SOURCE_DIR");

    return directory ? directory : ".";
}

static inline void server_read_ports(struct server *server, FILE *output)
{
    char name[64];
    unsigned port;

    while (fscanf(output, "%63s", name) == 1 && strcmp(name, "ready") != 0) {
        assert_int_equal(fscanf(output, "%u", &port), 1);
        if (strcmp(name, "http") == 0)
            server->http = port;
        else if (strcmp(name, "http2nd") == 0)
            server->http2nd = port;
        else if (strcmp(name, "https") == 0)
            server->https = port;
        else if (strcmp(name, "https_wrong_name") == 0)
            server->https_wrong_name = port;
        else if (strcmp(name, "https_expired") == 0)
            server->https_expired = port;
    }
    assert_string_equal(name, "ready");
}

/* A cmocka group's set-up: the server into *state. */
static inline int server_start(void **state)
{
    struct server *server = calloc(1, sizeof(*server));
    char *script = path_join(source_directory(), "test/tools/http_fixture.py");
    int input[2];
    int output[2];

    signal(SIGPIPE, SIG_IGN);
    *state = server;
    snprintf(server->directory, sizeof(server->directory), "/tmp/sluice-http-XXXXXX");
    assert_non_null(mkdtemp(server->directory));
    assert_int_equal(pipe2(input, O_CLOEXEC), 0);
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    server->pid = fork();
    if (server->pid == 0) {
        dup2(input[0], STDIN_FILENO);
        dup2(output[1], STDOUT_FILENO);
        execlp("python3", "python3", script, server->directory, NULL);
        _exit(127);
    }
    close(input[0]);
    close(output[1]);
    server->input = input[1];
    FILE *lines = fdopen(output[0], "r");
    server_read_ports(server, lines);
    fclose(lines);
    free(script);
    return 0;
}

static inline int server_stop(void **state)
{
    struct server *server = *state;
    char *command = format_string("rm -rf '%s'", server->directory);

    close(server->input);
    waitpid(server->pid, NULL, 0);
    assert_int_equal(system(command), 0);
    free(command);
    free(server);
    return 0;
}

static inline struct world *world_new(struct server *server, unsigned requests, unsigned per_host)
{
    struct world *world = calloc(1, sizeof(*world));

    world->server = server;
    assert_int_equal(uv_loop_init(&world->loop), 0);
    world->blobs = blob_store_new(server->directory, 64 << 20);
    world->floor = egress_floor_new();
    const struct http_client_options options = {
        .loop = &world->loop,
        .blobs = world->blobs,
        .clock = &clock_system,
        .floor = world->floor,
        .user_agent = "sluice-test",
        .max_requests = requests,
        .max_requests_per_host = per_host,
    };
    assert_null(http_client_new(&options, &world->client));
    return world;
}

static inline void world_free(struct world *world)
{
    http_client_free(world->client);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    egress_floor_free(world->floor);
    blob_store_free(world->blobs);
    free(world);
}

/* A cmocka test's set-up and tear-down: a world of ten requests at once into *state. */
static inline int world_set_up(void **state)
{
    *state = world_new(*state, 10, 10);
    return 0;
}

static inline int world_tear_down(void **state)
{
    struct world *world = *state;

    *state = world->server;
    world_free(world);
    return 0;
}

static inline void outcome_free(struct outcome *outcome)
{
    error_free(outcome->error);
    free(outcome->body);
    free(outcome->url);
    free(outcome->etag);
    *outcome = (struct outcome){0};
}

/* An http_done whose context is a struct outcome. */
static inline void outcome_take(void *context, struct error *error,
                                const struct http_response *response)
{
    struct outcome *outcome = context;

    assert_false(outcome->done);
    assert_int_equal(error == NULL, response != NULL);
    outcome->done = true;
    outcome->error = error;
    if (!response)
        return;
    outcome->status = response->status;
    outcome->url = strdup(response->url);
    for (size_t i = 0; i < response->header_count; i++)
        outcome->twos += strcmp(response->headers[i].name, "x-two") == 0;
    const char *etag = http_response_header(response, "etag");
    outcome->etag = etag ? strdup(etag) : NULL;
    if (response->body)
        assert_null(blob_read_all(response->body, SIZE_MAX / 2, &outcome->body, &outcome->length));
}

static inline struct http_request request_to(const char *url)
{
    return (struct http_request){
        .method = "GET",
        .url = url,
        .timeout_ms = 20000,
        .connect_timeout_ms = 10000,
        .max_body = 64 << 20,
        .max_redirects = 5,
    };
}

static inline void run_until(struct world *world, const bool *done)
{
    while (!*done)
        assert_true(uv_run(&world->loop, UV_RUN_ONCE) != 0 || *done);
}

static inline struct outcome fetch(struct world *world, const struct http_request *request)
{
    struct outcome outcome = {0};
    struct operation *operation = NULL;
    struct error *error =
        http_client_send(world->client, request, outcome_take, &outcome, &operation);

    if (error)
        fail_msg("not sent: %s", error->message);
    assert_non_null(operation);
    assert_false(outcome.done);
    run_until(world, &outcome.done);
    return outcome;
}

/* GET of a path on the http server, by name "127.0.0.1". */
static inline char *http_url(const struct world *world, const char *path)
{
    return format_string("http://127.0.0.1:%u%s", world->server->http, path);
}

static inline struct outcome fetch_path(struct world *world, const char *path)
{
    _cleanup_(free) char *url = http_url(world, path);
    const struct http_request request = request_to(url);

    return fetch(world, &request);
}

/* The fixture's counts since the last call: connections (with this one's), requests, most in
 * parallel. */
static inline void server_counts(struct world *world, unsigned *connections, unsigned *requests,
                                 unsigned *parallel)
{
    struct outcome outcome = fetch_path(world, "/stats?reset");
    unsigned counts[3] = {0};

    assert_int_equal(outcome.status, 200);
    assert_int_equal(sscanf(outcome.body, "%u %u %u", &counts[0], &counts[1], &counts[2]), 3);
    if (connections)
        *connections = counts[0];
    if (requests)
        *requests = counts[1];
    if (parallel)
        *parallel = counts[2];
    outcome_free(&outcome);
}

/* Asserts a failure of this kind and reason whose message begins with `start` and holds `part`. */
static inline void assert_failed(const struct outcome *outcome, enum error_kind kind,
                                 const char *reason, const char *part)
{
    if (!outcome->error)
        fail_msg("answered %u, expected %s: %s", outcome->status, reason, part);
    if (outcome->error->kind != kind || strcmp(outcome->error->reason, reason) != 0 ||
        !strstr(outcome->error->message, part))
        fail_msg("expected %s %s '%s', got %s %s '%s'", error_kind_name(kind), reason, part,
                 error_kind_name(outcome->error->kind), outcome->error->reason,
                 outcome->error->message);
}

#endif
