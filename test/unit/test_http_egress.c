/* What may be reached: the policy is asked before each hop, the address judged at the last moment.
 */
#include "http_world.h"

/* A policy that refuses networks, or denies hosts, and answers at the loop's next turn. */
struct policy {
    struct operation operation; /* first: one question at a time is enough here */
    uv_timer_t timer;
    egress_decided decided;
    void *decided_context;
    struct network refused;
    size_t refused_count;
    const char *denied_host;
    bool denied;
    bool silent;
    unsigned asked;
    unsigned cancelled;
    char last[256];
};

static void policy_cancel(struct operation *operation)
{
    struct policy *policy = (struct policy *)operation;

    policy->cancelled++;
    uv_timer_stop(&policy->timer);
}

static void policy_answer(uv_timer_t *timer)
{
    struct policy *policy = timer->data;
    struct error *denied = NULL;

    if (policy->denied)
        denied = error_new(ERROR_CONFIGURATION, "EgressDenied", "the policy says no");
    policy->decided(policy->decided_context, denied, &policy->refused, policy->refused_count);
}

static struct error *policy_ask(void *context, const struct egress_request *request,
                                egress_decided decided, void *decided_context,
                                struct operation **operation)
{
    struct policy *policy = context;

    policy->asked++;
    policy->denied = policy->denied_host && strcmp(policy->denied_host, request->host) == 0;
    policy->decided = decided;
    policy->decided_context = decided_context;
    policy->operation.cancel = policy_cancel;
    snprintf(policy->last, sizeof(policy->last), "%s %s %s %u %s", request->method, request->scheme,
             request->host, request->port, request->redirect ? "redirect" : "direct");
    if (!policy->silent)
        uv_timer_start(&policy->timer, policy_answer, 0, 0);
    *operation = &policy->operation;
    return NULL;
}

static struct policy *policy_new(struct world *world)
{
    struct policy *policy = calloc(1, sizeof(*policy));

    uv_timer_init(&world->loop, &policy->timer);
    policy->timer.data = policy;
    return policy;
}

static void policy_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void policy_free(struct policy *policy)
{
    uv_close((uv_handle_t *)&policy->timer, policy_closed);
}

static struct outcome fetch_under(struct world *world, struct policy *policy, const char *url)
{
    const struct egress egress = {policy_ask, policy};
    struct http_request request = request_to(url);

    if (policy)
        request.egress = &egress;
    return fetch(world, &request);
}

static const struct {
    const char *url;
    const char *message;
} floors[] = {
    {"http://169.254.169.254/latest?token=secret",
     "GET http://169.254.169.254/latest: egress denied: 169.254.169.254 is a link-local address, "
     "which no source may reach"},
    {"http://0xa9fea9fe/x", "egress denied: 169.254.169.254 is a link-local address"},
    {"http://[fe80::1]/x", "egress denied: fe80::1 is a link-local address"},
    {"http://[::ffff:169.254.169.254]/x", "is a link-local address"},
    {"http://0.0.0.0/x", "egress denied: 0.0.0.0 is an unspecified address"},
};

static void the_floor_holds_without_any_policy(void **state)
{
    for (size_t i = 0; i < sizeof(floors) / sizeof(floors[0]); i++) {
        struct outcome outcome = fetch_under(*state, NULL, floors[i].url);

        assert_failed(&outcome, ERROR_CONFIGURATION, "EgressDenied", floors[i].message);
        outcome_free(&outcome);
    }
}

static void our_own_listener_cannot_be_reached_by_any_name(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "0177.0.0.1",        "2130706433",
                                        "127.1",     "127%2e1",   "[::ffff:127.0.0.1]"};
    struct world *world = *state;
    _cleanup_(free) char *listener = format_string("127.0.0.1:%u", world->server->http);

    assert_null(egress_floor_add_listener(world->floor, listener));
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        _cleanup_(free) char *url = format_string("http://%s:%u/ok", hosts[i], world->server->http);
        struct outcome outcome = fetch_under(world, NULL, url);

        assert_failed(&outcome, ERROR_CONFIGURATION, "EgressDenied",
                      "is a listener of this program, which no source may reach");
        outcome_free(&outcome);
    }
}

static void the_policy_is_asked_before_each_hop(void **state)
{
    struct world *world = *state;
    struct policy *policy = policy_new(world);
    _cleanup_(free) char *url = http_url(world, "/redirect?to=/ok");
    _cleanup_(free) char *last =
        format_string("GET http 127.0.0.1 %u redirect", world->server->http);
    struct outcome outcome = fetch_under(world, policy, url);

    assert_int_equal(outcome.status, 200);
    assert_int_equal(policy->asked, 2);
    assert_string_equal(policy->last, last);
    outcome_free(&outcome);
    policy_free(policy);
}

static void a_denied_hop_is_not_made(void **state)
{
    struct world *world = *state;
    struct policy *policy = policy_new(world);
    _cleanup_(free) char *url =
        format_string("http://127.0.0.1:%u/redirect?to=http://localhost:%u/ok", world->server->http,
                      world->server->http2nd);

    policy->denied_host = "localhost";
    struct outcome outcome = fetch_under(world, policy, url);
    assert_failed(&outcome, ERROR_CONFIGURATION, "EgressDenied", "/redirect): the policy says no");
    outcome_free(&outcome);
    policy_free(policy);
}

static void a_refused_network_is_not_connected_to_whatever_its_name(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "127.1", "2130706433"};
    struct world *world = *state;
    struct policy *policy = policy_new(world);
    unsigned requests;

    policy->refused_count = 1;
    assert_true(network_parse("127.0.0.0/8", &policy->refused));
    server_counts(world, NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        _cleanup_(free) char *url = format_string("http://%s:%u/ok", hosts[i], world->server->http);
        struct outcome outcome = fetch_under(world, policy, url);

        assert_failed(
            &outcome, ERROR_CONFIGURATION, "EgressDenied",
            "egress denied: 127.0.0.1 is in 127.0.0.0/8, which the egress policy refuses");
        outcome_free(&outcome);
    }
    server_counts(world, NULL, &requests, NULL);
    assert_int_equal(requests, 0);
    policy_free(policy);
}

static void a_refused_network_is_not_reached_over_a_connection_of_others(void **state)
{
    struct world *world = *state;
    struct policy *policy = policy_new(world);
    _cleanup_(free) char *url = http_url(world, "/ok");
    struct outcome outcome = fetch_under(world, policy, url);
    unsigned requests;

    assert_int_equal(outcome.status, 200);
    outcome_free(&outcome);
    server_counts(world, NULL, NULL, NULL);
    policy->refused_count = 1;
    assert_true(network_parse("127.0.0.1", &policy->refused));
    outcome = fetch_under(world, policy, url);
    assert_failed(&outcome, ERROR_CONFIGURATION, "EgressDenied", "127.0.0.1 is in 127.0.0.1/32");
    outcome_free(&outcome);
    server_counts(world, NULL, &requests, NULL);
    assert_int_equal(requests, 0);
    policy_free(policy);
}

static void a_redirect_into_a_refused_network_is_not_followed(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/redirect?to=http://169.254.169.254/latest");
    struct outcome outcome = fetch_under(world, NULL, url);

    assert_failed(&outcome, ERROR_CONFIGURATION, "EgressDenied",
                  "GET http://169.254.169.254/latest (redirected from http://127.0.0.1:");
    outcome_free(&outcome);
}

static void a_name_is_reached_at_the_address_that_is_not_refused(void **state)
{
    struct world *world = *state;
    struct policy *policy = policy_new(world);
    _cleanup_(free) char *url = format_string("http://localhost:%u/ok", world->server->http);

    policy->refused_count = 1;
    assert_true(network_parse("::/0", &policy->refused));
    struct outcome outcome = fetch_under(world, policy, url);
    assert_null(outcome.error);
    assert_int_equal(outcome.status, 200);
    outcome_free(&outcome);
    policy_free(policy);
}

static void a_policy_that_never_answers_runs_into_the_time_out(void **state)
{
    struct world *world = *state;
    struct policy *policy = policy_new(world);
    const struct egress egress = {policy_ask, policy};
    struct http_request request = request_to("http://127.0.0.1/");

    policy->silent = true;
    request.egress = &egress;
    request.timeout_ms = 30;
    struct outcome outcome = fetch(world, &request);
    assert_failed(&outcome, ERROR_TRANSIENT, "Timeout",
                  "GET http://127.0.0.1/: no answer from the egress policy within 30ms");
    assert_int_equal(policy->cancelled, 1);
    outcome_free(&outcome);
    policy_free(policy);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(the_floor_holds_without_any_policy),
        IN_WORLD(our_own_listener_cannot_be_reached_by_any_name),
        IN_WORLD(the_policy_is_asked_before_each_hop),
        IN_WORLD(a_denied_hop_is_not_made),
        IN_WORLD(a_refused_network_is_not_connected_to_whatever_its_name),
        IN_WORLD(a_refused_network_is_not_reached_over_a_connection_of_others),
        IN_WORLD(a_redirect_into_a_refused_network_is_not_followed),
        IN_WORLD(a_name_is_reached_at_the_address_that_is_not_refused),
        IN_WORLD(a_policy_that_never_answers_runs_into_the_time_out),
    };

    return cmocka_run_group_tests(tests, server_start, server_stop);
}
