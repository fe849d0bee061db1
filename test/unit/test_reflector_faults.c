/* A reflector and a server in trouble, or talking nonsense: what is waited out, how long, and what
 * only a list mends. */
#include "reflector_world.h"

static void a_silent_watch_is_taken_up_on_another_connection_and_then_listed(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        WATCH_HANGS_AT("10"),
        {.expect = {"&resourceVersion=10 "}, .body = BOOKMARK("11"), .end = ACT_HANG},
        WATCH_HANGS_AT("11"),
        {.expect = {"?limit=500 "}, .body = LIST("8", OBJECT("b", "u2", "6", "1"))},
        WATCH_HANGS_AT("8"),
        WATCH_HANGS_AT("8"),
        {.expect = {"?limit=500 "}, .end = ACT_HANG},
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 8);
    world.options.silence_ms = 50;
    world_start(&world);
    run_until_told(&world, "+a ! +b -a ");
    assert_int_equal(logged(&world, "watch is silent"), 5);
    world_close(&world);
}

static void note_timer(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Lets the loop turn for this long. */
static void idle(struct world *world, uint64_t milliseconds)
{
    bool over = false;
    uv_timer_t timer = {.data = &over};

    uv_timer_init(&world->loop, &timer);
    uv_timer_start(&timer, note_timer, milliseconds, 0);
    while (!over)
        uv_run(&world->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&world->loop, UV_RUN_NOWAIT);
}

static void a_slow_list_is_not_taken_for_a_silent_watch(void **state)
{
    static const char *const ends[] = {BOOKMARK("4"), EVENT("ERROR", STATUS("410", "Gone")),
                                       "garbage\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        const struct act acts[] = {
            LIST_ONE,
            {.expect = {"watch=true"}, .body = ends[i], .end = ACT_HANG},
            {.expect = {"?limit=500 "}, .end = ACT_HANG},
        };
        struct world world;

        world_open(&world, acts, 3);
        world.options.silence_ms = 20;
        world_start(&world);
        run_until_told(&world, "+a ! ");
        idle(&world, 100);
        assert_int_equal(logged(&world, "watch is silent"), 0);
        world_close(&world);
    }
}

static void a_watch_that_lasted_is_no_failure_though_it_told_nothing(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("500", "InternalError"))},
        WATCH_HANGS_AT("10"),
        WATCH_HANGS_AT("10"),
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 3);
    world_start(&world);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 1);
    world.skipped_ms = 1001;
    world.script.count = 4;
    script_end_all(&world.script);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 1);
    world_close(&world);
}

static void a_watch_that_lasted_long_makes_the_next_failure_a_first_one(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("500", "InternalError"))},
        WATCH_HANGS_AT("10"),
        WATCH_HANGS_AT("10"),
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 3);
    world_start(&world);
    run_until_told(&world, "+a ! ");
    world.skipped_ms = 10001;
    world.script.count = 4;
    script_end_all(&world.script);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 0);
    world_close(&world);
}

static void garbage_in_a_stream_is_mended_by_a_list(void **state)
{
    static const char *const garbage[] = {
        "garbage\n",
        "{\"type\":\"ADDED\",\n",
        "[]\n",
        "7\n",
        "{}\n",
        "{\"type\":7,\"object\":{}}\n",
        "{\"type\":\"ADDED\"}\n",
        "{\"type\":\"BOOKMARK\"}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\"}}}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":\"\"}}\n",
        EVENT("FORGOTTEN", ONE),
        "{\"type\":\"ADDED\",\"object\":\"\xff\"}\n",
        "\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        const struct act acts[] = {
            LIST_ONE,
            {.expect = {"&resourceVersion=10 "}, .body = garbage[i], .end = ACT_HANG},
            {.expect = {"?limit=500 "}, .body = LIST("20", OBJECT("b", "u2", "16", "1"))},
            WATCH_HANGS_AT("20"),
        };

        PLAY(acts, "+a ! +b -a ");
    }
}

static void lists_that_make_no_sense_are_tried_again(void **state)
{
    static const char *const bodies[] = {
        "garbage",
        "[]",
        "{}",
        "{\"items\":7}",
        "{\"items\":[{}],\"metadata\":{\"resourceVersion\":\"10\"}}",
        "{\"items\":[]}",
        PAGE("10", "t", "{\"metadata\":{\"name\":7}}"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        const struct act acts[] = {
            {.expect = {"?limit=500 "}, .body = bodies[i]},
            {.expect = {"?limit=500 "}, .body = LIST("20", ONE)},
            WATCH_HANGS_AT("20"),
        };

        PLAY(acts, "+a ! ");
    }
}

static void odd_json_hides_nothing(void **state)
{
    static const struct act acts[] = {
        {.expect = {"?limit=500 "},
         .body =
             LIST("10", OBJECT("a", "u1", "5",
                               "1,\"x\":{\"\\u0000\":\"\\u0000\",\"n\":100000000000000000000}"))},
        {.expect = {"&resourceVersion=10 "},
         .body = EVENT("ADDED",
                       OBJECT("b", "u2", "11",
                              "1,\"x\":{\"\\u0000\":\"\\u0000\",\"n\":100000000000000000000}")),
         .end = ACT_HANG},
    };

    (void)state;
    PLAY(acts, "+a ! +b ");
}

static void a_watch_that_ends_at_once_with_nothing_does_not_spin(void **state)
{
    static const struct act acts[] = {
        LIST_ONE,
        {.expect = {"&resourceVersion=10 "}, .body = ""},
        {.expect = {"&resourceVersion=10 "}, .body = ""},
        WATCH_HANGS_AT("10"),
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 4);
    world_start(&world);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 2);
    world_close(&world);
}

static void an_expiry_that_lasts_does_not_spin(void **state)
{
    static const struct act acts[] = {
        LIST_ONE, {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("410", "Expired"))},
        LIST_ONE, {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("410", "Expired"))},
        LIST_ONE, {.expect = {"watch=true"}, .body = EVENT("ERROR", STATUS("410", "Expired"))},
        LIST_ONE, WATCH_HANGS_AT("10"),
    };
    struct world world;

    (void)state;
    world_open(&world, acts, 8);
    world_start(&world);
    run_until_told(&world, "+a ! ");
    assert_int_equal(world.reflector->failures, 3);
    assert_int_equal(logged(&world, "listing the collection again"), 1);
    world_close(&world);
}

static void failures_wait_twice_as_long_each_and_are_logged_once(void **state)
{
    static const struct act forbidden = {
        .expect = {"?limit=500 "}, .code = 403, .body = STATUS("403", "Forbidden")};
    struct act acts[10];
    struct world world;
    uint64_t ceiling = 1000;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        acts[i] = forbidden;
    acts[8] = (struct act){.expect = {"?limit=500 "}, .body = LIST("10", ONE)};
    acts[9] = (struct act){.expect = {"watch=true"}, .body = BOOKMARK("11"), .end = ACT_HANG};
    world_open(&world, acts, 10);
    world.draw = 239999; /* the longest wait for every ceiling */
    world_start(&world);
    for (unsigned i = 1; i <= 8; i++) {
        while (world.reflector->failures < i)
            uv_run(&world.loop, UV_RUN_ONCE);
        assert_in_range(uv_timer_get_due_in(&world.reflector->timer), world.draw % ceiling - 100,
                        ceiling);
        ceiling = ceiling * 2 < 30000 ? ceiling * 2 : 30000;
        uv_timer_start(&world.reflector->timer, world.reflector->timer.timer_cb, 0, 0);
    }
    run_until_told(&world, "+a ! ");
    while (world.reflector->failures > 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(logged(&world, "cannot follow"), 1);
    assert_int_equal(logged(&world, "following the collection again"), 1);
    world_close(&world);
}

static void a_server_may_ask_for_more_time(void **state)
{
    struct world world;
    struct error *error = error_new(ERROR_TRANSIENT, "APIServerError", "busy");

    (void)state;
    world_open(&world, NULL, 0);
    const struct reflector_listener listener = {generation_of, note_change, note_synced, &world};
    world.reflector = reflector_new(&world.options, &listener);
    error->retry_after_ms = 7000;
    reflector_fail(world.reflector, REFLECTOR_WATCH, error);
    assert_in_range(uv_timer_get_due_in(&world.reflector->timer), 6900, 7100);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_watch_is_taken_up_on_another_connection_and_then_listed),
        cmocka_unit_test(a_slow_list_is_not_taken_for_a_silent_watch),
        cmocka_unit_test(a_watch_that_lasted_is_no_failure_though_it_told_nothing),
        cmocka_unit_test(a_watch_that_lasted_long_makes_the_next_failure_a_first_one),
        cmocka_unit_test(garbage_in_a_stream_is_mended_by_a_list),
        cmocka_unit_test(lists_that_make_no_sense_are_tried_again),
        cmocka_unit_test(odd_json_hides_nothing),
        cmocka_unit_test(a_watch_that_ends_at_once_with_nothing_does_not_spin),
        cmocka_unit_test(an_expiry_that_lasts_does_not_spin),
        cmocka_unit_test(failures_wait_twice_as_long_each_and_are_logged_once),
        cmocka_unit_test(a_server_may_ask_for_more_time),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
