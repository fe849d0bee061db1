/* Many requests: connections reused, limits kept, nobody starved, and each can be cancelled at any
 * time. */
#include "http_world.h"

#include "http/admission.h"

static void sequential_requests_share_one_connection(void **state)
{
    struct world *world = *state;
    unsigned connections;
    unsigned requests;

    server_counts(world, NULL, NULL, NULL);
    for (int i = 0; i < 50; i++) {
        struct outcome outcome = fetch_path(world, i % 2 ? "/ok" : "/redirect?to=/ok");

        assert_int_equal(outcome.status, 200);
        outcome_free(&outcome);
    }
    server_counts(world, &connections, &requests, NULL);
    assert_int_equal(connections, 0); /* the first count's own is used on */
    assert_int_equal(requests, 75);
}

static void a_fresh_connection_is_made_where_asked_for(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/ok");
    struct http_request request = request_to(url);
    unsigned connections;

    server_counts(world, NULL, NULL, NULL);
    request.fresh_connection = true;
    struct outcome outcome = fetch(world, &request);
    outcome_free(&outcome);
    server_counts(world, &connections, NULL, NULL);
    assert_int_equal(connections, 1);
}

static void send_all(struct world *world, const char *url, struct outcome *outcomes,
                     struct operation **operations, size_t count)
{
    const struct http_request request = request_to(url);

    for (size_t i = 0; i < count; i++)
        assert_null(
            http_client_send(world->client, &request, outcome_take, &outcomes[i], &operations[i]));
}

static void no_more_requests_run_at_once_than_allowed(void **state)
{
    struct world *world = *state;
    _cleanup_(free) char *url = http_url(world, "/slow");
    struct outcome outcomes[200] = {0};
    struct operation *operations[200];
    unsigned connections;
    unsigned requests;
    unsigned parallel;

    server_counts(world, NULL, NULL, NULL);
    send_all(world, url, outcomes, operations, 200);
    for (size_t i = 0; i < 200; i++) {
        run_until(world, &outcomes[i].done);
        assert_int_equal(outcomes[i].status, 200);
        outcome_free(&outcomes[i]);
    }
    server_counts(world, &connections, &requests, &parallel);
    assert_int_equal(requests, 200);
    assert_in_range(parallel, 2, 10);
    assert_in_range(connections, 1, 10);
}

static void a_full_host_holds_up_no_other(void **state)
{
    struct server *server = *state;
    struct world *world = world_new(server, 4, 2);
    _cleanup_(free) char *hang = http_url(world, "/hang");
    _cleanup_(free) char *other = format_string("http://127.0.0.1:%u/ok", server->http2nd);
    struct outcome outcomes[21] = {0};
    struct operation *operations[21];

    send_all(world, hang, outcomes, operations, 20);
    send_all(world, other, &outcomes[20], &operations[20], 1);
    run_until(world, &outcomes[20].done);
    assert_int_equal(outcomes[20].status, 200);
    for (size_t i = 0; i < 20; i++) {
        assert_false(outcomes[i].done);
        operation_cancel(&operations[i]);
    }
    outcome_free(&outcomes[20]);
    world_free(world);
}

/* Paths to the states in which a request can be, and how many turns of the loop it gets to reach
 * them. */
static void a_request_can_be_cancelled_in_every_state(void **state)
{
    static const char *const urls[] = {"http://127.0.0.1:%u/hang?begin",
                                       "http://localhost:%u/gzip?size=1000000",
                                       "http://127.0.0.1:%u/loop", "http://no.invalid:%u/"};
    struct server *server = *state;

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        for (int turns = 0; turns < 12; turns++) {
            struct world *world = world_new(server, 1, 1);
            struct outcome outcomes[2] = {0};
            struct operation *operations[2];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            _cleanup_(free) char *url = format_string(urls[i], server->http);
#pragma GCC diagnostic pop

            send_all(world, url, outcomes, operations, 2);
            for (int turn = 0; turn < turns && !outcomes[0].done; turn++)
                uv_run(&world->loop, UV_RUN_NOWAIT);
            for (int j = 0; j < 2; j++) {
                if (!outcomes[j].done)
                    operation_cancel(&operations[j]);
                outcome_free(&outcomes[j]);
            }
            world_free(world);
        }
    }
}

struct chain {
    struct outcome outcome; /* first */
    struct world *world;
    struct operation *other;
    struct operation *next;
    struct outcome next_outcome;
    char *url;
};

static void cancel_other_and_send_next(void *context, struct error *error,
                                       const struct http_response *response)
{
    struct chain *chain = context;
    const struct http_request request = request_to(chain->url);

    outcome_take(context, error, response);
    operation_cancel(&chain->other);
    assert_null(http_client_send(chain->world->client, &request, outcome_take, &chain->next_outcome,
                                 &chain->next));
}

static void a_completion_may_cancel_and_send(void **state)
{
    struct world *world = *state;
    struct chain chain = {.world = world, .url = http_url(world, "/ok")};
    _cleanup_(free) char *hang = http_url(world, "/hang");
    const struct http_request hanging = request_to(hang);
    const struct http_request request = request_to(chain.url);
    struct outcome never = {0};
    struct operation *operation;

    assert_null(http_client_send(world->client, &hanging, outcome_take, &never, &chain.other));
    assert_null(
        http_client_send(world->client, &request, cancel_other_and_send_next, &chain, &operation));
    run_until(world, &chain.next_outcome.done);
    assert_int_equal(chain.outcome.status, 200);
    assert_int_equal(chain.next_outcome.status, 200);
    assert_false(never.done);
    outcome_free(&chain.outcome);
    outcome_free(&chain.next_outcome);
    free(chain.url);
}

static void free_client(void *context, struct error *error, const struct http_response *response)
{
    struct chain *chain = context;

    outcome_take(context, error, response);
    http_client_free(TAKE(chain->world->client));
}

static void the_last_completion_may_free_the_client(void **state)
{
    struct world *world = *state;
    struct chain chain = {.world = world, .url = http_url(world, "/ok")};
    const struct http_request request = request_to(chain.url);
    struct operation *operation;

    assert_null(http_client_send(world->client, &request, free_client, &chain, &operation));
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(chain.outcome.status, 200);
    outcome_free(&chain.outcome);
    free(chain.url);
}

static void tickets_run_in_order_and_full_hosts_are_passed_over(void **state)
{
    struct admission admission;
    struct ticket tickets[6] = {0};
    /* Two of "a" may run; then b, then c; the parked a goes before d once an a leaves. */
    static const char *const origins[] = {"a", "a", "a", "b", "c", "d"};

    (void)state;
    admission_init(&admission, 4, 2);
    for (size_t i = 0; i < 6; i++)
        assert_null(admission_enter(&admission, &tickets[i], origins[i], false));
    assert_ptr_equal(admission_next(&admission), &tickets[0]);
    assert_ptr_equal(admission_next(&admission), &tickets[1]);
    assert_ptr_equal(admission_next(&admission), &tickets[3]);
    assert_ptr_equal(admission_next(&admission), &tickets[4]);
    assert_null(admission_next(&admission));
    admission_leave(&admission, &tickets[1]);
    assert_ptr_equal(admission_next(&admission), &tickets[2]);
    assert_null(admission_next(&admission));
    admission_leave(&admission, &tickets[3]);
    assert_ptr_equal(admission_next(&admission), &tickets[5]);
    for (size_t i = 0; i < 6; i++)
        admission_leave(&admission, &tickets[i]);
    assert_null(admission_next(&admission));
    assert_null(admission.hosts);
    assert_int_equal(admission.running, 0);
}

static void a_ticket_let_out_that_leaves_passes_its_place_on(void **state)
{
    struct admission admission;
    struct ticket tickets[3] = {0};

    (void)state;
    admission_init(&admission, 9, 1);
    for (size_t i = 0; i < 3; i++)
        assert_null(admission_enter(&admission, &tickets[i], "a", false));
    assert_ptr_equal(admission_next(&admission), &tickets[0]);
    assert_null(admission_next(&admission));
    admission_leave(&admission, &tickets[0]);
    admission_leave(&admission, &tickets[1]);
    assert_ptr_equal(admission_next(&admission), &tickets[2]);
    admission_leave(&admission, &tickets[2]);
    assert_null(admission.hosts);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(sequential_requests_share_one_connection),
        IN_WORLD(a_fresh_connection_is_made_where_asked_for),
        IN_WORLD(no_more_requests_run_at_once_than_allowed),
        cmocka_unit_test(a_full_host_holds_up_no_other),
        cmocka_unit_test(a_request_can_be_cancelled_in_every_state),
        IN_WORLD(a_completion_may_cancel_and_send),
        IN_WORLD(the_last_completion_may_free_the_client),
        cmocka_unit_test(tickets_run_in_order_and_full_hosts_are_passed_over),
        cmocka_unit_test(a_ticket_let_out_that_leaves_passes_its_place_on),
    };

    return cmocka_run_group_tests(tests, server_start, server_stop);
}
