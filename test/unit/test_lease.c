/* The lease against a scripted API server, with the test's clock unless a test says otherwise. */
#include "api_world.h"

#include "kube/lease.h"

#define PATH "/apis/coordination.k8s.io/v1/namespaces/flux-system/leases"
#define OTHER_DURATION 20 /* seconds, not ours */

/* A Lease as a server keeps it, and what one candidate told us. */
struct scene {
    struct api *api;
    struct lease *lease;
    json_t *object; /* the server's; NULL for none */
    unsigned version;
    unsigned reads, writes; /* requests; every refused write counts too */
    unsigned refuse_code;   /* answer everything with this; 0: really */
    bool hold_writes;       /* leave the next write to the test */
    bool silent;            /* answer nothing */
    void (*before_write)(struct scene *scene);
    char last_method[16];
    json_t *last_body;
    unsigned acquired, lost, released;
};

static json_t *spec_of(struct scene *scene)
{
    return json_object_get(scene->object, "spec");
}

static const char *spec_string(const json_t *object, const char *key)
{
    const char *value = json_get_string(json_object_get(object, "spec"), key);

    return value ? value : "(none)";
}

static int64_t spec_integer(const json_t *object, const char *key)
{
    return json_get_integer(json_object_get(object, "spec"), key, -1);
}

/* What the server does with every object that it stores. */
static void stamp(struct scene *scene)
{
    json_t *metadata = json_object_get(scene->object, "metadata");
    char version[16];

    snprintf(version, sizeof(version), "%u", ++scene->version);
    json_object_set_new(metadata, "resourceVersion", json_string(version));
    if (!json_object_get(metadata, "uid"))
        json_object_set_new(metadata, "uid", json_string(version));
}

static void put_other(struct scene *scene, const char *renew_time)
{
    json_decref(scene->object);
    scene->object =
        json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:{s:s, s:i, s:s, s:s, s:i}}", "apiVersion",
                  "coordination.k8s.io/v1", "kind", "Lease", "metadata", "name", "leader",
                  "namespace", "flux-system", "uid", "of-other", "spec", "holderIdentity", "other",
                  "leaseDurationSeconds", OTHER_DURATION, "acquireTime",
                  "2020-01-01T00:00:00.000001Z", "renewTime", renew_time, "leaseTransitions", 7);
    assert_non_null(scene->object);
    stamp(scene);
}

static void store(struct scene *scene, struct api_request *request, unsigned code)
{
    json_decref(scene->object);
    scene->object = json_deep_copy(request->body);
    stamp(scene);
    api_answer(request, code, json_incref(scene->object));
}

static void serve(struct scene *scene, struct api_request *request)
{
    const char *versions[2] = {
        json_get_string(json_object_get(scene->object, "metadata"), "resourceVersion"),
        json_get_string(json_object_get(request->body, "metadata"), "resourceVersion")};

    if (scene->refuse_code)
        api_refuse(request, scene->refuse_code, "Forbidden");
    else if (strcmp(request->method, "POST") == 0 && scene->object)
        api_refuse(request, 409, "AlreadyExists");
    else if (strcmp(request->method, "POST") == 0)
        store(scene, request, 201);
    else if (!scene->object)
        api_refuse(request, 404, "NotFound");
    else if (strcmp(request->method, "GET") == 0)
        api_answer(request, 200, json_incref(scene->object));
    else if (!versions[1] || strcmp(versions[0], versions[1]) != 0)
        api_refuse(request, 409, "Conflict");
    else
        store(scene, request, 200);
}

static void handle(void *context, struct api_request *request)
{
    struct scene *scene = context;
    bool read = strcmp(request->method, "GET") == 0;
    void (*before)(struct scene *) = scene->before_write;

    assert_string_equal(request->path,
                        strcmp(request->method, "POST") == 0 ? PATH : PATH "/leader");
    scene->reads += read;
    scene->writes += !read;
    snprintf(scene->last_method, sizeof(scene->last_method), "%s", request->method);
    if (!read) {
        json_decref(scene->last_body);
        scene->last_body = json_incref(request->body);
        scene->before_write = NULL;
        if (before)
            before(scene);
    }
    if (scene->silent || (!read && scene->hold_writes)) {
        if (scene->api->held)
            api_request_free(scene->api->held);
        scene->api->held = request;
        return;
    }
    serve(scene, request);
}

static void on_acquired(void *context)
{
    struct scene *scene = context;

    assert_int_equal(scene->acquired, scene->lost);
    scene->acquired++;
}

static void on_lost(void *context)
{
    struct scene *scene = context;

    assert_int_equal(scene->acquired, scene->lost + 1);
    assert_false(lease_held(scene->lease));
    scene->lost++;
}

static void on_released(void *context)
{
    struct scene *scene = context;

    scene->released++;
}

static struct lease *lease_of(struct scene *scene, const char *identity, const struct clock *clock,
                              int64_t deadline_ms)
{
    const struct lease_options options = {
        .loop = &scene->api->loop,
        .clock = clock,
        .log = scene->api->log,
        .client = scene->api->client,
        .namespace_name = "flux-system",
        .name = "leader",
        .identity = identity,
        .duration_ms = LEASE_DURATION_MS,
        .renew_deadline_ms = deadline_ms,
        .retry_ms = 5,
        .random = api_random,
        .random_context = scene->api,
        .acquired = on_acquired,
        .lost = on_lost,
        .context = scene,
    };

    return lease_new(&options);
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    scene->api = api_new(handle, scene);
    scene->lease = lease_of(scene, "me", &scene->api->clock, LEASE_RENEW_DEADLINE_MS);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;

    lease_free(scene->lease);
    api_free(scene->api);
    json_decref(scene->object);
    json_decref(scene->last_body);
    free(scene);
    return 0;
}

static void lead(struct scene *scene)
{
    assert_null(lease_start(scene->lease));
    api_run_until_count(scene->api, &scene->acquired, scene->acquired + 1);
    assert_true(lease_held(scene->lease));
}

/* The candidate has looked three more times. */
static void let_it_look(struct scene *scene)
{
    api_run_until_count(scene->api, &scene->reads, scene->reads + 3);
}

static void let_it_write(struct scene *scene)
{
    api_run_until_count(scene->api, &scene->writes, scene->writes + 1);
}

/* Instead of the clock and deadline of set_up. */
static void use_machine_clock(struct scene *scene, int64_t deadline_ms)
{
    lease_free(scene->lease);
    scene->lease = lease_of(scene, "me", &clock_system, deadline_ms);
}

static void a_lease_that_nobody_has_is_created_and_held(void **state)
{
    struct scene *scene = *state;

    assert_false(lease_held(scene->lease));
    lead(scene);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "me");
    assert_int_equal(spec_integer(scene->object, "leaseDurationSeconds"), 35);
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 0);
    assert_string_equal(spec_string(scene->object, "acquireTime"), "2026-11-25T10:40:05.042000Z");
    assert_string_equal(spec_string(scene->object, "renewTime"), "2026-11-25T10:40:05.042000Z");
}

static void a_renewal_changes_the_time_of_renewal_alone(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    api_pass(scene->api, 5001);
    let_it_write(scene);
    let_it_write(scene);
    assert_string_equal(scene->last_method, "PUT");
    assert_string_equal(spec_string(scene->object, "renewTime"), "2026-11-25T10:40:10.043000Z");
    assert_string_equal(spec_string(scene->object, "acquireTime"), "2026-11-25T10:40:05.042000Z");
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 0);
    assert_int_equal(scene->acquired, 1);
    assert_int_equal(scene->reads, 1);
}

static void another_holder_is_judged_by_our_clock_alone(void **state)
{
    static const char *const renew_times[] = {"2001-01-01T00:00:00.000000Z",
                                              "2099-01-01T00:00:00.000000Z"};

    for (size_t i = 0; i < 2; i++) {
        struct scene *scene = *state;

        put_other(scene, renew_times[i]);
        assert_null(lease_start(scene->lease));
        let_it_look(scene);
        api_pass(scene->api, OTHER_DURATION * 1000 - 1);
        let_it_look(scene);
        assert_int_equal(scene->writes, 0);
        api_pass(scene->api, 1);
        api_run_until_count(scene->api, &scene->acquired, 1);
        assert_string_equal(spec_string(scene->object, "holderIdentity"), "me");
        assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 8);
        assert_int_equal(spec_integer(scene->object, "leaseDurationSeconds"), 35);
        assert_string_equal(spec_string(scene->object, "acquireTime"),
                            "2026-11-25T10:40:25.042000Z");
        if (i == 0) {
            tear_down(state);
            set_up(state);
        }
    }
}

static void a_holder_that_renews_keeps_it(void **state)
{
    struct scene *scene = *state;

    put_other(scene, "2001-01-01T00:00:00.000000Z");
    assert_null(lease_start(scene->lease));
    let_it_look(scene);
    api_pass(scene->api, OTHER_DURATION * 1000 - 1);
    put_other(scene, "2001-01-01T00:00:00.000001Z");
    let_it_look(scene);
    api_pass(scene->api, OTHER_DURATION * 1000 - 1);
    let_it_look(scene);
    assert_int_equal(scene->writes, 0);
    api_pass(scene->api, 1);
    api_run_until_count(scene->api, &scene->acquired, 1);
}

static void a_change_of_labels_is_no_renewal(void **state)
{
    struct scene *scene = *state;

    put_other(scene, "2001-01-01T00:00:00.000000Z");
    assert_null(lease_start(scene->lease));
    let_it_look(scene);
    api_pass(scene->api, OTHER_DURATION * 1000 - 1);
    json_object_set_new(json_object_get(scene->object, "metadata"), "labels",
                        json_pack("{s:s}", "touched", "yes"));
    stamp(scene);
    let_it_look(scene);
    api_pass(scene->api, 1);
    api_run_until_count(scene->api, &scene->acquired, 1);
    assert_non_null(json_object_get(json_object_get(scene->object, "metadata"), "labels"));
}

static void other_creates(struct scene *scene)
{
    put_other(scene, "2026-01-01T00:00:00.000000Z");
}

static void who_loses_the_race_to_create_it_waits(void **state)
{
    struct scene *scene = *state;

    scene->before_write = other_creates;
    assert_null(lease_start(scene->lease));
    let_it_write(scene);
    let_it_look(scene);
    assert_int_equal(scene->writes, 1);
    assert_int_equal(scene->acquired, 0);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "other");
}

static void who_loses_the_race_to_take_it_over_waits(void **state)
{
    struct scene *scene = *state;

    put_other(scene, "2026-01-01T00:00:00.000000Z");
    json_object_set_new(spec_of(scene), "holderIdentity", json_string(""));
    scene->before_write = other_creates;
    assert_null(lease_start(scene->lease));
    let_it_write(scene);
    let_it_look(scene);
    assert_int_equal(scene->writes, 1);
    assert_int_equal(scene->acquired, 0);
}

static void a_conflict_with_who_only_touched_it_costs_nothing(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    stamp(scene);
    let_it_write(scene); /* refused */
    let_it_write(scene);
    let_it_write(scene);
    assert_int_equal(scene->reads, 2);
    assert_true(lease_held(scene->lease));
    assert_int_equal(scene->acquired, 1);
    assert_int_equal(scene->lost, 0);
}

static void another_holder_ends_our_leading_at_once(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    put_other(scene, "2026-01-01T00:00:00.000000Z");
    api_run_until_count(scene->api, &scene->lost, 1);
    assert_false(lease_held(scene->lease));
    let_it_look(scene);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "other");
    assert_int_equal(scene->lost, 1);
    assert_int_equal(api_count_in_log(scene->api, "another took it"), 1);
}

static void a_lease_deleted_beneath_us_is_made_anew(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    json_decref(scene->object);
    scene->object = NULL;
    while (!scene->object)
        let_it_write(scene);
    let_it_write(scene);
    assert_true(lease_held(scene->lease));
    assert_int_equal(scene->acquired, 1);
    assert_int_equal(scene->lost, 0);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "me");
}

static void it_is_held_until_the_deadline_and_not_a_moment_longer(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    scene->hold_writes = true;
    api_pass(scene->api, LEASE_RENEW_DEADLINE_MS - 1);
    assert_true(lease_held(scene->lease));
    api_pass(scene->api, 1);
    assert_false(lease_held(scene->lease));
    assert_int_equal(scene->lost, 0); /* the loop has not turned */
    api_run_until_count(scene->api, &scene->lost, 1);
}

static void our_term_counts_from_before_the_renewal_was_sent(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    scene->hold_writes = true;
    let_it_write(scene);
    api_pass(scene->api, LEASE_RENEW_DEADLINE_MS - 5);
    scene->hold_writes = false;
    serve(scene, TAKE(scene->api->held));
    scene->hold_writes = true;
    let_it_write(scene); /* the next one: the answer has been taken */
    api_pass(scene->api, 4);
    assert_true(lease_held(scene->lease));
    api_pass(scene->api, 1);
    assert_false(lease_held(scene->lease));
}

static void a_renewal_answered_after_the_deadline_comes_too_late(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    scene->hold_writes = true;
    let_it_write(scene);
    api_pass(scene->api, LEASE_RENEW_DEADLINE_MS);
    scene->hold_writes = false;
    serve(scene, TAKE(scene->api->held));
    api_run_until_count(scene->api, &scene->lost, 1);
    /* The record still names us, so the next try leads again. */
    api_run_until_count(scene->api, &scene->acquired, 2);
    assert_true(lease_held(scene->lease));
    assert_int_equal(scene->lost, 1);
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 0);
}

static void a_silent_server_costs_the_lease_exactly_once(void **state)
{
    struct scene *scene = *state;

    use_machine_clock(scene, 300);
    lead(scene);
    scene->silent = true;
    api_run_until_count(scene->api, &scene->lost, 1);
    let_it_look(scene);
    assert_int_equal(scene->lost, 1);
    scene->silent = false;
    api_run_until_count(scene->api, &scene->acquired, 2);
    assert_int_equal(scene->lost, 1);
}

static void a_refusing_server_is_asked_again_and_complained_of_once(void **state)
{
    struct scene *scene = *state;

    scene->refuse_code = 403;
    assert_null(lease_start(scene->lease));
    let_it_look(scene);
    assert_int_equal(api_count_in_log(scene->api, "lease cannot be read"), 1);
    scene->refuse_code = 0;
    api_run_until_count(scene->api, &scene->acquired, 1);
    assert_int_equal(api_count_in_log(scene->api, "lease cannot be read"), 0);
}

static void a_released_lease_is_taken_over_at_once(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    lease_release(scene->lease, on_released, scene);
    assert_false(lease_held(scene->lease));
    assert_int_equal(scene->released, 0);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_int_equal(scene->lost, 0);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "");
    assert_int_equal(spec_integer(scene->object, "leaseDurationSeconds"), 1);
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 0);

    lease_free(scene->lease);
    scene->acquired = 0;
    scene->lease = lease_of(scene, "next", &scene->api->clock, LEASE_RENEW_DEADLINE_MS);
    lead(scene); /* and no time has passed */
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "next");
    assert_int_equal(spec_integer(scene->object, "leaseTransitions"), 1);
}

static void a_release_during_a_renewal_looks_what_became_of_it(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    scene->hold_writes = true;
    let_it_write(scene);
    stamp(scene); /* it arrived, and we do not know */
    scene->hold_writes = false;
    lease_release(scene->lease, on_released, scene);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "");
}

static void a_release_leaves_another_holder_alone(void **state)
{
    struct scene *scene = *state;

    lead(scene);
    put_other(scene, "2026-01-01T00:00:00.000000Z");
    lease_release(scene->lease, on_released, scene);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_string_equal(spec_string(scene->object, "holderIdentity"), "other");
}

static void a_release_waits_for_no_silent_server(void **state)
{
    struct scene *scene = *state;

    use_machine_clock(scene, 600);
    lead(scene);
    scene->silent = true;
    lease_release(scene->lease, on_released, scene);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_int_equal(scene->lost, 0);
}

static void releasing_what_is_not_held_asks_nobody(void **state)
{
    struct scene *scene = *state;

    lease_release(scene->lease, on_released, scene);
    assert_int_equal(scene->released, 0);
    api_run_until_count(scene->api, &scene->released, 1);
    assert_int_equal(scene->reads + scene->writes, 0);
}

static void freed_in_mid_request_it_says_nothing(void **state)
{
    struct scene *scene = *state;

    scene->silent = true;
    assert_null(lease_start(scene->lease));
    api_run_until_count(scene->api, &scene->reads, 1);
    lease_free(scene->lease);
    scene->lease = NULL;
    for (int i = 0; i < 20; i++)
        uv_run(&scene->api->loop, UV_RUN_NOWAIT);
    assert_int_equal(scene->acquired + scene->lost, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lease_that_nobody_has_is_created_and_held),
        TEST(a_renewal_changes_the_time_of_renewal_alone),
        TEST(another_holder_is_judged_by_our_clock_alone),
        TEST(a_holder_that_renews_keeps_it),
        TEST(a_change_of_labels_is_no_renewal),
        TEST(who_loses_the_race_to_create_it_waits),
        TEST(who_loses_the_race_to_take_it_over_waits),
        TEST(a_conflict_with_who_only_touched_it_costs_nothing),
        TEST(another_holder_ends_our_leading_at_once),
        TEST(a_lease_deleted_beneath_us_is_made_anew),
        TEST(it_is_held_until_the_deadline_and_not_a_moment_longer),
        TEST(our_term_counts_from_before_the_renewal_was_sent),
        TEST(a_renewal_answered_after_the_deadline_comes_too_late),
        TEST(a_silent_server_costs_the_lease_exactly_once),
        TEST(a_refusing_server_is_asked_again_and_complained_of_once),
        TEST(a_released_lease_is_taken_over_at_once),
        TEST(a_release_during_a_renewal_looks_what_became_of_it),
        TEST(a_release_leaves_another_holder_alone),
        TEST(a_release_waits_for_no_silent_server),
        TEST(releasing_what_is_not_held_asks_nobody),
        TEST(freed_in_mid_request_it_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
