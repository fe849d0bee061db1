/* HTTP/2, against nginx: one connection carries many requests, and each is judged for itself. */
#include "http_world.h"

#include <arpa/inet.h>
#include <sys/prctl.h>
#include <time.h>

struct nginx {
    struct server *server; /* for its certificates and directory */
    pid_t pid;
    unsigned port;
    unsigned hasty_port; /* there a connection takes five requests */
};

static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(descriptor, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(descriptor, (struct sockaddr *)&address, &length), 0);
    close(descriptor);
    return ntohs(address.sin_port);
}

static char *write_configuration(const struct nginx *nginx)
{
    const char *directory = nginx->server->directory;
    char *path = path_join(directory, "nginx.conf");
    _cleanup_(free) char *text =
        format_string("daemon off; master_process off; pid %s/nginx.pid; error_log %s/error.log;\n"
                      "events { worker_connections 512; }\n"
                      "http { access_log off; client_body_temp_path %s; proxy_temp_path %s;\n"
                      "  fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;\n"
                      "  ssl_certificate %s/https.pem; ssl_certificate_key %s/https.key;\n"
                      "  server { listen 127.0.0.1:%u ssl http2;\n"
                      "    location / { return 200 \"$server_protocol $connection\"; } }\n"
                      "  server { listen 127.0.0.1:%u ssl http2; keepalive_requests 5;\n"
                      "    location / { return 200 \"$server_protocol $connection\"; } } }\n",
                      directory, directory, directory, directory, directory, directory, directory,
                      directory, directory, nginx->port, nginx->hasty_port);

    assert_null(file_write_atomically(path, text, strlen(text)));
    return path;
}

static bool answers(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(descriptor, (struct sockaddr *)&address, sizeof(address)) == 0;

    close(descriptor);
    return connected;
}

static void launch(struct nginx *nginx)
{
    _cleanup_(free) char *configuration = write_configuration(nginx);

    nginx->pid = fork();
    if (nginx->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/usr/sbin/nginx", "nginx", "-c", configuration, NULL);
        _exit(127);
    }
    while (!answers(nginx->port)) {
        assert_int_equal(waitpid(nginx->pid, NULL, WNOHANG), 0);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static void end(struct nginx *nginx)
{
    if (nginx->pid > 0) {
        kill(nginx->pid, SIGKILL);
        waitpid(nginx->pid, NULL, 0);
    }
}

static int nginx_start(void **state)
{
    struct nginx *nginx = calloc(1, sizeof(*nginx));

    server_start(state);
    nginx->server = *state;
    *state = nginx;
    if (access("/usr/sbin/nginx", X_OK) != 0)
        return 0;
    nginx->port = free_port();
    nginx->hasty_port = free_port();
    launch(nginx);
    return 0;
}

static int nginx_stop(void **state)
{
    struct nginx *nginx = *state;

    end(nginx);
    *state = nginx->server;
    free(nginx);
    return server_stop(state);
}

static struct nginx *nginx_or_skip(void **state)
{
    struct nginx *nginx = *state;

    if (nginx->pid == 0) {
        print_message("nginx is not installed: HTTP/2 is not tested\n");
        skip();
    }
    return nginx;
}

static char *certificate_authority(const struct server *server)
{
    _cleanup_(free) char *path = path_join(server->directory, "ca.pem");
    struct buffer text = BUFFER_INIT;

    assert_null(file_read(path, 1 << 20, &text));
    return buffer_steal(&text);
}

static void many_requests_share_one_connection(void **state)
{
    struct nginx *nginx = nginx_or_skip(state);
    struct world *world = world_new(nginx->server, 50, 50);
    _cleanup_(free) char *bundle = certificate_authority(nginx->server);
    _cleanup_(free) char *url = format_string("https://localhost:%u/", nginx->port);
    struct http_request request = request_to(url);
    struct outcome outcomes[40] = {0};
    struct operation *operations[40];

    request.tls.ca_bundle = bundle;
    for (size_t i = 0; i < 40; i++)
        assert_null(
            http_client_send(world->client, &request, outcome_take, &outcomes[i], &operations[i]));
    for (size_t i = 0; i < 40; i++)
        run_until(world, &outcomes[i].done);
    for (size_t i = 0; i < 40; i++) {
        if (outcomes[i].error)
            fail_msg("%s", outcomes[i].error->message);
        assert_int_equal(strncmp(outcomes[i].body, "HTTP/2.0 ", 9), 0);
        assert_string_equal(outcomes[i].body, outcomes[0].body);
    }
    for (size_t i = 0; i < 40; i++)
        outcome_free(&outcomes[i]);
    world_free(world);
}

/* Sends 20 requests, cancels all but the first after so many turns of the loop, and sends more one
 * after the other. False where the turns were enough for the first. */
static bool cancel_after(const struct nginx *nginx, const struct http_request *request,
                         unsigned turns)
{
    struct world *world = world_new(nginx->server, 50, 50);
    struct outcome outcomes[20] = {0};
    struct operation *operations[20];
    bool early;

    for (size_t i = 0; i < 20; i++)
        assert_null(
            http_client_send(world->client, request, outcome_take, &outcomes[i], &operations[i]));
    for (unsigned turn = 0; turn < turns && !outcomes[0].done; turn++)
        uv_run(&world->loop, UV_RUN_ONCE);
    early = !outcomes[0].done;
    for (size_t i = 1; i < 20; i++) {
        if (!outcomes[i].done)
            operation_cancel(&operations[i]);
        outcome_free(&outcomes[i]);
    }
    run_until(world, &outcomes[0].done);
    assert_int_equal(outcomes[0].status, 200);
    outcome_free(&outcomes[0]);
    for (size_t i = 0; i < 20; i++) {
        struct outcome outcome = fetch(world, request);

        if (outcome.error)
            fail_msg("cancelled after %u turns: %s", turns, outcome.error->message);
        outcome_free(&outcome);
    }
    world_free(world);
    return early;
}

static void requests_cancelled_while_they_wait_for_a_connection_spoil_no_later_one(void **state)
{
    struct nginx *nginx = nginx_or_skip(state);
    _cleanup_(free) char *bundle = certificate_authority(nginx->server);
    _cleanup_(free) char *url = format_string("https://localhost:%u/", nginx->port);
    struct http_request request = request_to(url);
    unsigned turns = 0;

    request.tls.ca_bundle = bundle;
    while (cancel_after(nginx, &request, turns))
        turns++;
    assert_true(turns > 1); /* the connection took its time, and they waited */
}

/* Sends 40 at once; all must be answered. */
static void assert_answered(struct world *world, const struct http_request *request)
{
    struct outcome outcomes[40] = {0};
    struct operation *operations[40];

    for (size_t i = 0; i < 40; i++)
        assert_null(
            http_client_send(world->client, request, outcome_take, &outcomes[i], &operations[i]));
    for (size_t i = 0; i < 40; i++) {
        run_until(world, &outcomes[i].done);
        if (outcomes[i].error)
            fail_msg("%s", outcomes[i].error->message);
        assert_int_equal(outcomes[i].status, 200);
        outcome_free(&outcomes[i]);
    }
}

static void no_request_is_lost_with_a_connection_that_the_server_ends(void **state)
{
    struct nginx *nginx = nginx_or_skip(state);
    struct world *world = world_new(nginx->server, 50, 50);
    _cleanup_(free) char *bundle = certificate_authority(nginx->server);
    _cleanup_(free) char *url = format_string("https://localhost:%u/", nginx->hasty_port);
    struct http_request request = request_to(url);

    request.tls.ca_bundle = bundle;
    for (size_t round = 0; round < 5; round++)
        assert_answered(world, &request);
    world_free(world);
}

static void a_server_that_was_killed_and_is_back_is_asked_on_a_new_connection(void **state)
{
    struct nginx *nginx = nginx_or_skip(state);
    struct world *world = world_new(nginx->server, 50, 50);
    _cleanup_(free) char *bundle = certificate_authority(nginx->server);
    _cleanup_(free) char *url = format_string("https://localhost:%u/", nginx->port);
    struct http_request request = request_to(url);

    request.tls.ca_bundle = bundle;
    for (size_t round = 0; round < 5; round++) {
        assert_answered(world, &request);
        end(nginx);
        launch(nginx);
    }
    assert_answered(world, &request);
    world_free(world);
}

struct question {
    struct operation operation; /* first */
    uv_timer_t timer;
    egress_decided decided;
    void *decided_context;
};

static void refuse(uv_timer_t *timer)
{
    struct question *question = timer->data;
    struct network loopback;

    assert_true(network_parse("127.0.0.0/8", &loopback));
    question->decided(question->decided_context, NULL, &loopback, 1);
}

static struct error *refuse_loopback(void *context, const struct egress_request *request,
                                     egress_decided decided, void *decided_context,
                                     struct operation **operation)
{
    struct question *question = context;

    (void)request;
    question->decided = decided;
    question->decided_context = decided_context;
    uv_timer_start(&question->timer, refuse, 0, 0);
    *operation = &question->operation;
    return NULL;
}

static void a_refused_network_is_not_reached_over_a_shared_connection(void **state)
{
    struct nginx *nginx = nginx_or_skip(state);
    struct world *world = world_new(nginx->server, 50, 50);
    _cleanup_(free) char *bundle = certificate_authority(nginx->server);
    _cleanup_(free) char *url = format_string("https://localhost:%u/", nginx->port);
    struct http_request request = request_to(url);
    struct question question = {0};
    const struct egress egress = {refuse_loopback, &question};

    uv_timer_init(&world->loop, &question.timer);
    question.timer.data = &question;
    request.tls.ca_bundle = bundle;
    struct outcome outcome = fetch(world, &request);
    assert_int_equal(outcome.status, 200);
    outcome_free(&outcome);
    request.egress = &egress;
    outcome = fetch(world, &request);
    assert_failed(&outcome, ERROR_CONFIGURATION, "EgressDenied",
                  "egress denied: 127.0.0.1 is in 127.0.0.0/8");
    outcome_free(&outcome);
    uv_close((uv_handle_t *)&question.timer, NULL);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_requests_share_one_connection),
        cmocka_unit_test(requests_cancelled_while_they_wait_for_a_connection_spoil_no_later_one),
        cmocka_unit_test(no_request_is_lost_with_a_connection_that_the_server_ends),
        cmocka_unit_test(a_server_that_was_killed_and_is_back_is_asked_on_a_new_connection),
        cmocka_unit_test(a_refused_network_is_not_reached_over_a_shared_connection),
    };

    return cmocka_run_group_tests(tests, nginx_start, nginx_stop);
}
