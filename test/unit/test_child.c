/* What an ExternalArtifact must say, and whose it is: pure functions over objects as the API gives
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/json.h"
#include "catalog/child.h"

#define NOW INT64_C(1700000000000)

static struct source *make_source(const char *metadata)
{
    struct source *source = NULL;
    _cleanup_(json) json_t *object = json_pack(
        "{s:s, s:s, s:o, s:{s:s, s:{s:s, s:{s:s}}}}", "apiVersion", SOURCE_API_VERSION, "kind",
        SOURCE_KIND, "metadata", json_loads(metadata, 0, NULL), "spec", "interval", "1m",
        "generator", "type", "http", "http", "url", "http://x.example/");

    assert_null(source_parse(object, &source, NULL));
    assert_non_null(source);
    return source;
}

static struct source *app(void)
{
    return make_source("{\"namespace\":\"team\",\"name\":\"app\",\"uid\":\"u1\",\"generation\":3}");
}

static struct artifact_record record(void)
{
    return (struct artifact_record){
        .path = (char *)"artifacts/team/app/aa.tar.gz",
        .url = (char *)"http://s/artifacts/team/app/aa.tar.gz",
        .revision = (char *)"latest@sha256:aa",
        .digest = (char *)"sha256:bb",
        .size = 7,
        .last_update_ms = NOW,
    };
}

static json_t *published(const struct source *source)
{
    struct artifact_record made = record();
    json_t *object = child_object(source);

    assert_int_equal(json_object_set_new(object, "status", child_status(source, &made, NULL, NOW)),
                     0);
    return object;
}

static void what_was_published_matches_itself(void **state)
{
    _cleanup_(source) struct source *source = app();
    _cleanup_(json) json_t *object = published(source);
    struct artifact_record made = record();

    (void)state;
    assert_true(child_object_matches(object, source));
    assert_true(child_status_matches(object, &made));
    assert_int_equal(child_owner(object, source), CHILD_OURS);
}

static void additions_of_others_are_no_difference(void **state)
{
    _cleanup_(source) struct source *source = app();
    _cleanup_(json) json_t *object = published(source);
    json_t *metadata = json_object_get(object, "metadata");

    (void)state;
    json_object_set_new(json_object_get(metadata, "labels"), "team", json_string("x"));
    json_object_set_new(metadata, "annotations", json_pack("{s:s}", "a", "b"));
    json_object_set_new(metadata, "resourceVersion", json_string("9"));
    assert_true(child_object_matches(object, source));
}

static void every_change_of_what_is_ours_is_a_difference(void **state)
{
    static const char *const changes[] = {
        "{\"metadata\":{\"labels\":{\"app.kubernetes.io/managed-by\":\"me\"}}}",
        "{\"metadata\":{\"labels\":null}}",
        "{\"metadata\":{\"ownerReferences\":[]}}",
        "{\"spec\":{\"sourceRef\":{\"name\":\"other\"}}}",
        "{\"spec\":null}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        _cleanup_(source) struct source *source = app();
        _cleanup_(json) json_t *object = published(source);
        _cleanup_(json) json_t *change = json_loads(changes[i], 0, NULL);

        json_object_update_recursive(object, change);
        assert_false(child_object_matches(object, source));
    }
}

static void a_status_that_says_another_thing_is_a_difference(void **state)
{
    static const char *const changes[] = {
        "{\"artifact\":{\"digest\":\"sha256:cc\"}}",
        "{\"artifact\":{\"url\":\"http://evil/\"}}",
        "{\"artifact\":{\"metadata\":{\"a\":\"b\"}}}",
        "{\"artifact\":null}",
        "{\"conditions\":[]}",
        "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}",
    };
    struct artifact_record made = record();

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        _cleanup_(source) struct source *source = app();
        _cleanup_(json) json_t *object = published(source);
        _cleanup_(json) json_t *change = json_loads(changes[i], 0, NULL);

        json_object_update_recursive(json_object_get(object, "status"), change);
        assert_false(child_status_matches(object, &made));
    }
}

static void ready_keeps_the_time_since_when_it_is(void **state)
{
    _cleanup_(source) struct source *source = app();
    _cleanup_(json) json_t *object = published(source);
    struct artifact_record made = record();
    _cleanup_(json) json_t *again = child_status(source, &made, object, NOW + 3600000);

    (void)state;
    assert_true(json_equal(again, json_object_get(object, "status")));
}

static void the_shard_is_copied(void **state)
{
    _cleanup_(source) struct source *source =
        make_source("{\"namespace\":\"team\",\"name\":\"app\",\"uid\":\"u1\",\"labels\":"
                    "{\"sharding.fluxcd.io/key\":\"shard1\",\"other\":\"x\"}}");
    _cleanup_(json) json_t *object = child_object(source);
    const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");

    (void)state;
    assert_string_equal(json_get_string(labels, "sharding.fluxcd.io/key"), "shard1");
    assert_int_equal(json_object_size(labels), 2);
}

static void an_owner_decides_whose_it_is(void **state)
{
    static const struct {
        const char *change; /* to what we would publish */
        enum child_owner owner;
    } cases[] = {
        {"{}", CHILD_OURS},
        /* The reference implementation's, or one whose owner somebody took away: about us. */
        {"{\"metadata\":{\"ownerReferences\":[]}}", CHILD_OURS},
        {"{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"source.flux.oddkin.co/v1alpha1\","
         "\"kind\":\"ExternalSource\",\"name\":\"app\",\"uid\":\"u0\",\"controller\":true}]}}",
         CHILD_PREDECESSOR},
        {"{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","
         "\"name\":\"app\",\"uid\":\"u9\",\"controller\":true}]}}",
         CHILD_FOREIGN},
        {"{\"metadata\":{\"ownerReferences\":null},\"spec\":{\"sourceRef\":{\"kind\":\"Bucket\"}}}",
         CHILD_FOREIGN},
        {"{\"metadata\":{\"ownerReferences\":null},\"spec\":null}", CHILD_FOREIGN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(source) struct source *source = app();
        _cleanup_(json) json_t *object = published(source);
        _cleanup_(json) json_t *change = json_loads(cases[i].change, 0, NULL);

        json_object_update_recursive(object, change);
        assert_int_equal(child_owner(object, source), cases[i].owner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_published_matches_itself),
        cmocka_unit_test(additions_of_others_are_no_difference),
        cmocka_unit_test(every_change_of_what_is_ours_is_a_difference),
        cmocka_unit_test(a_status_that_says_another_thing_is_a_difference),
        cmocka_unit_test(ready_keeps_the_time_since_when_it_is),
        cmocka_unit_test(the_shard_is_copied),
        cmocka_unit_test(an_owner_decides_whose_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
