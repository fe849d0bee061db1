/* The resolver: shared look-ups, a short memory, and answers never from inside the call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "http/resolver.h"

struct fixture {
    uv_loop_t loop;
    struct clock clock;
    int64_t now_ms;
    struct resolver *resolver;
};

struct answer {
    unsigned count;
    struct error *error;
    char addresses[256];
};

static int64_t now_of(void *context)
{
    return ((struct fixture *)context)->now_ms;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture->clock = (struct clock){now_of, now_of, fixture};
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    assert_null(resolver_new(&fixture->loop, &fixture->clock, &fixture->resolver));
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    resolver_free(fixture->resolver);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    free(fixture);
    return 0;
}

static void take(void *context, struct error *error, const char *addresses)
{
    struct answer *answer = context;

    answer->count++;
    error_free(answer->error);
    answer->error = error;
    assert_int_equal(error == NULL, addresses != NULL);
    if (addresses)
        snprintf(answer->addresses, sizeof(answer->addresses), "%s", addresses);
}

static struct operation *look_up(struct fixture *fixture, const char *name, struct answer *answer)
{
    struct operation *operation = NULL;
    unsigned before = answer->count;

    assert_null(resolver_look_up(fixture->resolver, name, take, answer, &operation));
    assert_non_null(operation);
    assert_int_equal(answer->count, before);
    return operation;
}

static void a_name_has_addresses_as_curl_takes_them(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer = {0};

    look_up(fixture, "localhost", &answer);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(answer.count, 1);
    assert_null(answer.error);
    assert_non_null(strstr(answer.addresses, "127.0.0.1"));
    assert_true(!strchr(answer.addresses, ':') || strstr(answer.addresses, "[::1]"));
}

static void an_unknown_name_is_a_transient_failure_that_names_it(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer = {0};

    look_up(fixture, "no-such-host.invalid", &answer);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_non_null(answer.error);
    assert_int_equal(answer.error->kind, ERROR_TRANSIENT);
    assert_string_equal(answer.error->reason, "FetchFailed");
    assert_non_null(strstr(answer.error->message, "cannot resolve 'no-such-host.invalid': "));
    error_free(answer.error);
}

static void all_who_ask_hear_the_answer_once(void **state)
{
    struct fixture *fixture = *state;
    struct answer answers[100] = {0};

    for (size_t i = 0; i < 100; i++)
        look_up(fixture, "localhost", &answers[i]);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(answers[i].count, 1);
        assert_string_equal(answers[i].addresses, answers[0].addresses);
    }
}

static void many_names_wait_for_their_turn(void **state)
{
    struct fixture *fixture = *state;
    struct answer answers[40] = {0};

    for (size_t i = 0; i < 40; i++) {
        char name[32];

        snprintf(name, sizeof(name), "127.0.0.%zu", i + 1); /* getaddrinfo's quickest answers */
        look_up(fixture, name, &answers[i]);
    }
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(answers[i].count, 1);
    assert_string_equal(answers[39].addresses, "127.0.0.40");
}

/* A fresh answer needs no thread: it comes with the very next turn of the loop. */
static bool answers_at_once(struct fixture *fixture, const char *name)
{
    struct answer answer = {0};
    struct operation *operation = look_up(fixture, name, &answer);

    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    error_free(answer.error);
    if (answer.count == 1)
        return true;
    operation_cancel(&operation);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    return false;
}

static void an_answer_is_remembered_for_a_while(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer = {0};

    look_up(fixture, "localhost", &answer);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    fixture->now_ms += RESOLVER_POSITIVE_MS - 1;
    assert_true(answers_at_once(fixture, "localhost"));
    fixture->now_ms += 2;
    look_up(fixture, "localhost", &answer);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(answer.count, 2);
}

static void a_failure_is_remembered_briefly(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer = {0};

    look_up(fixture, "no-such-host.invalid", &answer);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    fixture->now_ms += RESOLVER_NEGATIVE_MS - 1;
    assert_true(answers_at_once(fixture, "no-such-host.invalid"));
    fixture->now_ms += 2;
    look_up(fixture, "no-such-host.invalid", &answer);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(answer.count, 2);
    error_free(answer.error);
}

static void no_more_answers_are_kept_than_allowed(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer = {0};
    char name[32];

    for (unsigned i = 0; i <= RESOLVER_NAMES_MAX; i++) {
        snprintf(name, sizeof(name), "127.0.%u.%u", i / 256, i % 256);
        look_up(fixture, name, &answer);
        uv_run(&fixture->loop, UV_RUN_DEFAULT);
    }
    assert_int_equal(answer.count, RESOLVER_NAMES_MAX + 1);
    assert_true(answers_at_once(fixture, name));
}

static void a_look_up_can_be_cancelled_at_any_time(void **state)
{
    struct fixture *fixture = *state;

    for (int turns = 0; turns < 4; turns++) {
        struct answer answers[RESOLVER_LOOKUPS_MAX + 3] = {0};
        struct operation *operations[RESOLVER_LOOKUPS_MAX + 3];

        for (int i = 0; i < RESOLVER_LOOKUPS_MAX + 3; i++) {
            char name[32];

            snprintf(name, sizeof(name), "127.%d.0.%d", turns, i);
            operations[i] = look_up(fixture, name, &answers[i]);
        }
        for (int turn = 0; turn < turns; turn++)
            uv_run(&fixture->loop, UV_RUN_NOWAIT);
        for (int i = 0; i < RESOLVER_LOOKUPS_MAX + 3; i++) {
            if (answers[i].count == 0)
                operation_cancel(&operations[i]);
        }
        uv_run(&fixture->loop, UV_RUN_DEFAULT);
        for (int i = 0; i < RESOLVER_LOOKUPS_MAX + 3; i++)
            assert_true(answers[i].count == (operations[i] ? 1u : 0u));
    }
}

static void addresses_are_told_from_names(void **state)
{
    (void)state;
    assert_true(resolver_is_numeric("127.0.0.1"));
    assert_true(resolver_is_numeric("::1"));
    assert_false(resolver_is_numeric("localhost"));
    assert_false(resolver_is_numeric("127.1"));
    assert_false(resolver_is_numeric("1.2.3.4.example"));
}

#define WITH_RESOLVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RESOLVER(a_name_has_addresses_as_curl_takes_them),
        WITH_RESOLVER(an_unknown_name_is_a_transient_failure_that_names_it),
        WITH_RESOLVER(all_who_ask_hear_the_answer_once),
        WITH_RESOLVER(many_names_wait_for_their_turn),
        WITH_RESOLVER(an_answer_is_remembered_for_a_while),
        WITH_RESOLVER(a_failure_is_remembered_briefly),
        WITH_RESOLVER(no_more_answers_are_kept_than_allowed),
        WITH_RESOLVER(a_look_up_can_be_cancelled_at_any_time),
        cmocka_unit_test(addresses_are_told_from_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
