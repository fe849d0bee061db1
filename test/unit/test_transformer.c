/* What a transformer does for its runs: modules, the queue, cancelling, and a zygote that dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transform_world.h"

static void modules_are_found_by_name(void **state)
{
    static const struct {
        enum lua_module_kind kind;
        const char *name, *origin, *text;
    } modules[] = {
        {LUA_LIBRARY, "shout", "libraries/shout.lua",
         "return { loud = function(s) return s:upper() end,\n"
         "  fail = function() error('deep') end }"},
        {LUA_TRANSFORM, "upper", "transforms/upper.lua",
         "return function(d) return require('shout').loud(d) end"},
        {LUA_GENERATOR, "secret", "generators/secret.lua", "return {}"},
    };
    static const struct {
        const char *script, *module, *output, *message;
    } cases[] = {
        {"local s = require 'shout' return function(d) return s.loud(d) end", NULL, "ABC", NULL},
        {NULL, "upper", "ABC", NULL},
        {"local s = require 'shout'\nreturn function(d)\n  s.fail()\n  return d\nend", NULL, NULL,
         "hook 'h' line 3: libraries/shout.lua:2: deep"},
        {"local s = require 'secret' return s", NULL, NULL,
         "hook 'h' line 1: module 'secret' not found"},
        {"local s = require 'os' return s", NULL, NULL, "hook 'h' line 1: module 'os' not found"},
    };
    struct lua_module_set *set = calloc(1, sizeof(*set));
    struct world world;
    struct operation *operation;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_null(lua_modules_add(set, modules[i].kind, modules[i].name, modules[i].origin,
                                    modules[i].text, strlen(modules[i].text)));
    world_open(&world, set, 1);
    lua_modules_free(set);
    _cleanup_(payload) struct payload *input = payload_of_text(&world, "abc", 3);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct transform_call call = call_of(cases[i].script, input);
        struct outcome outcome;

        call.module = cases[i].module;
        run_call(&world, &call, &outcome);
        if (cases[i].output)
            assert_output(&outcome, cases[i].output);
        else
            assert_failed(&outcome, "HookFailed", cases[i].message);
        outcome_free(&outcome);
    }
    struct transform_call call = call_of(NULL, input);

    call.module = "uper";
    struct error *error = transform_run(world.transformer, &call, on_run_done, NULL, &operation);

    assert_string_equal(error->message,
                        "hook 'h': there is no transform module 'uper'; there are: upper");
    assert_int_equal(error->kind, ERROR_CONFIGURATION);
    error_free(error);
    payload_free(TAKE(input));
    world_close(&world);
}

static void runs_beyond_the_concurrency_wait_in_order(void **state)
{
    struct world world;
    struct outcome outcomes[6];

    (void)state;
    world_open(&world, NULL, 2);
    _cleanup_(payload) struct payload *input = payload_of_text(&world, "x", 1);
    struct transform_call call = call_of("return function() return 'y' end", input);

    for (int i = 0; i < 6; i++)
        start_run(&world, &call, &outcomes[i]);
    for (int i = 5; i >= 0; i--)
        wait_for(&outcomes[i]);
    unsigned first = outcomes[0].order;
    for (int i = 1; i < 6; i++)
        first = outcomes[i].order < first ? outcomes[i].order : first;
    for (int i = 0; i < 6; i++) {
        assert_output(&outcomes[i], "y");
        /* When a run ends, one at most of those before it is still running. */
        assert_true(outcomes[i].order - first + 1 >= (unsigned)i);
        outcome_free(&outcomes[i]);
    }
    payload_free(TAKE(input));
    world_close(&world);
}

/* Lets a run come some way, and its child some way into its loop; any way will do. */
static void proceed(struct world *world, int turns)
{
    for (int i = 0; i < turns; i++) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        usleep(3000);
    }
}

static void a_cancelled_run_is_killed_and_gives_up_its_place(void **state)
{
    struct world world;
    struct outcome endless, waiting, next;

    (void)state;
    world_open(&world, NULL, 1);
    _cleanup_(payload) struct payload *input = payload_of_text(&world, "x", 1);
    struct transform_call call = call_of("while true do end", input);

    call.limits.wall_ms = 3600 * 1000;
    for (int turns = 0; turns < 6; turns++) { /* cancelled while opening, sent, running */
        start_run(&world, &call, &endless);
        start_run(&world, &call, &waiting);
        proceed(&world, turns);
        operation_cancel(&waiting.operation);
        operation_cancel(&endless.operation);
        run_script(&world, "return function() return 'y' end", "", &next);
        assert_output(&next, "y");
        outcome_free(&next);
        assert_int_equal(endless.done + waiting.done, 0);
    }
    payload_free(TAKE(input));
    world_close(&world);
}

static void a_run_may_be_cancelled_as_the_transformer_ends(void **state)
{
    struct world world;
    struct outcome outcome;

    (void)state;
    for (int turns = 0; turns < 5; turns++) {
        world_open(&world, NULL, 1);
        struct payload *input = payload_of_text(&world, "x", 1);
        struct transform_call call = call_of("while true do end", input);

        start_run(&world, &call, &outcome);
        proceed(&world, turns);
        operation_cancel(&outcome.operation);
        payload_free(input);
        world_close(&world);
        assert_int_equal(outcome.done, 0);
    }
}

/* This process' one child; 0 if there is none. */
static pid_t only_child(void)
{
    char path[64];
    int pid = 0;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
    FILE *file = fopen(path, "re");

    if (file && fscanf(file, "%d", &pid) != 1)
        pid = 0;
    if (file)
        fclose(file);
    return (pid_t)pid;
}

static void a_zygote_that_dies_fails_its_runs_and_is_started_again(void **state)
{
    struct world world;
    struct outcome lost, next;

    (void)state;
    world_open(&world, NULL, 1);
    _cleanup_(payload) struct payload *input = payload_of_text(&world, "x", 1);
    struct transform_call call = call_of("while true do end", input);
    pid_t zygote = only_child();

    assert_true(zygote > 0);
    run_script(&world, "return function() return 'y' end", "", &next);
    outcome_free(&next);
    start_run(&world, &call, &lost);
    proceed(&world, 5);
    kill(zygote, SIGKILL);
    wait_for(&lost);
    assert_failed(&lost, "Crashed",
                  "hook 'h': the process that runs transforms ended: killed by SIGKILL");
    run_script(&world, "return function() return 'y' end", "", &next);
    assert_output(&next, "y");
    outcome_free(&lost);
    outcome_free(&next);
    payload_free(TAKE(input));
    world_close(&world);
}

int main(int argc, char **argv)
{
    TRANSFORM_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modules_are_found_by_name),
        cmocka_unit_test(runs_beyond_the_concurrency_wait_in_order),
        cmocka_unit_test(a_cancelled_run_is_killed_and_gives_up_its_place),
        cmocka_unit_test(a_run_may_be_cancelled_as_the_transformer_ends),
        cmocka_unit_test(a_zygote_that_dies_fails_its_runs_and_is_started_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
