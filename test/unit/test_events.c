/* Kubernetes Events against a scripted API server, with the test's clock. */
#include "api_world.h"

#include "kube/event_series.h"
#include "kube/events.h"

#define PATH "/apis/events.k8s.io/v1/namespaces/team-a/events"
#define KEPT 2048

/* The requests that came, in order, and what is answered. */
struct scene {
    struct api *api;
    struct events *events;
    unsigned creates, patches, requests;
    unsigned next_code; /* answers the next request with this refusal; 0: accepts */
    const char *next_reason;
    bool hold; /* leaves requests unanswered, in `held` */
    struct api_request *held[KEPT];
    unsigned held_count;
    unsigned most_held;
    json_t *bodies[KEPT];
    char *paths[KEPT];
    bool flushed;
};

static void serve(struct scene *scene, struct api_request *request)
{
    unsigned code = scene->next_code;

    scene->next_code = 0;
    if (code)
        api_refuse(request, code, scene->next_reason);
    else
        api_answer(request, 200, json_incref(request->body));
}

static void handle(void *context, struct api_request *request)
{
    struct scene *scene = context;
    bool create = strcmp(request->method, "POST") == 0;

    assert_true(scene->requests < KEPT);
    assert_string_equal(request->content_type, create ? KUBE_JSON : KUBE_MERGE_PATCH);
    scene->creates += create;
    scene->patches += !create;
    scene->paths[scene->requests] = strdup(request->path);
    scene->bodies[scene->requests++] = json_incref(request->body);
    if (scene->hold) {
        scene->held[scene->held_count++] = request;
        if (scene->held_count > scene->most_held)
            scene->most_held = scene->held_count;
    } else {
        serve(scene, request);
    }
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    scene->api = api_new(handle, scene);
    const struct events_options options = {
        .loop = &scene->api->loop,
        .clock = &scene->api->clock,
        .log = scene->api->log,
        .client = scene->api->client,
        .controller = "source.flux.oddkin.co/externalsource-controller",
        .instance = "pod-1",
    };
    scene->events = events_new(&options);
    assert_non_null(scene->events);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;

    events_free(scene->events);
    for (unsigned i = 0; i < scene->held_count; i++)
        api_request_free(scene->held[i]);
    api_free(scene->api);
    for (unsigned i = 0; i < scene->requests; i++) {
        json_decref(scene->bodies[i]);
        free(scene->paths[i]);
    }
    free(scene);
    return 0;
}

static struct event event_about(const char *name, const char *note)
{
    return (struct event){
        .about = {"source.flux.oddkin.co/v1alpha1", "ExternalSource", "team-a", name, "uid-1"},
        .warning = true,
        .reason = "FetchFailed",
        .action = "Reconcile",
        .note = note,
    };
}

static void tell(struct scene *scene, const char *name, const char *note)
{
    const struct event event = event_about(name, note);

    events_tell(scene->events, &event);
}

static void on_flushed(void *context)
{
    struct scene *scene = context;

    assert_false(scene->flushed);
    scene->flushed = true;
}

/* All told so far is written. */
static void flush(struct scene *scene)
{
    scene->flushed = false;
    events_flush(scene->events, 60000, on_flushed, scene);
    assert_false(scene->flushed);
    api_run_until(scene->api, &scene->flushed);
}

/* As many requests have come, and been answered. */
static void await_requests(struct scene *scene, unsigned requests)
{
    api_run_until_count(scene->api, &scene->requests, requests);
    for (int i = 0; i < 5; i++)
        uv_run(&scene->api->loop, UV_RUN_ONCE);
    assert_int_equal(scene->requests, requests);
}

static const char *member(const json_t *object, const char *key)
{
    const char *value = json_get_string(object, key);

    return value ? value : "(none)";
}

static int64_t series_count(const json_t *body)
{
    return json_get_integer(json_object_get(body, "series"), "count", -1);
}

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

static void a_flush_waits_no_longer_than_it_says(void **state)
{
    struct scene *scene = *state;

    scene->hold = true;
    tell(scene, "weather", "same");
    events_flush(scene->events, 50, on_flushed, scene);
    api_run_until(scene->api, &scene->flushed);
    assert_int_equal(scene->creates, 1);
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

static void long_words_are_cut_between_characters(void **state)
{
    struct scene *scene = *state;
    char note[2000];
    char name[254];
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        TEST(ever_new_words_of_one_object_end_at_its_budget),
        TEST(few_are_in_flight_and_the_oldest_give_way),
        TEST(a_repeat_that_lost_its_place_is_only_late),
        TEST(repeats_while_it_is_on_its_way_follow_it),
        TEST(a_flush_waits_no_longer_than_it_says),
        TEST(a_flush_writes_repeats_before_their_time),
        TEST(long_words_are_cut_between_characters),
        TEST(bytes_that_are_no_text_do_not_lose_an_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
