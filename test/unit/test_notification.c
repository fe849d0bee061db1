/* Flux's notifications against a scripted receiver. */
#include "api_world.h"

#include "kube/notification.h"

#define KEPT 2048

struct scene {
    struct api *api;
    struct notifier *notifier;
    unsigned requests;
    unsigned fail_count; /* so many answers to come are `fail_code`; 0: the connection is cut */
    unsigned fail_code;
    bool hold;
    json_t *bodies[KEPT];
    bool flushed;
};

static void answer(struct scene *scene, struct api_request *request)
{
    if (scene->fail_count == 0) {
        api_answer_text(request, 202, NULL, NULL);
        return;
    }
    scene->fail_count--;
    if (scene->fail_code) {
        api_answer_text(request, scene->fail_code, NULL, NULL);
    } else {
        api_close_connection(request->connection);
        api_request_free(request);
    }
}

static void handle(void *context, struct api_request *request)
{
    struct scene *scene = context;

    assert_true(scene->requests < KEPT);
    assert_string_equal(request->method, "POST");
    assert_string_equal(request->path, "/hook");
    assert_string_equal(request->content_type, "application/json");
    scene->bodies[scene->requests++] = json_incref(request->body);
    if (scene->hold)
        scene->api->held = request;
    else
        answer(scene, request);
}

static struct error *make_notifier(struct scene *scene, const char *address)
{
    const struct notifier_options options = {
        .loop = &scene->api->loop,
        .blobs = scene->api->blobs,
        .clock = &scene->api->clock,
        .log = scene->api->log,
        .address = address,
        .controller = "externalsource-controller",
        .instance = "pod-1",
        .retry_ms = 2,
    };

    return notifier_new(&options, &scene->notifier);
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    scene->api = api_new(handle, scene);
    char *address = format_string("http://127.0.0.1:%u/hook", scene->api->port);
    assert_null(make_notifier(scene, address));
    free(address);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;

    notifier_free(scene->notifier);
    api_free(scene->api);
    for (unsigned i = 0; i < scene->requests; i++)
        json_decref(scene->bodies[i]);
    free(scene);
    return 0;
}

static struct notification notification_of(const char *message)
{
    return (struct notification){
        .about = {"source.toolkit.fluxcd.io/v1", "ExternalArtifact", "team-a", "weather", "uid-1"},
        .reason = "NewArtifact",
        .message = message,
    };
}

static void tell(struct scene *scene, const char *message)
{
    const struct notification notification = notification_of(message);

    notifier_tell(scene->notifier, &notification);
}

static void on_flushed(void *context)
{
    struct scene *scene = context;

    assert_false(scene->flushed);
    scene->flushed = true;
}

static void flush(struct scene *scene)
{
    scene->flushed = false;
    notifier_flush(scene->notifier, 60000, on_flushed, scene);
    assert_false(scene->flushed);
    api_run_until(scene->api, &scene->flushed);
}

static const char *member(const json_t *object, const char *key)
{
    const char *value = json_get_string(object, key);

    return value ? value : "(none)";
}

static void a_notification_is_posted_as_flux_wants_it(void **state)
{
    struct scene *scene = *state;
    struct notification notification = notification_of("stored artifact");

    notification.revision = "latest@sha256:abc";
    notifier_tell(scene->notifier, &notification);
    flush(scene);
    const json_t *body = scene->bodies[0];
    const json_t *involved = json_object_get(body, "involvedObject");

    assert_int_equal(scene->requests, 1);
    assert_string_equal(member(involved, "apiVersion"), "source.toolkit.fluxcd.io/v1");
    assert_string_equal(member(involved, "kind"), "ExternalArtifact");
    assert_string_equal(member(involved, "namespace"), "team-a");
    assert_string_equal(member(involved, "name"), "weather");
    assert_string_equal(member(involved, "uid"), "uid-1");
    assert_string_equal(member(body, "severity"), "info");
    assert_string_equal(member(body, "timestamp"), "2026-11-25T10:40:05Z");
    assert_string_equal(member(body, "message"), "stored artifact");
    assert_string_equal(member(body, "reason"), "NewArtifact");
    assert_string_equal(member(body, "reportingController"), "externalsource-controller");
    assert_string_equal(member(body, "reportingInstance"), "pod-1");
    assert_string_equal(
        member(json_object_get(body, "metadata"), "source.toolkit.fluxcd.io/revision"),
        "latest@sha256:abc");
}

static void only_annotations_meant_for_events_are_passed_on(void **state)
{
    struct scene *scene = *state;
    struct notification notification = notification_of("failed");
    _cleanup_(json) json_t *annotations =
        json_pack("{s:s, s:s, s:s, s:i}", "event.toolkit.fluxcd.io/team", "a",
                  "reconcile.fluxcd.io/requestedAt", "now",
                  "kubectl.kubernetes.io/last-applied-configuration", "{}",
                  "event.toolkit.fluxcd.io/number", 1);

    notification.error = true;
    notification.annotations = annotations;
    notification.about.api_version = "v1";
    notification.revision = "r1";
    notifier_tell(scene->notifier, &notification);
    flush(scene);
    const json_t *metadata = json_object_get(scene->bodies[0], "metadata");

    assert_string_equal(member(scene->bodies[0], "severity"), "error");
    assert_int_equal(json_object_size(metadata), 2);
    assert_string_equal(member(metadata, "event.toolkit.fluxcd.io/team"), "a");
    /* An object of the core has no group to name a key by. */
    assert_string_equal(member(metadata, "event.toolkit.fluxcd.io/revision"), "r1");
}

static void without_metadata_there_is_no_such_member(void **state)
{
    struct scene *scene = *state;

    tell(scene, "plain");
    flush(scene);
    assert_null(json_object_get(scene->bodies[0], "metadata"));
}

static void a_repeat_that_the_receiver_knows_is_dropped_quietly(void **state)
{
    struct scene *scene = *state;

    scene->fail_count = 1;
    scene->fail_code = 429;
    tell(scene, "again");
    flush(scene);
    assert_int_equal(scene->requests, 1);
    assert_int_equal(api_count_in_log(scene->api, "dropped"), 0);
}

static void a_receiver_in_trouble_is_tried_again(void **state)
{
    static const unsigned codes[] = {500, 503, 0};

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        struct scene *scene = *state;
        unsigned before = scene->requests;

        scene->fail_count = 3;
        scene->fail_code = codes[i];
        tell(scene, "message");
        flush(scene);
        assert_int_equal(scene->requests - before, 4);
        assert_true(json_equal(scene->bodies[before], scene->bodies[before + 3]));
        assert_int_equal(api_count_in_log(scene->api, "dropped"), 0);
    }
}

static void after_a_few_tries_it_is_given_up_and_the_next_goes_out(void **state)
{
    struct scene *scene = *state;

    scene->fail_count = 4;
    scene->fail_code = 503;
    tell(scene, "one");
    tell(scene, "two");
    flush(scene);
    assert_int_equal(scene->requests, 5);
    assert_string_equal(member(scene->bodies[4], "message"), "two");
    assert_int_equal(api_count_in_log(scene->api, "status 503"), 1);
}

static void a_refusal_is_not_tried_again(void **state)
{
    struct scene *scene = *state;

    scene->fail_count = 1;
    scene->fail_code = 400;
    tell(scene, "one");
    flush(scene);
    assert_int_equal(scene->requests, 1);
    assert_int_equal(api_count_in_log(scene->api, "status 400"), 1);
}

static void they_arrive_in_the_order_in_which_they_were_told(void **state)
{
    struct scene *scene = *state;
    char message[16];

    scene->fail_count = 2;
    scene->fail_code = 503;
    for (int i = 0; i < 20; i++) {
        snprintf(message, sizeof(message), "%d", i);
        tell(scene, message);
    }
    flush(scene);
    assert_int_equal(scene->requests, 22);
    for (int i = 0; i < 20; i++)
        assert_int_equal(atoi(member(scene->bodies[i + 2], "message")), i);
}

static void a_queue_that_is_full_loses_its_oldest(void **state)
{
    struct scene *scene = *state;
    char message[16];

    scene->hold = true;
    for (int i = 0; i < 1200; i++) {
        snprintf(message, sizeof(message), "%d", i);
        tell(scene, message);
    }
    api_run_until_count(scene->api, &scene->requests, 1);
    scene->hold = false;
    scene->fail_count = 1; /* the one on its way is still the first to be tried again */
    scene->fail_code = 503;
    answer(scene, TAKE(scene->api->held));
    flush(scene);
    assert_int_equal(scene->requests, 1001);
    assert_string_equal(member(scene->bodies[0], "message"), "0");
    assert_string_equal(member(scene->bodies[1], "message"), "0");
    assert_string_equal(member(scene->bodies[2], "message"), "201");
    assert_int_equal(api_count_in_log(scene->api, "notifications dropped"), 1);
    notifier_free(scene->notifier);
    scene->notifier = NULL;
}

static void long_messages_are_cut_by_characters(void **state)
{
    struct scene *scene = *state;
    size_t size = 2 * 40000 + 1;
    char *message = calloc(1, size);

    for (size_t i = 0; i + 2 < size; i += 2)
        memcpy(message + i, "\xC3\xA9", 2);
    tell(scene, message);
    flush(scene);
    assert_int_equal(strlen(member(scene->bodies[0], "message")), 2 * 39000);
    free(message);
}

static void a_flush_waits_no_longer_than_it_says(void **state)
{
    struct scene *scene = *state;

    scene->hold = true;
    tell(scene, "message");
    notifier_flush(scene->notifier, 50, on_flushed, scene);
    api_run_until(scene->api, &scene->flushed);
    assert_int_equal(scene->requests, 1);
}

static void a_flush_of_nothing_comes_at_the_next_turn(void **state)
{
    flush(*state);
}

static void a_bad_address_names_the_flag(void **state)
{
    static const char *const addresses[] = {"", "notification-controller", "ftp://host/",
                                            "http://user:secret@host/"};
    struct scene *scene = *state;
    struct notifier *kept = scene->notifier;

    for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
        struct error *error = make_notifier(scene, addresses[i]);

        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_CONFIGURATION);
        assert_non_null(strstr(error->message, "--events-addr"));
        assert_null(strstr(error->message, "secret"));
        error_free(error);
    }
    scene->notifier = kept;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_notification_is_posted_as_flux_wants_it),
        TEST(only_annotations_meant_for_events_are_passed_on),
        TEST(without_metadata_there_is_no_such_member),
        TEST(a_repeat_that_the_receiver_knows_is_dropped_quietly),
        TEST(a_receiver_in_trouble_is_tried_again),
        TEST(after_a_few_tries_it_is_given_up_and_the_next_goes_out),
        TEST(a_refusal_is_not_tried_again),
        TEST(they_arrive_in_the_order_in_which_they_were_told),
        TEST(a_queue_that_is_full_loses_its_oldest),
        TEST(long_messages_are_cut_by_characters),
        TEST(a_flush_waits_no_longer_than_it_says),
        TEST(a_flush_of_nothing_comes_at_the_next_turn),
        TEST(a_bad_address_names_the_flag),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
