/* For tests of Kubernetes Events: what was asked of a scripted API server, and the test's clock. */
#ifndef SLUICE_TEST_EVENTS_WORLD_H
#define SLUICE_TEST_EVENTS_WORLD_H

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

static inline void serve(struct scene *scene, struct api_request *request)
{
    unsigned code = scene->next_code;

    scene->next_code = 0;
    if (code)
        api_refuse(request, code, scene->next_reason);
    else
        api_answer(request, 200, json_incref(request->body));
}

static inline void handle(void *context, struct api_request *request)
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

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline struct event event_about(const char *name, const char *note)
{
    return (struct event){
        .about = {"source.flux.oddkin.co/v1alpha1", "ExternalSource", "team-a", name, "uid-1"},
        .warning = true,
        .reason = "FetchFailed",
        .action = "Reconcile",
        .note = note,
    };
}

static inline void tell(struct scene *scene, const char *name, const char *note)
{
    const struct event event = event_about(name, note);

    events_tell(scene->events, &event);
}

static inline void on_flushed(void *context)
{
    struct scene *scene = context;

    assert_false(scene->flushed);
    scene->flushed = true;
}

/* All told so far is written. */
static inline void flush(struct scene *scene)
{
    scene->flushed = false;
    events_flush(scene->events, 60000, on_flushed, scene);
    assert_false(scene->flushed);
    api_run_until(scene->api, &scene->flushed);
}

/* As many requests have come, and been answered. */
static inline void await_requests(struct scene *scene, unsigned requests)
{
    api_run_until_count(scene->api, &scene->requests, requests);
    for (int i = 0; i < 5; i++)
        uv_run(&scene->api->loop, UV_RUN_ONCE);
    assert_int_equal(scene->requests, requests);
}

static inline const char *member(const json_t *object, const char *key)
{
    const char *value = json_get_string(object, key);

    return value ? value : "(none)";
}

static inline int64_t series_count(const json_t *body)
{
    return json_get_integer(json_object_get(body, "series"), "count", -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
