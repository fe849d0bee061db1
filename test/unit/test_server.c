/* The HTTP server and the artifacts that it serves, over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/buffer.h"
#include "http/server.h"
#include "storage/serve.h"
#include "storage/storage.h"

#define KEY "artifacts/team-a/app/00aa.tar.gz"
#define LARGE_KEY "artifacts/team-a/app/00bb.tar.gz"
#define LARGE_SIZE ((size_t)(5u << 20) + 3)

struct world {
    char directory[64];
    struct blob_store *blobs;
    uv_loop_t loop;
    struct storage *storage;
    struct http_server *server;
    char *large;
};

/* Contexts of say_prefix: handlers take a pointer that is not const. */
static char name_long[] = "long";
static char name_longer[] = "longer";
static char name_all[] = "all";

static char large_byte(size_t at)
{
    return (char)(at * at >> 5);
}

static void stored(void *context, struct error *error, const struct storage_object *object)
{
    (void)context;
    (void)object;
    assert_null(error);
}

static void put(struct world *world, const char *key, const char *bytes, size_t length)
{
    struct operation *operation;
    struct blob *blob;

    assert_null(blob_from_bytes(world->blobs, bytes, length, &blob));
    assert_null(storage_put(world->storage, key, blob, stored, world, &operation));
    blob_unref(blob);
    uv_run(&world->loop, UV_RUN_DEFAULT);
}

static void say_prefix(void *context, const char *path, struct http_answer *answer)
{
    answer->status = 200;
    buffer_appendf(&answer->text, "%s %s", (const char *)context, path);
}

static void say_unavailable(void *context, const char *path, struct http_answer *answer)
{
    (void)context;
    (void)path;
    answer->status = 503;
    buffer_append_string(&answer->text, "starting\n");
}

static struct world *world_new(void)
{
    struct world *world = calloc(1, sizeof(*world));

    signal(SIGPIPE, SIG_IGN);
    snprintf(world->directory, sizeof(world->directory), "/tmp/sluice-server-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    assert_int_equal(uv_loop_init(&world->loop), 0);
    world->blobs = blob_store_new(world->directory, (size_t)64 << 20);
    world->large = malloc(LARGE_SIZE);
    for (size_t i = 0; i < LARGE_SIZE; i++)
        world->large[i] = large_byte(i);
    return world;
}

static void serve(struct world *world)
{
    const struct http_route routes[] = {
        {"/artifacts/", storage_serve, world->storage},
        {"/long", say_prefix, name_long},
        {"/longer", say_prefix, name_longer},
        {"/readyz", say_unavailable, NULL},
    };

    put(world, KEY, "not really gzip", 15);
    put(world, LARGE_KEY, world->large, LARGE_SIZE);
    assert_null(http_server_start("127.0.0.1:0", routes, 4, &world->server));
}

static int set_up_memory(void **state)
{
    struct world *world = world_new();

    *state = world;
    assert_null(storage_memory_new(&world->loop, &world->storage));
    serve(world);
    return 0;
}

static int set_up_file(void **state)
{
    struct world *world = world_new();

    *state = world;
    assert_null(
        storage_file_new(&world->loop, world->blobs, world->directory, false, &world->storage));
    serve(world);
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    char command[128];

    http_server_free(world->server);
    storage_free(world->storage);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    assert_int_equal(blob_store_memory(world->blobs), 0);
    blob_store_free(world->blobs);
    free(world->large);
    snprintf(command, sizeof(command), "rm -rf '%s'", world->directory);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

/* A connection to the port of "HOST:PORT" on loopback; -1 if there is none. */
static int dial(int family, const char *address)
{
    in_port_t port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = port};
    struct timeval patience = {.tv_sec = 20};
    int client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (client < 0)
        return -1;
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    six.sin6_addr = in6addr_loopback;
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    int failed = family == AF_INET ? connect(client, (struct sockaddr *)&four, sizeof(four))
                                   : connect(client, (struct sockaddr *)&six, sizeof(six));
    if (!failed)
        return client;
    close(client);
    return -1;
}

/* Everything that comes until the server closes the connection. */
static void read_all(int client, struct buffer *answer)
{
    ssize_t count;

    do {
        char *room = buffer_reserve(answer, 65536);

        assert_non_null(room);
        count = recv(client, room, 65536, 0);
        assert_true(count >= 0);
        buffer_commit(answer, (size_t)count);
    } while (count > 0);
}

struct response {
    struct buffer bytes;
    unsigned status;
    const char *head; /* NUL-terminated */
    const char *body;
    size_t body_length;
};

static void take_apart(struct response *response)
{
    char *end = memmem(response->bytes.bytes, response->bytes.length, "\r\n\r\n", 4);

    assert_non_null(end);
    *end = '\0';
    response->head = response->bytes.bytes;
    response->body = end + 4;
    response->body_length = response->bytes.length - (size_t)(response->body - response->head);
    assert_int_equal(sscanf(response->head, "HTTP/1.1 %u", &response->status), 1);
}

/* One request on a connection of its own. */
static void ask(struct world *world, const char *method, const char *path,
                struct response *response)
{
    char *request =
        format_string("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);
    int client = dial(AF_INET, http_server_address(world->server));

    memset(response, 0, sizeof(*response));
    assert_true(client >= 0);
    assert_int_equal(send(client, request, strlen(request), 0), strlen(request));
    read_all(client, &response->bytes);
    close(client);
    free(request);
    take_apart(response);
}

static bool has_header(const struct response *response, const char *line)
{
    return strcasestr(response->head, line) != NULL;
}

static void an_artifact_is_served_as_it_is_stored(void **state)
{
    struct response response;

    ask(*state, "GET", "/" KEY, &response);
    assert_int_equal(response.status, 200);
    assert_true(has_header(&response, "\r\nContent-Type: application/gzip"));
    assert_true(has_header(&response, "\r\nContent-Length: 15"));
    assert_false(has_header(&response, "Content-Encoding"));
    assert_int_equal(response.body_length, 15);
    assert_memory_equal(response.body, "not really gzip", 15);
    buffer_free(&response.bytes);
}

static void head_tells_the_same_without_the_bytes(void **state)
{
    struct response response;

    ask(*state, "HEAD", "/" LARGE_KEY, &response);
    assert_int_equal(response.status, 200);
    assert_true(has_header(&response, "\r\nContent-Type: application/gzip"));
    assert_true(has_header(&response, "\r\nContent-Length: 5242883"));
    assert_int_equal(response.body_length, 0);
    buffer_free(&response.bytes);
}

static void a_large_artifact_arrives_whole(void **state)
{
    struct world *world = *state;
    struct response response;

    ask(world, "GET", "/" LARGE_KEY "?query=is&not=looked%00at", &response);
    assert_int_equal(response.status, 200);
    assert_int_equal(response.body_length, LARGE_SIZE);
    assert_memory_equal(response.body, world->large, LARGE_SIZE);
    buffer_free(&response.bytes);
}

static void an_escaped_path_is_the_path(void **state)
{
    struct response response;

    ask(*state, "GET", "/artifacts/team%2Da/%61pp/00aa.tar.gz", &response);
    assert_int_equal(response.status, 200);
    buffer_free(&response.bytes);
}

static void every_path_that_is_no_stored_key_is_not_found(void **state)
{
    static char long_path[4100];
    memset(long_path, 'a', sizeof(long_path) - 1);
    memcpy(long_path, "/artifacts/", 11);
    static const char *const paths[] = {
        "/",
        "/artifacts",
        "/artifacts/",
        "/artifacts/team-a/app/",
        "/artifacts/team-a/app/00cc.tar.gz",
        "/artifacts/team-a/app/00aa.tar.gz/",
        "/artifacts/team-a/app/00aa.tar.gz/x",
        "//artifacts/team-a/app/00aa.tar.gz",
        "/artifacts//team-a/app/00aa.tar.gz",
        "/artifacts/team-a/app/../app/00aa.tar.gz",
        "/artifacts/../artifacts/team-a/app/00aa.tar.gz",
        "/artifacts/team-a/%2e%2e/team-a/app/00aa.tar.gz",
        "/artifacts/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/artifacts/../../../../etc/passwd",
        "/artifacts/team-a/app/00aa.tar.gz%00",
        "/artifacts/team-a/app/00aa.tar.gz%00.txt",
        "/artifacts/team-a/app/00aa.tar.gz%",
        "/artifacts/team-a/app/00aa.tar.gz%2",
        "/artifacts/team-a/app/00aa.tar.gz%zz",
        "/artifacts/team-a/app/.sluice-new-00",
        "/etc/passwd",
        "/lon",
        long_path,
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct response response;

        ask(*state, i % 2 ? "GET" : "HEAD", paths[i], &response);
        if (response.status != 404)
            fail_msg("'%s': found %u, expected 404", paths[i], response.status);
        if (i % 2)
            assert_string_equal(response.body, "not found\n");
        buffer_free(&response.bytes);
    }
}

static void other_methods_are_refused(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        struct response response;

        ask(*state, methods[i], "/" KEY, &response);
        assert_int_equal(response.status, 405);
        assert_true(has_header(&response, "\r\nAllow: GET, HEAD"));
        buffer_free(&response.bytes);
    }
}

static void the_longest_prefix_wins_and_a_handler_sees_the_decoded_path(void **state)
{
    struct response response;

    ask(*state, "GET", "/long/%41?x=1", &response);
    assert_string_equal(response.body, "long /long/A");
    assert_true(has_header(&response, "\r\nContent-Type: text/plain; charset=utf-8"));
    buffer_free(&response.bytes);
    ask(*state, "GET", "/longer", &response);
    assert_string_equal(response.body, "longer /longer");
    buffer_free(&response.bytes);
    ask(*state, "GET", "/readyz", &response);
    assert_int_equal(response.status, 503);
    assert_string_equal(response.body, "starting\n");
    buffer_free(&response.bytes);
}

static void a_connection_serves_many_requests(void **state)
{
    static const char first[] = "GET /long/1 HTTP/1.1\r\nHost: x\r\n\r\n"
                                "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
                                "HEAD /" KEY " HTTP/1.1\r\nHost: x\r\n\r\n"
                                "GET /long/2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct world *world = *state;
    _cleanup_(buffer) struct buffer answer = BUFFER_INIT;
    int client = dial(AF_INET, http_server_address(world->server));

    assert_int_equal(send(client, first, strlen(first), 0), strlen(first));
    read_all(client, &answer);
    close(client);
    const char *one = strstr(buffer_string(&answer), "long /long/1");
    const char *missing = one ? strstr(one, "HTTP/1.1 404") : NULL;
    const char *head = missing ? strstr(missing, "application/gzip") : NULL;
    assert_non_null(head);
    assert_non_null(strstr(head, "long /long/2"));
}

static void stopping_ends_connections_that_are_open(void **state)
{
    struct world *world = *state;
    static const char request[] = "GET /" LARGE_KEY " HTTP/1.1\r\nHost: x\r\n\r\n";
    int idle = dial(AF_INET, http_server_address(world->server));
    int reading = dial(AF_INET, http_server_address(world->server));
    char byte;

    assert_int_equal(send(reading, request, strlen(request), 0), strlen(request));
    assert_int_equal(recv(reading, &byte, 1, 0), 1);
    http_server_free(world->server);
    world->server = NULL;
    assert_true(recv(idle, &byte, 1, 0) <= 0);
    close(idle);
    close(reading);
}

static void an_address_without_a_host_is_every_address(void **state)
{
    const struct http_route route = {"/", say_prefix, name_all};
    struct http_server *server;
    int families[] = {AF_INET, AF_INET6};

    (void)state;
    assert_null(http_server_start(":0", &route, 1, &server));
    assert_int_equal(http_server_address(server)[0], ':');
    assert_true(atoi(http_server_address(server) + 1) > 0);
    for (size_t i = 0; i < 2; i++) {
        int client = dial(families[i], http_server_address(server));

        assert_true(client >= 0 || families[i] == AF_INET6); /* a machine may have no IPv6 */
        if (client >= 0)
            close(client);
    }
    http_server_free(server);
}

static void the_bound_address_is_told_with_its_real_port(void **state)
{
    struct http_server *server;

    (void)state;
    assert_null(http_server_start("127.0.0.1:0", NULL, 0, &server));
    assert_int_equal(strncmp(http_server_address(server), "127.0.0.1:", 10), 0);
    assert_true(atoi(http_server_address(server) + 10) > 0);
    http_server_free(server);
    assert_null(http_server_start("localhost:0", NULL, 0, &server));
    http_server_free(server);
}

static void an_address_that_cannot_be_used_is_named(void **state)
{
#define ACCEPTED                                                                                \
    "; accepted: HOST:PORT, [IPV6]:PORT or :PORT (all addresses), with a port from 0 (any) to " \
    "65535"
    static const struct {
        const char *address;
        const char *message;
    } cases[] = {
        {"", "cannot listen on ''" ACCEPTED},
        {"8080", "cannot listen on '8080'" ACCEPTED},
        {"127.0.0.1", "cannot listen on '127.0.0.1'" ACCEPTED},
        {"127.0.0.1:", "cannot listen on '127.0.0.1:'" ACCEPTED},
        {"127.0.0.1:http", "cannot listen on '127.0.0.1:http'" ACCEPTED},
        {"127.0.0.1:65536", "cannot listen on '127.0.0.1:65536'" ACCEPTED},
        {"127.0.0.1:-1", "cannot listen on '127.0.0.1:-1'" ACCEPTED},
        {"::1:8080", "cannot listen on '::1:8080'" ACCEPTED},
        {"[::1:8080", "cannot listen on '[::1:8080'" ACCEPTED},
        {"192.0.2.1:0", "cannot listen on '192.0.2.1:0': Cannot assign requested address"},
    };
    struct http_server *server;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(error) struct error *error =
            http_server_start(cases[i].address, NULL, 0, &server);

        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_CONFIGURATION);
        assert_string_equal(error->reason, "ListenFailed");
        assert_string_equal(error->message, cases[i].message);
        assert_null(server);
    }
}

static void a_port_that_is_taken_is_told(void **state)
{
    struct world *world = *state;
    const char *address = http_server_address(world->server);
    struct http_server *second;
    _cleanup_(error) struct error *error = http_server_start(address, NULL, 0, &second);
    _cleanup_(free) char *expected =
        format_string("cannot listen on '%s': Address already in use", address);

    assert_non_null(error);
    assert_string_equal(error->message, expected);
}

#define WITH_BOTH(test)                                       \
    {"memory: " #test, test, set_up_memory, tear_down, NULL}, \
    {                                                         \
        "file: " #test, test, set_up_file, tear_down, NULL    \
    }
#define WITH_MEMORY(test) cmocka_unit_test_setup_teardown(test, set_up_memory, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BOTH(an_artifact_is_served_as_it_is_stored),
        WITH_BOTH(head_tells_the_same_without_the_bytes),
        WITH_BOTH(a_large_artifact_arrives_whole),
        WITH_BOTH(every_path_that_is_no_stored_key_is_not_found),
        WITH_MEMORY(an_escaped_path_is_the_path),
        WITH_MEMORY(other_methods_are_refused),
        WITH_MEMORY(the_longest_prefix_wins_and_a_handler_sees_the_decoded_path),
        WITH_MEMORY(a_connection_serves_many_requests),
        WITH_MEMORY(stopping_ends_connections_that_are_open),
        WITH_MEMORY(a_port_that_is_taken_is_told),
        cmocka_unit_test(an_address_without_a_host_is_every_address),
        cmocka_unit_test(the_bound_address_is_told_with_its_real_port),
        cmocka_unit_test(an_address_that_cannot_be_used_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
