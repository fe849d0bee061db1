/* The HTTP client against a real server: answers, limits, failures and what is sent. */
#include "http_world.h"

#include "http/headers.h"

static void an_answer_has_status_headers_and_body(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/ok");
    struct outcome outcome = fetch_path(world, "/ok#part");

    assert_null(outcome.error);
    assert_int_equal(outcome.status, 200);
    assert_string_equal(outcome.body, "hello\n");
    assert_string_equal(outcome.etag, "\"v1\"");
    assert_int_equal(outcome.twos, 2);
    assert_string_equal(outcome.url, url);
    outcome_free(&outcome);
}

static void every_status_is_an_answer(void **state)
{
    static const unsigned statuses[] = {204, 304, 400, 401, 404, 410, 429, 500, 503};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        _cleanup_(free) char *path = format_string("/status?code=%u", statuses[i]);
        struct outcome outcome = fetch_path(world, path);

        assert_null(outcome.error);
        assert_int_equal(outcome.status, statuses[i]);
        assert_non_null(outcome.body);
        outcome_free(&outcome);
    }
}

static void proxies_of_the_environment_do_not_count(void **state)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    struct outcome outcome = fetch_path(*state, "/ok");

    unsetenv("http_proxy");
    assert_null(outcome.error);
    assert_int_equal(outcome.status, 200);
    outcome_free(&outcome);
}

static const struct {
    const char *lines[3];
    const char *name; /* of the only header; NULL for none */
    const char *value;
} heads[] = {
    {{"ETag:  \"a\" \r\n"}, "etag", "\"a\""},
    {{"X-Empty:\r\n"}, "x-empty", ""},
    {{"X-A: one\r\n", "\ttwo\r\n"}, "x-a", "one two"},
    {{"no header\r\n", "bad name: x\r\n", ": x\r\n"}, NULL, NULL},
    {{" folded onto nothing: x\r\n"}, NULL, NULL},
};

static void header_lines_are_read_leniently(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct headers headers = {0};

        for (size_t j = 0; j < 3 && heads[i].lines[j]; j++)
            assert_null(headers_add_line(&headers, heads[i].lines[j], strlen(heads[i].lines[j])));
        assert_int_equal(headers.count, heads[i].name ? 1 : 0);
        if (heads[i].name)
            assert_string_equal(headers_find(headers.items, headers.count, heads[i].name),
                                heads[i].value);
        headers_free(&headers);
    }
}

static void a_name_is_resolved_before_curl(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = format_string("http://localhost:%u/ok", world->server->http);
    const struct http_request request = request_to(url);

    for (int i = 0; i < 2; i++) {
        struct outcome outcome = fetch(world, &request);

        assert_null(outcome.error);
        assert_string_equal(outcome.body, "hello\n");
        outcome_free(&outcome);
    }
}

static void method_headers_and_body_are_sent_as_given(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/echo?a=b");
    const struct http_header headers[] = {{"X-One", "1", false},
                                          {"Authorization", "Bearer t", true},
                                          {"X-Empty", "", false},
                                          {"Content-Type", "text/plain", false}};
    struct http_request request = request_to(url);
    struct blob *body;

    assert_null(blob_from_bytes(world->blobs, "the body", 8, &body));
    request.method = "PUT";
    request.headers = headers;
    request.header_count = 4;
    request.body = body;
    struct outcome outcome = fetch(world, &request);
    blob_unref(body);
    assert_null(outcome.error);
    assert_non_null(strstr(outcome.body, "PUT /echo?a=b\n"));
    assert_non_null(strstr(outcome.body, "\nX-One: 1\n"));
    assert_non_null(strstr(outcome.body, "\nAuthorization: Bearer t\n"));
    assert_non_null(strstr(outcome.body, "\nX-Empty: \n"));
    assert_non_null(strstr(outcome.body, "\nContent-Type: text/plain\n"));
    assert_non_null(strstr(outcome.body, "\nContent-Length: 8\n"));
    assert_non_null(strstr(outcome.body, "\nUser-Agent: sluice-test\n"));
    assert_non_null(strstr(outcome.body, "\n\nthe body"));
    assert_null(strstr(outcome.body, "Expect:"));
    outcome_free(&outcome);
}

static void head_and_post_without_body_work(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/echo");
    struct http_request request = request_to(url);

    request.method = "HEAD";
    struct outcome outcome = fetch(world, &request);
    assert_null(outcome.error);
    assert_int_equal(outcome.status, 200);
    assert_int_equal(outcome.length, 0);
    outcome_free(&outcome);

    request.method = "POST";
    outcome = fetch(world, &request);
    assert_null(outcome.error);
    assert_non_null(strstr(outcome.body, "POST /echo\n"));
    assert_non_null(strstr(outcome.body, "\nContent-Length: 0\n"));
    assert_null(strstr(outcome.body, "Content-Type"));
    outcome_free(&outcome);
}

static const struct {
    const char *method;
    const char *url;
    struct http_header header;
    const char *reason;
    const char *message;
} refused[] = {
    {"GET",
     "http://h/",
     {"X-A", "v\r\nX-B: w", false},
     "InvalidHeader",
     "header 'X-A' cannot be sent: its value has a line break"},
    {"GET", "http://h/", {"X-A", "v\n", false}, "InvalidHeader", "header 'X-A'"},
    {"GET",
     "http://h/",
     {"X\r\nA", "v", false},
     "InvalidHeader",
     "header 'X??A' cannot be sent: its name"},
    {"GET", "http://h/", {"", "v", false}, "InvalidHeader", "header ''"},
    {"GET", "http://h/", {"X A:", "v", false}, "InvalidHeader", "header 'X A:'"},
    {"GET",
     "http://h/",
     {"content-length", "5", false},
     "InvalidHeader",
     "header 'content-length' cannot be sent: it is set from the body"},
    {"GET", "http://h/", {"Transfer-Encoding", "chunked", false}, "InvalidHeader", "set from the"},
    {"GET /x", "http://h/", {"A", "v", false}, "InvalidMethod", "'GET /x' is not a method"},
    {"CONNECT", "http://h/", {"A", "v", false}, "InvalidMethod", "'CONNECT' is not a method"},
    {"", "http://h/", {"A", "v", false}, "InvalidMethod", "'' is not a method"},
    {"GET", "ftp://h/", {"A", "v", false}, "InvalidURL", "'ftp://h/' is not a usable URL"},
    {"GET", "http://u:p@h/", {"A", "v", false}, "InvalidURL", "'http://h/' is not a usable URL"},
};

static void a_request_that_must_not_be_sent_is_refused_at_once(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct http_request request = request_to(refused[i].url);
        struct operation *operation = NULL;
        struct outcome outcome = {0};

        request.method = refused[i].method;
        request.headers = &refused[i].header;
        request.header_count = 1;
        outcome.error =
            http_client_send(world->client, &request, outcome_take, &outcome, &operation);
        assert_failed(&outcome, ERROR_CONFIGURATION, refused[i].reason, refused[i].message);
        assert_null(operation);
        outcome_free(&outcome);
    }
}

static void a_compressed_body_arrives_decoded(void **state)
{
    struct outcome outcome = fetch_path(*state, "/gzip?size=100000");

    assert_null(outcome.error);
    assert_int_equal(outcome.length, 100000);
    assert_int_equal(outcome.body[99999], 'a');
    outcome_free(&outcome);
}

static void a_body_over_the_limit_is_refused_however_it_comes(void **state)
{
    static const char *const paths[] = {"/gzip?size=20000001", "/chunked?size=10000001"};
    struct world *world = *state;

    for (size_t i = 0; i < 2; i++) {
        _cleanup_(free) char *url = http_url(world, paths[i]);
        struct http_request request = request_to(url);

        request.max_body = 10000000;
        struct outcome outcome = fetch(world, &request);
        assert_failed(&outcome, ERROR_UPSTREAM, "OutputLimit",
                      "the answer's body is over the limit of 10000000 bytes");
        outcome_free(&outcome);
    }
}

static void a_body_of_just_the_limit_is_taken(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/chunked?size=3000000");
    struct http_request request = request_to(url);

    request.max_body = 3000000;
    struct outcome outcome = fetch(world, &request);
    assert_null(outcome.error);
    assert_int_equal(outcome.length, 3000000);
    outcome_free(&outcome);
}

static void headers_are_bounded(void **state)
{
    static const char *const paths[] = {"/headers?count=90&size=800"};
    struct world *world = *state;

    for (size_t i = 0; i < 1; i++) {
        struct outcome outcome = fetch_path(world, paths[i]);

        assert_failed(&outcome, ERROR_UPSTREAM, "OutputLimit",
                      "the answer's headers are more than 256, or more than 65536 bytes");
        outcome_free(&outcome);
    }
    struct outcome outcome = fetch_path(world, "/headers?count=300");
    assert_failed(&outcome, ERROR_UPSTREAM, "OutputLimit",
                  "the answer's headers are more than 256");
    outcome_free(&outcome);
}

static const struct {
    const char *path;
    const char *message;
} broken[] = {
    {"/short?token=secret", "/short: the answer's body was cut off after 10 of 100 bytes"},
    {"/unchunked", "/unchunked: "},
    {"/silent", "/silent: the server closed the connection without an answer"},
    {"/garbage", "/garbage: "},
};

static void a_broken_answer_is_a_transient_failure(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct outcome outcome = fetch_path(world, broken[i].path);

        assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed", broken[i].message);
        assert_null(strstr(outcome.error->message, "secret"));
        assert_int_equal(strncmp(outcome.error->message, "GET http://127.0.0.1:", 21), 0);
        outcome_free(&outcome);
    }
}

static void a_refused_connection_is_named(void **state)
{
    const struct http_request request = request_to("http://127.0.0.1:1/x?q=1");
    struct outcome outcome = fetch(*state, &request);

    assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed",
                  "GET http://127.0.0.1:1/x: cannot connect: connection refused");
    outcome_free(&outcome);
}

static void an_unresolvable_host_is_named(void **state)
{
    const struct http_request request = request_to("http://no-such-host.invalid/x");
    struct outcome outcome = fetch(*state, &request);

    assert_failed(&outcome, ERROR_TRANSIENT, "FetchFailed",
                  "GET http://no-such-host.invalid/x: cannot resolve 'no-such-host.invalid': ");
    outcome_free(&outcome);
}

static void a_request_has_its_time_and_no_more(void **state)
{
    static const char *const paths[] = {"/hang", "/hang?begin"};
    struct world *world = *state;

    for (size_t i = 0; i < 2; i++) {
        _cleanup_(free) char *url = http_url(world, paths[i]);
        struct http_request request = request_to(url);

        request.timeout_ms = 150;
        struct outcome outcome = fetch(world, &request);
        assert_failed(&outcome, ERROR_TRANSIENT, "Timeout",
                      "/hang: no complete answer within 150ms");
        outcome_free(&outcome);
    }
}

struct lines {
    struct outcome outcome; /* first: the context of both callbacks */
    struct buffer text;
    unsigned stop_after; /* calls */
    struct operation *operation;
    bool cancel;
    bool cancelled;
};

static bool take_line(void *context, const void *bytes, size_t length)
{
    struct lines *lines = context;

    buffer_append(&lines->text, bytes, length);
    if (lines->stop_after == 0 || --lines->stop_after > 0)
        return true;
    if (!lines->cancel)
        return false;
    operation_cancel(&lines->operation);
    lines->cancelled = true;
    return true;
}

static void stream(struct world *world, struct lines *lines, const char *path)
{
    _cleanup_(free) char *url = http_url(world, path);
    struct http_request request = request_to(url);

    request.on_body = take_line;
    assert_null(http_client_send(world->client, &request, outcome_take, lines, &lines->operation));
    while (!lines->outcome.done && !lines->cancelled)
        uv_run(&world->loop, UV_RUN_ONCE);
}

static void a_body_can_be_taken_as_it_comes(void **state)
{
    struct lines lines = {0};

    stream(*state, &lines, "/lines?count=3");
    assert_int_equal(lines.outcome.status, 200);
    assert_null(lines.outcome.body);
    assert_string_equal(buffer_string(&lines.text), "line 0\nline 1\nline 2\n");
    buffer_free(&lines.text);
    outcome_free(&lines.outcome);
}

static void a_streamed_body_counts_only_where_the_status_is_good(void **state)
{
    struct lines lines = {0};

    stream(*state, &lines, "/status?code=410");
    assert_int_equal(lines.outcome.status, 410);
    assert_string_equal(lines.outcome.body, "status\n");
    assert_int_equal(lines.text.length, 0);
    outcome_free(&lines.outcome);
}

static void the_receiver_of_a_stream_can_end_it(void **state)
{
    struct lines lines = {.stop_after = 1};

    stream(*state, &lines, "/hang?begin");
    assert_failed(&lines.outcome, ERROR_TRANSIENT, "FetchFailed",
                  "/hang: the answer's receiver stopped reading it");
    buffer_free(&lines.text);
    outcome_free(&lines.outcome);
}

static void the_receiver_of_a_stream_can_cancel_it(void **state)
{
    struct lines lines = {.stop_after = 1, .cancel = true};

    stream(*state, &lines, "/hang?begin");
    assert_true(lines.cancelled);
    assert_false(lines.outcome.done);
    buffer_free(&lines.text);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(an_answer_has_status_headers_and_body),
        IN_WORLD(every_status_is_an_answer),
        IN_WORLD(proxies_of_the_environment_do_not_count),
        cmocka_unit_test(header_lines_are_read_leniently),
        IN_WORLD(a_name_is_resolved_before_curl),
        IN_WORLD(method_headers_and_body_are_sent_as_given),
        IN_WORLD(head_and_post_without_body_work),
        IN_WORLD(a_request_that_must_not_be_sent_is_refused_at_once),
        IN_WORLD(a_compressed_body_arrives_decoded),
        IN_WORLD(a_body_over_the_limit_is_refused_however_it_comes),
        IN_WORLD(a_body_of_just_the_limit_is_taken),
        IN_WORLD(headers_are_bounded),
        IN_WORLD(a_broken_answer_is_a_transient_failure),
        IN_WORLD(a_refused_connection_is_named),
        IN_WORLD(an_unresolvable_host_is_named),
        IN_WORLD(a_request_has_its_time_and_no_more),
        IN_WORLD(a_body_can_be_taken_as_it_comes),
        IN_WORLD(a_streamed_body_counts_only_where_the_status_is_good),
        IN_WORLD(the_receiver_of_a_stream_can_end_it),
        IN_WORLD(the_receiver_of_a_stream_can_cancel_it),
    };

    return cmocka_run_group_tests(tests, server_start, server_stop);
}
