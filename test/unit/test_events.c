/* Kubernetes Events against a scripted API server: what is written, and when. */
#include "events_world.h"

static void an_event_is_created_as_the_api_wants_it(void **state)
{
    struct scene *scene = *state;

    tell(scene, "weather", "GET https://api.example.com: status 500");
    flush(scene);
    const json_t *body = scene->bodies[0];
    const json_t *regarding = json_object_get(body, "regarding");
    const char *name = member(json_object_get(body, "metadata"), "name");

    assert_string_equal(scene->paths[0], PATH);
    assert_string_equal(member(body, "apiVersion"), "events.k8s.io/v1");
    assert_string_equal(member(body, "kind"), "Event");
    assert_string_equal(member(body, "eventTime"), "2026-11-25T10:40:05.042000Z");
    assert_string_equal(member(body, "type"), "Warning");
    assert_string_equal(member(body, "reason"), "FetchFailed");
    assert_string_equal(member(body, "action"), "Reconcile");
    assert_string_equal(member(body, "note"), "GET https://api.example.com: status 500");
    assert_string_equal(member(body, "reportingController"),
                        "source.flux.oddkin.co/externalsource-controller");
    assert_string_equal(member(body, "reportingInstance"), "pod-1");
    assert_string_equal(member(regarding, "uid"), "uid-1");
    assert_string_equal(member(regarding, "name"), "weather");
    assert_null(json_object_get(body, "series"));
    assert_memory_equal(name, "weather.", 8);
    assert_int_equal(strlen(name), 8 + 16);
    assert_int_equal(strspn(name + 8, "0123456789abcdef"), 16);
}

static void a_repeat_becomes_a_series_at_once(void **state)
{
    struct scene *scene = *state;
    char path[256];

    tell(scene, "weather", "same");
    await_requests(scene, 1);
    api_pass(scene->api, 1001);
    tell(scene, "weather", "same");
    await_requests(scene, 2);
    snprintf(path, sizeof(path), PATH "/%s",
             member(json_object_get(scene->bodies[0], "metadata"), "name"));
    assert_string_equal(scene->paths[1], path);
    assert_int_equal(json_object_size(scene->bodies[1]), 1);
    assert_int_equal(series_count(scene->bodies[1]), 2);
    assert_string_equal(member(json_object_get(scene->bodies[1], "series"), "lastObservedTime"),
                        "2026-11-25T10:40:06.043000Z");
}

static void further_repeats_are_written_every_six_minutes(void **state)
{
    struct scene *scene = *state;

    tell(scene, "weather", "same");
    await_requests(scene, 1);
    tell(scene, "weather", "same");
    await_requests(scene, 2);
    for (int i = 0; i < 10; i++)
        tell(scene, "weather", "same");
    api_pass(scene->api, EVENT_REPEAT_MS - 1);
    tell(scene, "weather", "same");
    await_requests(scene, 2);
    api_pass(scene->api, 1);
    tell(scene, "weather", "same");
    await_requests(scene, 3);
    assert_int_equal(series_count(scene->bodies[2]), 14);
    assert_int_equal(scene->creates, 1);
}

/* They are written by whatever wakes the sweep, here an event of another object. */
static void repeats_that_have_ended_are_written_too(void **state)
{
    struct scene *scene = *state;

    tell(scene, "weather", "same");
    await_requests(scene, 1);
    tell(scene, "weather", "same");
    await_requests(scene, 2);
    tell(scene, "weather", "same");
    api_pass(scene->api, EVENT_REPEAT_MS);
    tell(scene, "other", "another");
    await_requests(scene, 4);
    assert_int_equal(series_count(scene->bodies[2]), 3);
}

static void other_words_objects_or_types_are_other_events(void **state)
{
    struct scene *scene = *state;
    struct event event = event_about("weather", "one");

    events_tell(scene->events, &event);
    event.note = "two";
    events_tell(scene->events, &event);
    event.reason = "Timeout";
    events_tell(scene->events, &event);
    event.warning = false;
    events_tell(scene->events, &event);
    event.about.uid = "uid-2";
    events_tell(scene->events, &event);
    flush(scene);
    assert_int_equal(scene->creates, 5);
    assert_int_equal(scene->patches, 0);
}

static void after_ten_quiet_minutes_the_same_is_news(void **state)
{
    struct scene *scene = *state;

    tell(scene, "weather", "same");
    await_requests(scene, 1);
    api_pass(scene->api, EVENT_MEMORY_MS);
    tell(scene, "weather", "same");
    await_requests(scene, 2);
    assert_int_equal(scene->creates, 2);
    assert_string_not_equal(member(json_object_get(scene->bodies[0], "metadata"), "name"),
                            member(json_object_get(scene->bodies[1], "metadata"), "name"));
}

static void an_event_that_has_expired_is_made_anew_with_its_series(void **state)
{
    struct scene *scene = *state;

    tell(scene, "weather", "same");
    await_requests(scene, 1);
    scene->next_code = 404;
    scene->next_reason = "NotFound";
    tell(scene, "weather", "same");
    await_requests(scene, 3);
    assert_int_equal(scene->creates, 2);
    assert_int_equal(series_count(scene->bodies[2]), 2);
    assert_string_not_equal(member(json_object_get(scene->bodies[0], "metadata"), "name"),
                            member(json_object_get(scene->bodies[2], "metadata"), "name"));
    api_pass(scene->api, EVENT_REPEAT_MS);
    tell(scene, "weather", "same");
    await_requests(scene, 4);
    assert_int_equal(series_count(scene->bodies[3]), 3);
}

static void a_create_that_already_exists_is_our_own(void **state)
{
    struct scene *scene = *state;

    scene->next_code = 409;
    scene->next_reason = "AlreadyExists";
    tell(scene, "weather", "same");
    await_requests(scene, 1);
    tell(scene, "weather", "same");
    await_requests(scene, 2);
    assert_int_equal(scene->patches, 1);
    assert_int_equal(api_count_in_log(scene->api, "dropped"), 0);
}

static void a_refused_event_is_given_up_and_counted(void **state)
{
    struct scene *scene = *state;

    scene->next_code = 403;
    scene->next_reason = "Forbidden";
    tell(scene, "weather", "same");
    await_requests(scene, 1);
    api_pass(scene->api, 60000);
    tell(scene, "weather", "same");
    await_requests(scene, 2);
    assert_int_equal(scene->creates, 2);
    assert_int_equal(api_count_in_log(scene->api, "\"refused\":\"1\""), 1);
}

static void a_refused_repeat_is_not_hammered(void **state)
{
    struct scene *scene = *state;

    tell(scene, "weather", "same");
    await_requests(scene, 1);
    scene->next_code = 403;
    scene->next_reason = "Forbidden";
    tell(scene, "weather", "same");
    await_requests(scene, 2);
    tell(scene, "weather", "same");
    await_requests(scene, 2);
    api_pass(scene->api, EVENT_REPEAT_MS);
    tell(scene, "weather", "same");
    await_requests(scene, 3);
    assert_int_equal(series_count(scene->bodies[2]), 3);
}

static void repeats_while_it_is_on_its_way_follow_it(void **state)
{
    struct scene *scene = *state;

    scene->hold = true;
    tell(scene, "weather", "same");
    api_run_until_count(scene->api, &scene->held_count, 1);
    tell(scene, "weather", "same");
    tell(scene, "weather", "same");
    scene->hold = false;
    scene->held_count = 0;
    serve(scene, scene->held[0]);
    await_requests(scene, 2);
    assert_int_equal(series_count(scene->bodies[1]), 3);
}

static void a_flush_writes_repeats_before_their_time(void **state)
{
    struct scene *scene = *state;

    for (int i = 0; i < 3; i++) {
        tell(scene, "weather", "same");
        await_requests(scene, i < 2 ? (unsigned)i + 1 : 2);
    }
    flush(scene);
    assert_int_equal(series_count(scene->bodies[2]), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_created_as_the_api_wants_it),
        TEST(a_repeat_becomes_a_series_at_once),
        TEST(further_repeats_are_written_every_six_minutes),
        TEST(repeats_that_have_ended_are_written_too),
        TEST(other_words_objects_or_types_are_other_events),
        TEST(after_ten_quiet_minutes_the_same_is_news),
        TEST(an_event_that_has_expired_is_made_anew_with_its_series),
        TEST(a_create_that_already_exists_is_our_own),
        TEST(a_refused_event_is_given_up_and_counted),
        TEST(a_refused_repeat_is_not_hammered),
        TEST(repeats_while_it_is_on_its_way_follow_it),
        TEST(a_flush_writes_repeats_before_their_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
