/* Hosts that do not come back, die or are given up, and calls that are cancelled: over real hosts,
 * with a watchdog of little patience. */
#include "lua_world.h"

/* No hook strikes inside a C function: only the watchdog ends this. */
#define HANG "(('a'):rep(50000)):find('.-.-.-.-b')"

static struct lua_module_set *modules_for_all(void)
{
    return modules_with("", "if config.hang then " HANG " end\n"
                            "if config.log then log.info(config.log) end\n"
                            "if config.seconds then time.sleep(config.seconds) end\n"
                            "return { data = config.data or 'done' }");
}

static struct lua_world *world_of(struct lua_module_set *set, int64_t cpu_ms, int64_t wall_ms)
{
    struct lua_world *world = lua_world_prepare();
    struct lua_runtime_options options = lua_world_options(world);

    options.call_cpu_ms = cpu_ms;
    options.call_wall_ms = wall_ms;
    world->runtime = lua_runtime_new(&options);
    lua_world_load(world, set);
    return world;
}

static struct lua_world *impatient_world(struct lua_module_set *set)
{
    return world_of(set, 500, 600000);
}

static struct lua_world *patient_world(struct lua_module_set *set)
{
    return world_of(set, 600000, 600000);
}

static void turn(struct lua_world *world)
{
    uv_run(&world->loop, UV_RUN_ONCE);
}

static size_t occurrences(struct lua_world *world, const char *text)
{
    _cleanup_(free) char *log = lua_world_log(world);
    size_t count = 0;

    for (const char *at = strstr(log, text); at; at = strstr(at + 1, text))
        count++;
    return count;
}

static void a_call_that_hangs_in_c_fails_and_the_others_run_again(void **state)
{
    struct lua_world *world = impatient_world(modules_for_all());
    struct generated innocent = {0}, guilty = {0};

    (void)state;
    pid_t before = host_pid("generator");
    generate_start(world, "{\"log\": \"innocent ran\", \"seconds\": 1, \"data\": \"fine\"}",
                   &innocent);
    wait_for_log(world, "innocent ran");
    generate_start(world, "{\"hang\": true}", &guilty);
    generate_wait(&guilty);
    assert_error(guilty.error, ERROR_TRANSIENT, "Timeout",
                 "generator 'g': it ran for too long without coming back and was stopped");
    assert_int_equal(innocent.done, 0);
    generate_wait(&innocent);
    assert_generated(&innocent, "fine");
    assert_int_equal(occurrences(world, "innocent ran"), 2);
    assert_int_not_equal(host_pid("generator"), before);
    generated_free(&innocent);
    generated_free(&guilty);
    lua_world_free(world);
}

static void a_host_that_does_not_come_back_is_killed_by_the_wall_clock_too(void **state)
{
    struct lua_world *world = world_of(modules_for_all(), 600000, 60000);
    struct generated guilty = {0};

    (void)state;
    generate_start(world, "{\"hang\": true, \"log\": \"x\"}", &guilty);
    while (!guilty.done) {
        world->ahead_ms += 20000;
        turn(world);
    }
    assert_error(guilty.error, ERROR_TRANSIENT, "Timeout",
                 "generator 'g': it ran for too long without coming back and was stopped");
    generated_free(&guilty);
    lua_world_free(world);
}

static void a_killed_host_is_started_again_and_its_calls_with_it(void **state)
{
    struct lua_world *world = impatient_world(modules_for_all());
    struct generated calls[20] = {0};

    (void)state;
    for (size_t i = 0; i < 20; i++)
        generate_start(world, "{\"log\": \"began\", \"seconds\": 0.5, \"data\": \"fine\"}",
                       &calls[i]);
    while (occurrences(world, "began") < 20)
        turn(world);
    assert_call(world, "{}", "done"); /* after which no other has control */
    kill(host_pid("generator"), SIGKILL);
    for (size_t i = 0; i < 20; i++) {
        generate_wait(&calls[i]);
        assert_generated(&calls[i], "fine");
        generated_free(&calls[i]);
    }
    assert_int_equal(occurrences(world, "began"), 40);
    lua_world_free(world);
}

static void a_host_killed_in_the_middle_of_a_call_fails_that_call(void **state)
{
    struct lua_world *world = patient_world(modules_for_all());
    struct generated guilty = {0}, innocent = {0};

    (void)state;
    generate_start(world, "{\"log\": \"innocent began\", \"seconds\": 2}", &innocent);
    wait_for_log(world, "innocent began");
    generate_start(world, "{\"log\": \"never\", \"hang\": true}", &guilty);
    pid_t pid = host_pid("generator");
    /* Its frame has been read when the page names it: the host then spins, and turns come and go.
     */
    for (int i = 0; i < 3; i++)
        turn(world);
    kill(pid, SIGKILL);
    generate_wait(&guilty);
    assert_error(guilty.error, ERROR_TRANSIENT, "Crashed",
                 "generator 'g': the Lua host was killed by SIGKILL while it ran this call");
    generate_wait(&innocent);
    assert_generated(&innocent, "done");
    generated_free(&guilty);
    generated_free(&innocent);
    lua_world_free(world);
}

static void an_idle_host_that_was_killed_is_started_by_the_next_call(void **state)
{
    struct lua_world *world = impatient_world(modules_for_all());

    (void)state;
    assert_call(world, "{\"data\": \"one\"}", "one");
    kill(host_pid("generator"), SIGKILL);
    while (host_pids("generator", NULL, 0) > 0)
        turn(world);
    assert_call(world, "{\"data\": \"two\"}", "two");
    lua_world_free(world);
}

static void begin_another(struct generated *generated)
{
    struct generated *other = generated->context;

    generate_start(generated->world, "{\"data\": \"begun inside\"}", other);
}

static void a_call_may_begin_where_another_fails(void **state)
{
    struct lua_world *world = impatient_world(modules_for_all());
    struct generated second = {0}, innocent = {0};
    struct generated first = {.then = begin_another, .context = &second};

    (void)state;
    generate_start(world, "{\"log\": \"innocent began\", \"seconds\": 1}", &innocent);
    wait_for_log(world, "innocent began");
    generate_start(world, "{\"hang\": true}", &first);
    generate_wait(&first);
    generate_wait(&second);
    generate_wait(&innocent);
    assert_generated(&second, "begun inside");
    assert_generated(&innocent, "done");
    assert_int_equal(host_pids("generator", NULL, 0), 1);
    assert_false(lua_world_logged(world, "broke the protocol"));
    generated_free(&first);
    generated_free(&second);
    generated_free(&innocent);
    lua_world_free(world);
}

static void cancel_another(struct generated *generated)
{
    struct generated *other = generated->context;

    operation_cancel(&other->operation);
}

static void calls_may_be_cancelled_where_another_fails(void **state)
{
    struct lua_world *world = patient_world(modules_for_all());
    struct generated calls[3] = {{0}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        calls[i].then = cancel_another;
        calls[i].context = &calls[(i + 2) % 3];
        generate_start(world, "{\"log\": \"began\", \"seconds\": 50}", &calls[i]);
    }
    while (occurrences(world, "began") < 3)
        turn(world);
    world->ahead_ms += 200000;
    while (calls[0].operation || calls[1].operation || calls[2].operation)
        turn(world);
    assert_true(calls[0].done + calls[1].done + calls[2].done >= 1);
    assert_call(world, "{}", "done");
    for (size_t i = 0; i < 3; i++)
        generated_free(&calls[i]);
    lua_world_free(world);
}

static void a_call_past_its_time_fails_alone(void **state)
{
    struct lua_world *world = impatient_world(modules_for_all());
    _cleanup_(source) struct source *source =
        source_of("g", "{\"seconds\": 50, \"log\": \"short began\"}", "");
    struct generated slow = {0}, other = {0};

    (void)state;
    generate_begin(world, &(struct generator_call){.source = source, .timeout_ms = 5000}, &slow);
    generate_start(world, "{\"seconds\": 1.5, \"log\": \"long began\"}", &other);
    wait_for_log(world, "short began");
    wait_for_log(world, "long began");
    world->ahead_ms += 6000;
    generate_wait(&slow);
    assert_error(slow.error, ERROR_TRANSIENT, "Timeout",
                 "generator 'g': no answer within the time for this call");
    assert_int_equal(other.done, 0);
    generate_wait(&other);
    assert_generated(&other, "done");
    generated_free(&slow);
    generated_free(&other);
    lua_world_free(world);
}

static void a_host_forgets_calls_that_ran_out_of_time(void **state)
{
    struct lua_world *world = patient_world(
        modules_with("local alive = setmetatable({}, { __mode = 'k' })",
                     "if config.count then\n"
                     "  for _ = 1, 200 do local t = {} for i = 1, 10000 do t[i] = {} end end\n"
                     "  local n = 0 for _ in pairs(alive) do n = n + 1 end\n"
                     "  return { data = 'alive ' .. n }\n"
                     "end\n"
                     "alive[ctx] = true\n"
                     "log.info('began')\n"
                     "time.sleep(50)\n"
                     "return { data = 'x' }"));
    _cleanup_(source) struct source *source = source_of("g", "{}", "");
    struct generated calls[10] = {0};

    (void)state;
    for (size_t i = 0; i < 10; i++)
        generate_begin(world, &(struct generator_call){.source = source, .timeout_ms = 5000},
                       &calls[i]);
    while (occurrences(world, "began") < 10)
        turn(world);
    world->ahead_ms += 6000;
    for (size_t i = 0; i < 10; i++) {
        generate_wait(&calls[i]);
        assert_string_equal(calls[i].error->reason, "Timeout");
        generated_free(&calls[i]);
    }
    assert_call(world, "{\"count\": true}", "alive 0");
    lua_world_free(world);
}

static void a_host_that_hangs_in_a_cancelled_call_is_killed_all_the_same(void **state)
{
    struct lua_world *world = impatient_world(modules_for_all());
    struct generated call = {0};

    (void)state;
    pid_t before = host_pid("generator");
    generate_start(world, "{\"hang\": true}", &call);
    for (int i = 0; i < 3; i++)
        turn(world);
    operation_cancel(&call.operation);
    while (kill(before, 0) == 0) /* until it was reaped */
        turn(world);
    assert_call(world, "{}", "done");
    lua_world_free(world);
}

static void a_call_that_was_never_sent_can_be_cancelled(void **state)
{
    struct lua_world *world = impatient_world(modules_for_all());
    struct generated call = {0};

    (void)state;
    kill(host_pid("generator"), SIGKILL);
    while (host_pids("generator", NULL, 0) > 0)
        turn(world);
    generate_start(world, "{}", &call); /* its host only begins to load */
    operation_cancel(&call.operation);
    assert_call(world, "{\"data\": \"after\"}", "after");
    assert_int_equal(call.done, 0);
    lua_world_free(world);
}

/* Cancels a call after each number of turns of the loop, until it ends before that. */
static void a_call_can_be_cancelled_at_every_turn_of_the_loop(void **state)
{
    struct lua_world *world = impatient_world(modules_with(
        "", "local handle = ctx.secret({ name = 's' }, 'k')\n"
            "ctx.sensitive('text')\ntime.now() time.sleep(0.001)\n"
            "pcall(function() return handle:text() end)\n"
            "pcall(http.get, { url = 'http://127.0.0.1:1/', headers = { a = handle } })\n"
            "return { data = 'done' }"));
    unsigned ended = 0;

    (void)state;
    scripted_catalog_secret(&world->catalog, "team/s", "k", "hunter22");
    for (int turns = 0; !ended; turns++) {
        struct generated call = {0};

        generate_start(world, "{\"url\": \"http://127.0.0.1:1/\"}", &call);
        for (int i = 0; i < turns && !call.done; i++)
            turn(world);
        ended = call.done;
        if (!ended)
            operation_cancel(&call.operation);
        assert_null(call.error);
        generated_free(&call);
        assert_true(turns < 500);
    }
    assert_int_equal(host_pids("generator", NULL, 0), 1);
    assert_false(lua_world_logged(world, "a Lua host ended"));
    lua_world_free(world);
}

static void a_runtime_may_end_while_its_hosts_still_load(void **state)
{
    struct lua_world *world = lua_world_prepare();
    const struct lua_runtime_options options = lua_world_options(world);

    (void)state;
    world->runtime = lua_runtime_new(&options);
    assert_null(lua_runtime_load(world->runtime, modules_for_all(), lua_world_on_loaded, world,
                                 &world->loading));
    lua_world_free(world);
    assert_int_equal(host_pids("", NULL, 0), 0);
}

int main(int argc, char **argv)
{
    LUA_WORLD_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_hangs_in_c_fails_and_the_others_run_again),
        cmocka_unit_test(a_host_that_does_not_come_back_is_killed_by_the_wall_clock_too),
        cmocka_unit_test(a_killed_host_is_started_again_and_its_calls_with_it),
        cmocka_unit_test(a_host_killed_in_the_middle_of_a_call_fails_that_call),
        cmocka_unit_test(an_idle_host_that_was_killed_is_started_by_the_next_call),
        cmocka_unit_test(a_call_may_begin_where_another_fails),
        cmocka_unit_test(calls_may_be_cancelled_where_another_fails),
        cmocka_unit_test(a_call_past_its_time_fails_alone),
        cmocka_unit_test(a_host_forgets_calls_that_ran_out_of_time),
        cmocka_unit_test(a_host_that_hangs_in_a_cancelled_call_is_killed_all_the_same),
        cmocka_unit_test(a_call_that_was_never_sent_can_be_cancelled),
        cmocka_unit_test(a_call_can_be_cancelled_at_every_turn_of_the_loop),
        cmocka_unit_test(a_runtime_may_end_while_its_hosts_still_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
