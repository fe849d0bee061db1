/* The Kubernetes catalog against a scripted API server: changes that the answer of our own write is
 * the first to show. The watches stay silent; what they would bring is held for old by then. */
#include "api_world.h"

#include "catalog/kube.h"

#define SOURCES "/apis/source.flux.oddkin.co/v1alpha1/"
#define WEATHER SOURCES "namespaces/default/externalsources/weather"
#define CHILD "/apis/source.toolkit.fluxcd.io/v1/namespaces/default/externalartifacts/weather"
#define WATCHES 3

struct scene {
    struct api *api;
    struct catalog *catalog;
    struct source *source;
    struct api_request *watches[WATCHES];
    size_t watch_count;
    bool conflict;             /* the next write of a status meets one */
    int generation;            /* of the source, as the server has it */
    const char *label;         /* a label's value, likewise */
    const char *requested;     /* of the ExternalArtifact's annotation, likewise; or NULL */
    int version;               /* the last resourceVersion */
    unsigned woken;            /* how often the source was */
    unsigned woken_before_end; /* ... when the operation ended */
    unsigned synced;
    unsigned ended;
};

static json_t *source_now(const struct scene *scene)
{
    char version[16];

    snprintf(version, sizeof(version), "%d", scene->version);
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:i, s:{s:s}}, s:{s:s, s:{s:s, s:{s:s}}}}",
                     "apiVersion", "source.flux.oddkin.co/v1alpha1", "kind", "ExternalSource",
                     "metadata", "name", "weather", "namespace", "default", "uid", "u-1",
                     "resourceVersion", version, "generation", scene->generation, "labels", "a",
                     scene->label, "spec", "interval", "5m", "generator", "type", "http", "http",
                     "url", "http://127.0.0.1:9/");
}

static json_t *child_now(const struct scene *scene, const json_t *applied)
{
    json_t *child = json_deep_copy(applied);
    json_t *metadata = json_object_get(child, "metadata");

    json_object_set_new(metadata, "uid", json_string("u-2"));
    json_object_set_new(metadata, "resourceVersion", json_string("20"));
    if (scene->requested)
        json_object_set_new(
            metadata, "annotations",
            json_pack("{s:s}", "reconcile.fluxcd.io/requestedAt", scene->requested));
    return child;
}

static void answer_list(struct scene *scene, struct api_request *request)
{
    bool sources = strncmp(request->path, SOURCES, strlen(SOURCES)) == 0;
    json_t *items = sources ? json_pack("[o]", source_now(scene)) : json_array();

    api_answer(request, 200,
               json_pack("{s:s, s:s, s:{s:s}, s:o}", "kind", "List", "apiVersion", "v1", "metadata",
                         "resourceVersion", "10", "items", items));
}

static void answer_patch(struct scene *scene, struct api_request *request)
{
    if (strncmp(request->path, CHILD, strlen(CHILD)) == 0) {
        api_answer(request, 200, child_now(scene, request->body));
        return;
    }
    if (scene->conflict) {
        scene->conflict = false;
        api_refuse(request, 409, "Conflict");
        return;
    }
    scene->version++;
    api_answer(request, 200, source_now(scene));
}

static void handle(void *context, struct api_request *request)
{
    struct scene *scene = context;

    if (strcmp(request->method, "PATCH") == 0) {
        answer_patch(scene, request);
    } else if (strstr(request->path, "watch=")) {
        assert_true(scene->watch_count < WATCHES);
        scene->watches[scene->watch_count++] = request;
    } else if (strcmp(request->path, WEATHER) == 0) {
        api_answer(request, 200, source_now(scene));
    } else {
        answer_list(scene, request);
    }
}

static void on_changed(void *context, const char *namespace_name, const char *name, bool deleting)
{
    struct scene *scene = context;

    assert_string_equal(namespace_name, "default");
    assert_string_equal(name, "weather");
    assert_false(deleting);
    scene->woken++;
}

static void on_synced(void *context)
{
    ((struct scene *)context)->synced++;
}

static void on_source(void *context, struct error *error, struct source *source)
{
    struct scene *scene = context;

    assert_null(error);
    scene->source = source;
    scene->ended++;
}

static void on_end(void *context, struct error *error)
{
    struct scene *scene = context;

    assert_null(error);
    scene->woken_before_end = scene->woken;
    scene->ended++;
}

static void on_version(void *context, struct error *error, const char *resource_version)
{
    (void)resource_version;
    on_end(context, error);
}

/* A scene in which the source was listed and read. */
static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    const struct catalog_listener listener = {
        .source_changed = on_changed, .synced = on_synced, .context = scene};
    struct operation *operation;

    scene->generation = 1;
    scene->version = 10;
    scene->label = "one";
    scene->api = api_new(handle, scene);
    const struct kube_catalog_options options = {
        .loop = &scene->api->loop,
        .log = scene->api->log,
        .clock = &scene->api->clock,
        .client = scene->api->client,
        .namespace_name = "default",
        .random = api_random,
        .random_context = scene->api,
    };
    scene->catalog = kube_catalog_new(&options);
    assert_null(catalog_start(scene->catalog, &listener));
    api_run_until_count(scene->api, &scene->synced, 1);
    assert_null(catalog_get(scene->catalog, "default", "weather", on_source, scene, &operation));
    api_run_until_count(scene->api, &scene->ended, 1);
    assert_non_null(scene->source);
    assert_int_equal(scene->woken, 1);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;

    source_unref(scene->source);
    catalog_free(scene->catalog);
    for (size_t i = 0; i < scene->watch_count; i++)
        api_request_free(scene->watches[i]);
    api_free(scene->api);
    free(scene);
    return 0;
}

static void write_status(struct scene *scene)
{
    struct source_status *status = source_status_new();
    struct operation *operation;

    status->observed_generation = 1;
    assert_null(catalog_patch_status(scene->catalog, scene->source, "10", status, on_version, scene,
                                     &operation));
    source_status_free(status);
    api_run_until_count(scene->api, &scene->ended, 2);
}

static void a_spec_that_a_conflict_shows_wakes_its_source(void **state)
{
    struct scene *scene = *state;

    scene->conflict = true;
    scene->generation = 2;
    scene->version = 11;
    write_status(scene);
    assert_int_equal(scene->woken_before_end, 1);
    assert_int_equal(scene->woken, 2);
}

static void a_conflict_over_nothing_of_ours_wakes_nobody(void **state)
{
    struct scene *scene = *state;

    scene->conflict = true;
    scene->label = "two";
    scene->version = 11;
    write_status(scene);
    assert_int_equal(scene->woken, 1);
}

static void declare(struct scene *scene)
{
    struct operation *operation;

    assert_null(catalog_declare(scene->catalog, scene->source, on_end, scene, &operation));
    api_run_until_count(scene->api, &scene->ended, 2);
}

static void a_request_that_an_apply_shows_wakes_its_source(void **state)
{
    struct scene *scene = *state;

    scene->requested = "now";
    declare(scene);
    assert_int_equal(scene->woken_before_end, 1);
    assert_int_equal(scene->woken, 2);
}

static void an_apply_alone_wakes_nobody(void **state)
{
    struct scene *scene = *state;

    declare(scene);
    assert_int_equal(scene->woken, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_spec_that_a_conflict_shows_wakes_its_source, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_conflict_over_nothing_of_ours_wakes_nobody, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_request_that_an_apply_shows_wakes_its_source, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_apply_alone_wakes_nobody, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
