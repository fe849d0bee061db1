/* For tests of the lease: a Lease as a server keeps it, and one candidate with the test's clock. */
#ifndef SLUICE_TEST_LEASE_WORLD_H
#define SLUICE_TEST_LEASE_WORLD_H

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

static inline json_t *spec_of(struct scene *scene)
{
    return json_object_get(scene->object, "spec");
}

static inline const char *spec_string(const json_t *object, const char *key)
{
    const char *value = json_get_string(json_object_get(object, "spec"), key);

    return value ? value : "(none)";
}

static inline int64_t spec_integer(const json_t *object, const char *key)
{
    return json_get_integer(json_object_get(object, "spec"), key, -1);
}

/* What the server does with every object that it stores. */
static inline void stamp(struct scene *scene)
{
    json_t *metadata = json_object_get(scene->object, "metadata");
    char version[16];

    snprintf(version, sizeof(version), "%u", ++scene->version);
    json_object_set_new(metadata, "resourceVersion", json_string(version));
    if (!json_object_get(metadata, "uid"))
        json_object_set_new(metadata, "uid", json_string(version));
}

static inline void put_other(struct scene *scene, const char *renew_time)
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

static inline void store(struct scene *scene, struct api_request *request, unsigned code)
{
    json_decref(scene->object);
    scene->object = json_deep_copy(request->body);
    stamp(scene);
    api_answer(request, code, json_incref(scene->object));
}

static inline void serve(struct scene *scene, struct api_request *request)
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

static inline void handle(void *context, struct api_request *request)
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

static inline void on_acquired(void *context)
{
    struct scene *scene = context;

    assert_int_equal(scene->acquired, scene->lost);
    scene->acquired++;
}

static inline void on_lost(void *context)
{
    struct scene *scene = context;

    assert_int_equal(scene->acquired, scene->lost + 1);
    assert_false(lease_held(scene->lease));
    scene->lost++;
}

static inline void on_released(void *context)
{
    struct scene *scene = context;

    scene->released++;
}

static inline struct lease *lease_of(struct scene *scene, const char *identity,
                                     const struct clock *clock, int64_t deadline_ms)
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

static inline int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    scene->api = api_new(handle, scene);
    scene->lease = lease_of(scene, "me", &scene->api->clock, LEASE_RENEW_DEADLINE_MS);
    *state = scene;
    return 0;
}

static inline int tear_down(void **state)
{
    struct scene *scene = *state;

    lease_free(scene->lease);
    api_free(scene->api);
    json_decref(scene->object);
    json_decref(scene->last_body);
    free(scene);
    return 0;
}

static inline void lead(struct scene *scene)
{
    assert_null(lease_start(scene->lease));
    api_run_until_count(scene->api, &scene->acquired, scene->acquired + 1);
    assert_true(lease_held(scene->lease));
}

/* The candidate has looked three more times. */
static inline void let_it_look(struct scene *scene)
{
    api_run_until_count(scene->api, &scene->reads, scene->reads + 3);
}

static inline void let_it_write(struct scene *scene)
{
    api_run_until_count(scene->api, &scene->writes, scene->writes + 1);
}

/* Instead of the clock and deadline of set_up. */
static inline void use_machine_clock(struct scene *scene, int64_t deadline_ms)
{
    lease_free(scene->lease);
    scene->lease = lease_of(scene, "me", &clock_system, deadline_ms);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
