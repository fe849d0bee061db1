/* Kubernetes Events against a scripted API server: their bounds. */
#include "events_world.h"

static void ever_new_words_of_one_object_end_at_its_budget(void **state)
{
    struct scene *scene = *state;
    char note[32];

    for (int i = 0; i < 40; i++) {
        snprintf(note, sizeof(note), "words %d", i);
        tell(scene, "weather", note);
    }
    tell(scene, "other", "has a budget of its own");
    flush(scene);
    assert_int_equal(scene->creates, 26);
    api_pass(scene->api, EVENT_BUDGET_STEP_MS);
    tell(scene, "weather", "five minutes later");
    tell(scene, "weather", "once");
    flush(scene);
    assert_int_equal(scene->creates, 27);
    assert_int_equal(api_count_in_log(scene->api, "\"overBudget\":\"15\""), 1);
}

static void few_are_in_flight_and_the_oldest_give_way(void **state)
{
    struct scene *scene = *state;
    char name[32];

    scene->hold = true;
    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof(name), "source-%d", i);
        tell(scene, name, "down");
    }
    api_run_until_count(scene->api, &scene->held_count, 4);
    for (int i = 0; i < 20; i++)
        uv_run(&scene->api->loop, UV_RUN_ONCE);
    assert_int_equal(scene->most_held, 4);
    scene->hold = false;
    for (unsigned i = 0; i < 4; i++)
        serve(scene, scene->held[i]);
    scene->held_count = 0;
    flush(scene);
    assert_int_equal(scene->creates, 1004);
    assert_string_equal(member(json_object_get(scene->bodies[4], "regarding"), "name"),
                        "source-500");
    events_free(scene->events);
    scene->events = NULL;
    assert_int_equal(api_count_in_log(scene->api, "\"overflowed\":\"496\""), 1);
}

static void a_repeat_that_lost_its_place_is_only_late(void **state)
{
    struct scene *scene = *state;
    char name[32];

    tell(scene, "weather", "same");
    await_requests(scene, 1);
    scene->hold = true;
    for (int i = 0; i < 1004; i++) {
        snprintf(name, sizeof(name), "source-%d", i);
        tell(scene, name, "down");
        if (i == 3)
            tell(scene, "weather", "same"); /* the first of those that wait */
    }
    api_run_until_count(scene->api, &scene->held_count, 4);
    scene->hold = false;
    for (unsigned i = 0; i < 4; i++)
        serve(scene, scene->held[i]);
    scene->held_count = 0;
    flush(scene);
    assert_int_equal(scene->creates, 1005);
    assert_int_equal(scene->patches, 0);
    flush(scene);
    assert_int_equal(scene->patches, 1);
    events_free(scene->events);
    scene->events = NULL;
    assert_int_equal(api_count_in_log(scene->api, "dropped"), 0);
}

static void a_flush_waits_no_longer_than_it_says(void **state)
{
    struct scene *scene = *state;

    scene->hold = true;
    tell(scene, "weather", "same");
    events_flush(scene->events, 50, on_flushed, scene);
    api_run_until(scene->api, &scene->flushed);
    assert_int_equal(scene->creates, 1);
}

static void long_words_are_cut_between_characters(void **state)
{
    struct scene *scene = *state;
    char note[2000] = "";
    char name[254] = "";
    char reason[300];
    struct event event = event_about(name, note);

    memset(note, 'n', sizeof(note));
    memcpy(note + 1023, "\xC3\xA9", 3); /* é over the border */
    memset(name, 'x', 253);
    memset(name + 230, '.', 10); /* what is kept must not end in one */
    name[253] = '\0';
    memset(reason, 'R', 299);
    reason[299] = '\0';
    event.reason = reason;
    events_tell(scene->events, &event);
    flush(scene);
    const json_t *body = scene->bodies[0];
    const char *given = member(json_object_get(body, "metadata"), "name");

    assert_int_equal(strlen(member(body, "note")), 1023);
    assert_int_equal(strlen(member(body, "reason")), 128);
    assert_int_equal(strlen(given), 230 + 17);
    assert_int_equal(given[229], 'x');
    assert_int_equal(given[230], '.');
    assert_string_equal(member(json_object_get(body, "regarding"), "name"), name);
}

static void bytes_that_are_no_text_do_not_lose_an_event(void **state)
{
    struct scene *scene = *state;

    tell(scene, "weather", "a\xFF\xC3(b");
    flush(scene);
    assert_string_equal(member(scene->bodies[0], "note"), "a\xEF\xBF\xBD\xEF\xBF\xBD(b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ever_new_words_of_one_object_end_at_its_budget),
        TEST(few_are_in_flight_and_the_oldest_give_way),
        TEST(a_repeat_that_lost_its_place_is_only_late),
        TEST(a_flush_waits_no_longer_than_it_says),
        TEST(long_words_are_cut_between_characters),
        TEST(bytes_that_are_no_text_do_not_lose_an_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
