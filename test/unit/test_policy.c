/* Questions to policies, over a real policy host. */
#include "lua_world.h"

/* No hook strikes inside a C function: only the watchdog ends this. */
#define HANG "(('a'):rep(50000)):find('.-.-.-.-b')"

struct answer {
    struct lua_world *world;
    struct operation *operation;
    unsigned done;
    bool allowed;
    bool unanswered;
    char *reason;
    struct buffer refused; /* "NETWORK;" of each */
};

static void on_answer(void *context, const struct policy_answer *answer)
{
    struct answer *taken = context;

    taken->done++;
    taken->operation = NULL;
    taken->allowed = answer->allowed;
    taken->unanswered = answer->unanswered;
    taken->reason = strdup(answer->reason ? answer->reason : "");
    for (size_t i = 0; i < answer->refused_count; i++) {
        char text[NETWORK_TEXT_SIZE];

        network_format(&answer->refused[i], text);
        buffer_appendf(&taken->refused, "%s;", text);
    }
}

static void answer_free(struct answer *answer)
{
    free(answer->reason);
    buffer_free(&answer->refused);
    *answer = (struct answer){0};
}

static void ask_begin(struct lua_world *world, const char *type, const char *request,
                      struct answer *answer)
{
    _cleanup_(json) json_t *json = NULL;

    answer->world = world;
    assert_null(json_parse(request, strlen(request), &json));
    assert_null(lua_ask_policy(world->runtime, type, json, on_answer, answer, &answer->operation));
    assert_int_equal(answer->done, 0);
}

static void ask_wait(struct answer *answer)
{
    while (!answer->done)
        uv_run(&answer->world->loop, UV_RUN_ONCE);
    assert_int_equal(answer->done, 1);
}

static struct answer ask(struct lua_world *world, const char *type, const char *request)
{
    struct answer answer = {0};

    ask_begin(world, type, request, &answer);
    ask_wait(&answer);
    return answer;
}

static void assert_denied(struct lua_world *world, const char *type, const char *request,
                          const char *reason)
{
    struct answer answer = ask(world, type, request);

    assert_false(answer.allowed);
    assert_string_equal(answer.reason, reason);
    answer_free(&answer);
}

static void assert_allowed(struct lua_world *world, const char *type, const char *request,
                           const char *refused)
{
    struct answer answer = ask(world, type, request);

    if (!answer.allowed)
        fail_msg("denied: %s", answer.reason);
    assert_string_equal(buffer_string(&answer.refused), refused);
    answer_free(&answer);
}

/* The shipped modules with policies of the type "t" whose allow(request) are these bodies. */
static struct lua_module_set *policies(const char *first, const char *second)
{
    struct lua_module_set *set = modules_shipped();
    const char *bodies[] = {first, second};
    const char *names[] = {"one", "two"};

    for (size_t i = 0; i < 2 && bodies[i]; i++) {
        _cleanup_(free) char *text =
            format_string("return { type = 't', allow = function(request) %s end }", bodies[i]);
        _cleanup_(free) char *origin = format_string("policies/%s.lua", names[i]);

        assert_null(lua_modules_add(set, LUA_POLICY, names[i], origin, text, strlen(text)));
    }
    return set;
}

static void a_policy_sees_the_request_and_allows_or_denies_with_its_reason(void **state)
{
    struct lua_world *world =
        lua_world_new(policies("if request.host == 'good' then return true end\n"
                               "return false, 'the host ' .. request.host .. ' is not ours'",
                               NULL));

    (void)state;
    assert_allowed(world, "t", "{\"host\": \"good\"}", "");
    assert_denied(world, "t", "{\"host\": \"evil\"}", "the host evil is not ours");
    lua_world_free(world);
}

static void refused_networks_add_up(void **state)
{
    struct lua_world *world =
        lua_world_new(policies("return true, { refuse = { '10.0.0.0/8' } }",
                               "return true, { refuse = { '192.168.0.0/16', 'fd00::/8' } }"));

    (void)state;
    assert_allowed(world, "t", "{}", "10.0.0.0/8;192.168.0.0/16;fd00::/8;");
    lua_world_free(world);
}

static void one_denial_denies(void **state)
{
    struct lua_world *world = lua_world_new(policies("return true", "return false, 'no'"));

    (void)state;
    assert_denied(world, "t", "{}", "no");
    lua_world_free(world);
}

/* What a policy does, and with which reason that denies. */
static const struct {
    const char *body;
    const char *reason;
} denials[] = {
    {"error('broken', 0)", "policies/one.lua: broken"},
    {"error { message = 'broken' }", "policies/one.lua: broken"},
    {"error('placed')", "policies/one.lua: policies/one.lua:1: placed"},
    {"return", "denied by policies/one.lua"},
    {"return nil, 5", "denied by policies/one.lua"},
    {"return 'yes'", "denied by policies/one.lua"},
    {"return 1", "denied by policies/one.lua"},
    {"return true, { refuse = { 'everything' } }",
     "a policy named a network that is none; accepted: addresses such as 10.0.0.0/8"},
    {"return true, { refuse = { 5 } }",
     "a policy named a network that is none; accepted: addresses such as 10.0.0.0/8"},
    {"return true, { refuse = { print } }", "the policies failed"},
    {"return true, { refuse = 5 }", NULL},
    {"local r = {} for i = 1, 2000 do r[i] = '10.0.0.1' end return true, { refuse = r }",
     "a policy named a network that is none; accepted: addresses such as 10.0.0.0/8"},
    {"while true do end", NULL},
    {"while true do pcall(function() while true do end end) end", NULL},
    {"local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end", NULL},
    {"return false, 'a\\001b'", NULL},
    {"return false, 'a\\255b'", NULL},
};

static void whatever_goes_wrong_denies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(denials) / sizeof(denials[0]); i++) {
        struct lua_world *world = lua_world_new(policies(denials[i].body, NULL));
        struct answer answer = ask(world, "t", "{}");

        if (answer.allowed)
            fail_msg("%s: allowed", denials[i].body);
        if (denials[i].reason)
            assert_string_equal(answer.reason, denials[i].reason);
        assert_true(answer.reason[0] != '\0');
        answer_free(&answer);
        assert_allowed(world, "egress", "{\"scheme\": \"https\"}", "");
        lua_world_free(world);
    }
}

static void what_failed_is_not_remembered(void **state)
{
    struct lua_module_set *set = modules_shipped();

    (void)state;
    modules_add(set, LUA_POLICY, "p",
                "local n = 0\n"
                "return { type = 't', allow = function() n = n + 1\n"
                "  if n == 1 then while true do end end return true end }");
    struct lua_world *world = lua_world_new(set);
    struct answer first = ask(world, "t", "{}");
    assert_false(first.allowed);
    assert_string_equal(first.reason, "the policies failed");
    assert_true(first.unanswered);
    answer_free(&first);
    assert_allowed(world, "t", "{}", "");
    lua_world_free(world);
}

static void a_fetch_that_no_policy_could_be_asked_about_is_tried_again(void **state)
{
    struct lua_module_set *set = modules_with(
        "", "return { data = require('http').get { url = 'http://127.0.0.1:1/' }.body }");

    (void)state;
    modules_add(set, LUA_POLICY, "p",
                "return { type = 'egress', allow = function() while true do end end }");
    struct lua_world *world = lua_world_new(set);
    assert_call_fails(world, "{}", ERROR_TRANSIENT, "EgressDenied",
                      "generator 'g': GET http://127.0.0.1:1/: denied by policy: the policies "
                      "failed");
    lua_world_free(world);
}

static void a_type_without_policies_is_denied(void **state)
{
    struct lua_world *world = lua_world_new(modules_shipped());

    (void)state;
    assert_denied(world, "secrets", "{}", "there is no policy of the type 'secrets'");
    lua_world_free(world);
}

static void an_answer_is_asked_for_once(void **state)
{
    struct lua_module_set *set = modules_shipped();

    (void)state;
    modules_add(set, LUA_POLICY, "p",
                "local n = 0\n"
                "return { type = 't', allow = function() n = n + 1 return false, 'asked ' .. n "
                "end }");
    struct lua_world *world = lua_world_new(set);
    assert_denied(world, "t", "{\"a\": 1, \"b\": 2}", "asked 1");
    assert_denied(world, "t", "{\"b\": 2, \"a\": 1}", "asked 1");
    assert_denied(world, "t", "{\"a\": 2, \"b\": 2}", "asked 2");
    assert_denied(world, "t", "{\"a\": 1, \"b\": 2}", "asked 1");
    /* The host that answers has no part in it. */
    kill(host_pid("policy"), SIGKILL);
    assert_denied(world, "t", "{\"a\": 2, \"b\": 2}", "asked 2");
    lua_world_free(world);
}

static void a_load_forgets_the_answers(void **state)
{
    struct lua_world *world = lua_world_new(policies("return true", NULL));

    (void)state;
    assert_allowed(world, "t", "{}", "");
    lua_world_load(world, policies("return false, 'since now'", NULL));
    assert_denied(world, "t", "{}", "since now");
    lua_world_free(world);
}

static void a_killed_policy_host_answers_all_the_same(void **state)
{
    struct lua_world *world = lua_world_new(policies("return true", NULL));
    struct answer answers[10] = {{0}};

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        _cleanup_(free) char *request = format_string("{\"n\": %zu}", i);

        if (i == 5)
            kill(host_pid("policy"), SIGKILL);
        ask_begin(world, "t", request, &answers[i]);
    }
    for (size_t i = 0; i < 10; i++) {
        ask_wait(&answers[i]);
        assert_true(answers[i].allowed);
        answer_free(&answers[i]);
    }
    lua_world_free(world);
}

static void silence_denies(void **state)
{
    struct lua_world *world = lua_world_new(policies("return true", NULL));
    struct answer answer = {0};

    (void)state;
    kill(host_pid("policy"), SIGSTOP);
    ask_begin(world, "t", "{}", &answer);
    world->ahead_ms += 6000;
    ask_wait(&answer);
    assert_false(answer.allowed);
    assert_string_equal(answer.reason, "no answer within the time for this call");
    answer_free(&answer);
    lua_world_free(world);
}

static void a_question_can_be_cancelled_at_every_turn_of_the_loop(void **state)
{
    struct lua_world *world = lua_world_new(policies("return true", NULL));
    unsigned ended = 0;

    (void)state;
    for (int turns = 0; !ended; turns++) {
        _cleanup_(free) char *request = format_string("{\"n\": %d}", turns);
        struct answer fresh = {0}, cached = {0};

        assert_allowed(world, "t", "{}", "");
        ask_begin(world, "t", request, &fresh);
        ask_begin(world, "t", "{}", &cached);
        for (int i = 0; i < turns && !fresh.done; i++)
            uv_run(&world->loop, UV_RUN_ONCE);
        ended = fresh.done;
        operation_cancel(&fresh.operation);
        operation_cancel(&cached.operation);
        answer_free(&fresh);
        answer_free(&cached);
    }
    assert_allowed(world, "t", "{}", "");
    lua_world_free(world);
}

static void a_policy_that_hangs_in_c_denies_and_the_others_are_asked_again(void **state)
{
    struct lua_world *world = lua_world_prepare();
    struct lua_runtime_options options = lua_world_options(world);
    struct answer guilty = {0}, innocent = {0};

    (void)state;
    options.call_cpu_ms = 200;
    world->runtime = lua_runtime_new(&options);
    lua_world_load(world, policies("if request.hang then " HANG " end return true", NULL));
    pid_t before = host_pid("policy");
    ask_begin(world, "t", "{\"hang\": true}", &guilty);
    ask_begin(world, "t", "{\"fine\": true}", &innocent);
    ask_wait(&guilty);
    assert_false(guilty.allowed);
    assert_string_equal(guilty.reason, "it ran for too long without coming back and was stopped");
    ask_wait(&innocent);
    assert_true(innocent.allowed);
    assert_int_not_equal(host_pid("policy"), before);
    answer_free(&guilty);
    answer_free(&innocent);
    lua_world_free(world);
}

struct asking {
    struct lua_world *world;
    struct answer answer;
    unsigned asked;
};

/* One question is in flight whenever the loop looks for what its hosts say. */
static void ask_before_polling(uv_prepare_t *prepare)
{
    struct asking *asking = prepare->data;

    if (asking->answer.operation)
        return;
    if (asking->answer.done && !asking->answer.allowed)
        fail_msg("question %u was denied: %s", asking->asked, asking->answer.reason);
    answer_free(&asking->answer);
    ask_begin(asking->world, "t", "{}", &asking->answer);
    asking->asked++;
}

static void an_answer_that_is_remembered_survives_a_load(void **state)
{
    struct lua_world *world = lua_world_new(policies("return true", NULL));
    struct asking asking = {.world = world};
    uv_prepare_t prepare = {.data = &asking};

    (void)state;
    assert_allowed(world, "t", "{}", "");
    uv_prepare_init(&world->loop, &prepare);
    uv_prepare_start(&prepare, ask_before_polling);
    for (int i = 0; i < 10; i++)
        lua_world_load(world, policies("return true", NULL));
    uv_prepare_stop(&prepare);
    uv_close((uv_handle_t *)&prepare, NULL);
    ask_wait(&asking.answer);
    assert_true(asking.answer.allowed);
    answer_free(&asking.answer);
    assert_true(asking.asked > 10);
    lua_world_free(world);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_policy_sees_the_request_and_allows_or_denies_with_its_reason),
        cmocka_unit_test(refused_networks_add_up),
        cmocka_unit_test(one_denial_denies),
        cmocka_unit_test(whatever_goes_wrong_denies),
        cmocka_unit_test(what_failed_is_not_remembered),
        cmocka_unit_test(a_fetch_that_no_policy_could_be_asked_about_is_tried_again),
        cmocka_unit_test(a_type_without_policies_is_denied),
        cmocka_unit_test(an_answer_is_asked_for_once),
        cmocka_unit_test(a_load_forgets_the_answers),
        cmocka_unit_test(a_killed_policy_host_answers_all_the_same),
        cmocka_unit_test(silence_denies),
        cmocka_unit_test(a_question_can_be_cancelled_at_every_turn_of_the_loop),
        cmocka_unit_test(a_policy_that_hangs_in_c_denies_and_the_others_are_asked_again),
        cmocka_unit_test(an_answer_that_is_remembered_survives_a_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
