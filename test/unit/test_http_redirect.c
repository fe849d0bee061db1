/* Redirects: each hop is a request of its own, and credentials stay where they belong. */
#include "http_world.h"

/* A redirect on the first server to `to` on the second, which is another origin. */
static char *redirect_url(const struct world *world, unsigned code, const char *to)
{
    return format_string("http://127.0.0.1:%u/redirect?code=%u&to=http://127.0.0.1:%u%s",
                         world->server->http, code, world->server->http2nd, to);
}

static void a_redirect_is_followed_relative_or_absolute(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *absolute = redirect_url(world, 301, "/ok");
    _cleanup_(free) char *relative = http_url(world, "/redirect?to=ok");
    _cleanup_(free) char *rooted = http_url(world, "/redirect?to=/ok&body=100000");
    const char *const urls[] = {absolute, relative, rooted};

    for (size_t i = 0; i < 3; i++) {
        const struct http_request request = request_to(urls[i]);
        struct outcome outcome = fetch(world, &request);
        _cleanup_(free) char *last = format_string(
            "http://127.0.0.1:%u/ok", i == 0 ? world->server->http2nd : world->server->http);

        assert_null(outcome.error);
        assert_int_equal(outcome.status, 200);
        assert_string_equal(outcome.body, "hello\n");
        assert_string_equal(outcome.url, last);
        outcome_free(&outcome);
    }
}

static void without_redirects_allowed_one_is_an_answer(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/redirect?to=/ok");
    struct http_request request = request_to(url);

    request.max_redirects = 0;
    struct outcome outcome = fetch(world, &request);
    assert_int_equal(outcome.status, 302);
    outcome_free(&outcome);
}

static void a_redirect_status_without_location_is_an_answer(void **state)
{
    struct outcome outcome = fetch_path(*state, "/status?code=302");

    assert_int_equal(outcome.status, 302);
    assert_string_equal(outcome.body, "status\n");
    outcome_free(&outcome);
}

static void a_redirect_loop_ends(void **state)
{
    struct outcome outcome = fetch_path(*state, "/loop");

    assert_failed(&outcome, ERROR_UPSTREAM, "FetchFailed", "/loop): redirected more than 5 times");
    outcome_free(&outcome);
}

static const struct {
    const char *to;
    const char *message;
} unusable[] = {
    {"ftp://h/x", "redirected: 'ftp://h/x' is not a usable URL: its scheme must be http or https"},
    {"file:///etc/passwd", "redirected: 'file:///etc/passwd' is not a usable URL"},
    {"http://u:secret@h/x", "redirected: 'http://h/x' is not a usable URL: it must not carry"},
};

static void a_redirect_elsewhere_than_http_is_refused(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(unusable) / sizeof(unusable[0]); i++) {
        _cleanup_(free) char *path = format_string("/redirect?to=%s", unusable[i].to);
        struct outcome outcome = fetch_path(world, path);

        assert_failed(&outcome, ERROR_UPSTREAM, "FetchFailed", unusable[i].message);
        assert_null(strstr(outcome.error->message, "secret"));
        outcome_free(&outcome);
    }
}

static const struct {
    const char *method;
    unsigned code;
    const char *becomes;
    bool body;
} methods[] = {
    {"POST", 301, "GET", false}, {"POST", 302, "GET", false},  {"POST", 303, "GET", false},
    {"POST", 307, "POST", true}, {"POST", 308, "POST", true},  {"PUT", 301, "PUT", true},
    {"PUT", 303, "GET", false},  {"HEAD", 303, "HEAD", false}, {"DELETE", 302, "DELETE", true},
};

static void a_redirect_keeps_or_changes_the_method_as_browsers_do(void **state)
{
    struct world *world = *state;
    const struct http_header header = {"Content-Type", "text/x-test", false};
    struct blob *body;

    assert_null(blob_from_bytes(world->blobs, "the body", 8, &body));
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        _cleanup_(free) char *url = redirect_url(world, methods[i].code, "/echo");
        _cleanup_(free) char *first = format_string("%s /echo\n", methods[i].becomes);
        struct http_request request = request_to(url);

        request.method = methods[i].method;
        request.body = strcmp(methods[i].method, "HEAD") == 0 ? NULL : body;
        request.headers = &header;
        request.header_count = 1;
        struct outcome outcome = fetch(world, &request);
        assert_null(outcome.error);
        if (strcmp(methods[i].becomes, "HEAD") != 0 && !strstr(outcome.body, first))
            fail_msg("%s after %u: %s", methods[i].method, methods[i].code, outcome.body);
        assert_int_equal(strstr(outcome.body, "the body") != NULL, methods[i].body);
        assert_int_equal(strstr(outcome.body, "text/x-test") != NULL, methods[i].body);
        outcome_free(&outcome);
    }
    blob_unref(body);
}

static const struct http_header credentials[] = {
    {"X-Api-Key", "secret1", true},     {"Authorization", "secret2", false},
    {"Cookie", "secret3", false},       {"X-Plain", "plain", false},
    {"Host", "virtual.example", false},
};

static void credentials_are_not_sent_to_another_origin(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = redirect_url(world, 302, "/echo");
    struct http_request request = request_to(url);

    request.headers = credentials;
    request.header_count = 5;
    struct outcome outcome = fetch(world, &request);
    assert_null(outcome.error);
    assert_null(strstr(outcome.body, "secret"));
    assert_null(strstr(outcome.body, "virtual.example"));
    assert_non_null(strstr(outcome.body, "X-Plain: plain"));
    outcome_free(&outcome);
}

static void credentials_stay_on_their_own_origin(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/redirect?to=/echo");
    struct http_request request = request_to(url);

    request.headers = credentials;
    request.header_count = 4;
    struct outcome outcome = fetch(world, &request);
    assert_null(outcome.error);
    assert_non_null(strstr(outcome.body, "X-Api-Key: secret1"));
    assert_non_null(strstr(outcome.body, "Authorization: secret2"));
    outcome_free(&outcome);
}

static void credentials_come_back_when_a_redirect_does(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *back =
        format_string("/redirect?to=http://127.0.0.1:%u/echo", world->server->http);
    _cleanup_(free) char *url = redirect_url(world, 302, back);
    struct http_request request = request_to(url);

    request.headers = credentials;
    request.header_count = 4;
    struct outcome outcome = fetch(world, &request);
    assert_null(outcome.error);
    assert_non_null(strstr(outcome.body, "X-Api-Key: secret1"));
    outcome_free(&outcome);
}

static void only_the_trusted_origins_get_credentials(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = redirect_url(world, 302, "/echo");
    _cleanup_(free) char *direct = http_url(world, "/echo");
    _cleanup_(free) char *second = format_string("http://127.0.0.1:%u", world->server->http2nd);
    const char *const origins[] = {second};
    struct http_request request = request_to(url);

    request.headers = credentials;
    request.header_count = 4;
    request.trusted_origins = origins;
    request.trusted_origin_count = 1;
    struct outcome outcome = fetch(world, &request);
    assert_non_null(strstr(outcome.body, "X-Api-Key: secret1"));
    outcome_free(&outcome);

    request.url = direct;
    outcome = fetch(world, &request);
    assert_null(strstr(outcome.body, "secret"));
    outcome_free(&outcome);
}

static void a_trusted_origin_that_is_no_url_is_refused(void **state)
{
    struct world *world = *state;
    static const char *const origins[] = {"api.example.com"};
    struct http_request request = request_to("http://h/");
    struct operation *operation = NULL;
    struct outcome outcome = {0};

    request.trusted_origins = origins;
    request.trusted_origin_count = 1;
    outcome.error = http_client_send(world->client, &request, outcome_take, &outcome, &operation);
    assert_failed(&outcome, ERROR_CONFIGURATION, "InvalidURL",
                  "trusted origin: 'api.example.com' is not a usable URL");
    outcome_free(&outcome);
}

static void a_failure_after_a_redirect_names_both_ends(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/redirect?to=http://127.0.0.1:1/x");
    _cleanup_(free) char *message =
        format_string("GET http://127.0.0.1:1/x (redirected from http://127.0.0.1:%u/redirect): "
                      "cannot connect: connection refused",
                      world->server->http);
    const struct http_request request = request_to(url);
    struct outcome outcome = fetch(world, &request);

    assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed", message);
    outcome_free(&outcome);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_redirect_is_followed_relative_or_absolute),
        IN_WORLD(without_redirects_allowed_one_is_an_answer),
        IN_WORLD(a_redirect_status_without_location_is_an_answer),
        IN_WORLD(a_redirect_loop_ends),
        IN_WORLD(a_redirect_elsewhere_than_http_is_refused),
        IN_WORLD(a_redirect_keeps_or_changes_the_method_as_browsers_do),
        IN_WORLD(credentials_are_not_sent_to_another_origin),
        IN_WORLD(credentials_stay_on_their_own_origin),
        IN_WORLD(credentials_come_back_when_a_redirect_does),
        IN_WORLD(only_the_trusted_origins_get_credentials),
        IN_WORLD(a_trusted_origin_that_is_no_url_is_refused),
        IN_WORLD(a_failure_after_a_redirect_names_both_ends),
    };

    return cmocka_run_group_tests(tests, server_start, server_stop);
}
