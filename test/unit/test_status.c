/* The status of a source, which is all that a restarted process knows, and the source around it:
 * what is written is read back, and what people put there by hand does no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <string.h>

#include "base/json.h"
#include "source/source.h"

#define NOW_MS 1795576080000 /* 2026-11-25T03:08:00Z */

/* A status with a value in every field (free it). */
static struct source_status *full_status(void)
{
    struct source_status *status = source_status_new();
    struct artifact_record *record = calloc(1, sizeof(*record));
    struct error *error = NULL;

    assert_non_null(status);
    assert_non_null(record);
    *record = (struct artifact_record){
        .path = strdup("artifacts/team-a/one/aa.tar.gz"),
        .url = strdup("http://127.0.0.1:8080/artifacts/team-a/one/aa.tar.gz"),
        .revision = strdup("latest@sha256:aa"),
        .digest = strdup("sha256:bb"),
        .size = (uint64_t)1 << 40,
        .last_update_ms = NOW_MS,
        .metadata = json_pack("{s:s, s:s}", "station", "7", "empty", ""),
    };
    status->artifact = record;
    condition_set(&status->conditions, CONDITION_READY, CONDITION_FALSE, "FetchFailed", "no answer",
                  7, NOW_MS, &error);
    condition_set(&status->conditions, CONDITION_RECONCILING, CONDITION_TRUE,
                  "ProgressingWithRetry", "again", 8, NOW_MS + 1000, &error);
    assert_null(error);
    status->last_handled_etag = strdup("W/\"\xc3\xa9\"");
    status->inputs_digest = strdup("sha256:cc");
    status->observed_generation = 7;
    status->last_handled_reconcile_at = strdup("2026-11-25 03:08:00 +0000 UTC m=+1.5");
    status->last_handled_force_at = strdup("token");
    status->last_handled_artifact_reconcile_at = strdup("another token");
    status->retry_inputs_digest = strdup("sha256:dd");
    status->retry_count = UINT_MAX - 1;
    status->retry_not_before_ms = NOW_MS + 30000;
    return status;
}

static void assert_same(const struct source_status *found, const struct source_status *expected)
{
    _cleanup_(json) json_t *found_conditions = condition_list_to_json(&found->conditions);
    _cleanup_(json) json_t *conditions = condition_list_to_json(&expected->conditions);

    assert_true(json_equal(found_conditions, conditions));
    assert_true(artifact_record_equal(found->artifact, expected->artifact));
    assert_string_equal(found->last_handled_etag, expected->last_handled_etag);
    assert_string_equal(found->inputs_digest, expected->inputs_digest);
    assert_int_equal(found->observed_generation, expected->observed_generation);
    assert_string_equal(found->last_handled_reconcile_at, expected->last_handled_reconcile_at);
    assert_string_equal(found->last_handled_force_at, expected->last_handled_force_at);
    assert_string_equal(found->last_handled_artifact_reconcile_at,
                        expected->last_handled_artifact_reconcile_at);
    assert_string_equal(found->retry_inputs_digest, expected->retry_inputs_digest);
    assert_int_equal(found->retry_count, expected->retry_count);
    assert_int_equal(found->retry_not_before_ms, expected->retry_not_before_ms);
}

static void every_field_survives_being_written_and_read(void **state)
{
    _cleanup_(source_status) struct source_status *status = full_status();
    _cleanup_(source_status) struct source_status *read = NULL;
    _cleanup_(json) json_t *json = source_status_to_json(status);

    (void)state;
    assert_non_null(json);
    assert_null(source_status_parse(json, &read));
    assert_same(read, status);
}

static void fields_have_the_names_that_users_know(void **state)
{
    static const char *const names[] = {
        "artifact",
        "conditions",
        "inputsDigest",
        "lastHandledArtifactReconcileAt",
        "lastHandledETag",
        "lastHandledForceAt",
        "lastHandledReconcileAt",
        "observedGeneration",
        "retry",
    };
    _cleanup_(source_status) struct source_status *status = full_status();
    _cleanup_(json) json_t *json = source_status_to_json(status);

    (void)state;
    assert_int_equal(json_object_size(json), sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!json_object_get(json, names[i]))
            fail_msg("there is no %s", names[i]);
    }
    assert_string_equal(json_get_string(json_object_get(json, "artifact"), "lastUpdateTime"),
                        "2026-11-25T03:08:00Z");
    assert_string_equal(json_get_string(json_object_get(json, "retry"), "notBefore"),
                        "2026-11-25T03:08:30Z");
}

static void a_copy_is_the_same_and_stands_alone(void **state)
{
    struct source_status *status = full_status();
    _cleanup_(source_status) struct source_status *copy = source_status_copy(status);
    _cleanup_(source_status) struct source_status *again = full_status();

    (void)state;
    assert_same(copy, status);
    source_status_free(status);
    assert_same(copy, again);
}

static void a_new_status_is_empty_and_stays_so(void **state)
{
    _cleanup_(source_status) struct source_status *status = source_status_new();
    _cleanup_(source_status) struct source_status *copy = source_status_copy(status);
    _cleanup_(json) json_t *json = source_status_to_json(copy);
    _cleanup_(json) json_t *expected =
        json_pack("{s:i, s:[]}", "observedGeneration", -1, "conditions");

    (void)state;
    assert_true(json_equal(json, expected));
}

/* Nothing may be tried early after a restart. */
static void a_retry_is_never_remembered_as_earlier(void **state)
{
    (void)state;
    for (int64_t ms = 1; ms < 1000; ms += 499) {
        _cleanup_(source_status) struct source_status *status = source_status_new();
        _cleanup_(source_status) struct source_status *read = NULL;

        status->retry_count = 1;
        status->retry_not_before_ms = NOW_MS + ms;
        _cleanup_(json) json_t *json = source_status_to_json(status);
        assert_null(source_status_parse(json, &read));
        assert_int_equal(read->retry_not_before_ms, NOW_MS + 1000);
    }
}

static void what_is_of_the_wrong_type_counts_as_not_there(void **state)
{
    static const char *const texts[] = {
        "null",
        "7",
        "[]",
        "{}",
        "{\"observedGeneration\": \"7\", \"conditions\": {}, \"artifact\": [], \"retry\": 3,"
        " \"lastHandledETag\": 7, \"inputsDigest\": null, \"lastHandledReconcileAt\": {},"
        " \"lastHandledForceAt\": [], \"lastHandledArtifactReconcileAt\": false}",
        "{\"conditions\": [1, null, {}], \"artifact\": {\"path\": \"x\", \"revision\": 7}}",
        "{\"retry\": {\"inputsDigest\": 1, \"count\": -1, \"notBefore\": \"soon\"}}",
        "{\"retry\": {\"count\": 4294967295, \"notBefore\": 7}}",
        "{\"retry\": {\"count\": 9223372036854775807}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        _cleanup_(json) json_t *json = NULL;
        _cleanup_(source_status) struct source_status *status = NULL;

        assert_null(json_parse(texts[i], strlen(texts[i]), &json));
        assert_null(source_status_parse(json, &status));
        assert_int_equal(status->observed_generation, -1);
        assert_int_equal(status->conditions.count, 0);
        assert_null(status->artifact);
        assert_null(status->last_handled_etag);
        assert_null(status->inputs_digest);
        assert_null(status->last_handled_reconcile_at);
        assert_null(status->last_handled_force_at);
        assert_null(status->last_handled_artifact_reconcile_at);
        assert_null(status->retry_inputs_digest);
        assert_int_equal(status->retry_count, 0);
        assert_int_equal(status->retry_not_before_ms, 0);
    }
}

static void parts_of_an_artifact_may_be_missing(void **state)
{
    _cleanup_(json) json_t *json =
        json_pack("{s:{s:s, s:i, s:s, s:{s:s, s:i}}}", "artifact", "revision", "r", "size", -1,
                  "lastUpdateTime", "yesterday", "metadata", "a", "b", "c", 1);
    _cleanup_(source_status) struct source_status *status = NULL;

    (void)state;
    assert_null(source_status_parse(json, &status));
    assert_string_equal(status->artifact->revision, "r");
    assert_null(status->artifact->url);
    assert_int_equal(status->artifact->size, 0);
    assert_int_equal(status->artifact->last_update_ms, 0);
    assert_int_equal(json_object_size(status->artifact->metadata), 1);
    assert_string_equal(json_get_string(status->artifact->metadata, "a"), "b");
}

static void records_are_equal_in_every_field_or_not_at_all(void **state)
{
    _cleanup_(source_status) struct source_status *status = full_status();

    (void)state;
    for (int field = 0; field < 9; field++) {
        _cleanup_(artifact_record) struct artifact_record *other =
            artifact_record_copy(status->artifact);
        char **const texts[] = {&other->path, &other->url, &other->revision, &other->digest};

        assert_true(artifact_record_equal(status->artifact, other));
        if (field < 4) {
            free(*texts[field]);
            *texts[field] = field % 2 ? strdup("other") : NULL;
        } else if (field == 4) {
            other->size++;
        } else if (field == 5) {
            other->last_update_ms++;
        } else {
            json_decref(other->metadata);
            other->metadata = field == 6   ? NULL
                              : field == 7 ? json_object()
                                           : json_pack("{s:s, s:s}", "station", "8", "empty", "");
        }
        assert_false(artifact_record_equal(status->artifact, other));
        assert_false(artifact_record_equal(other, status->artifact));
    }
}

static void names_are_those_that_kubernetes_takes(void **state)
{
    char longest[255];
    static const struct {
        const char *name;
        bool object;
        bool namespace_name;
    } cases[] = {
        {"a", true, true},      {"0", true, true},      {"a-b", true, true},
        {"a--b", true, true},   {"a.b", true, false},   {"", false, false},
        {"-a", false, false},   {"a-", false, false},   {"A", false, false},
        {"a_b", false, false},  {".", false, false},    {"..", false, false},
        {"a..b", false, false}, {".a", false, false},   {"a.", false, false},
        {"a/b", false, false},  {"a b", false, false},  {"\xc3\xa9", false, false},
        {"a.-b", false, false}, {"a\nb", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (object_name_valid(cases[i].name) != cases[i].object ||
            namespace_name_valid(cases[i].name) != cases[i].namespace_name)
            fail_msg("'%s' is judged wrongly", cases[i].name);
    }
    memset(longest, 'a', sizeof(longest));
    longest[63] = '\0';
    assert_true(namespace_name_valid(longest));
    longest[63] = 'a';
    longest[64] = '\0';
    assert_false(namespace_name_valid(longest));
    longest[64] = 'a';
    longest[253] = '\0';
    assert_true(object_name_valid(longest));
    longest[253] = 'a';
    longest[254] = '\0';
    assert_false(object_name_valid(longest));
}

static void a_source_is_read_from_its_object(void **state)
{
    _cleanup_(json) json_t *object =
        json_pack("{s:{s:s, s:s, s:s, s:s, s:i, s:s, s:[s, i, s], s:{s:s, s:i}, s:{s:s}},"
                  " s:{s:s, s:{s:s}}, s:{s:i}}",
                  "metadata", "name", "one", "namespace", "team-a", "uid", "u", "resourceVersion",
                  "v7", "generation", 7, "deletionTimestamp", "2026-11-25T03:08:00Z", "finalizers",
                  "other", 1, SOURCE_FINALIZER, "labels", "a", "b", "number", 1, "annotations",
                  ANNOTATION_REQUESTED_AT, "t", "spec", "interval", "5m", "generator", "type",
                  "http", "status", "observedGeneration", 6);
    _cleanup_(source) struct source *source = NULL;
    char *path;

    (void)state;
    assert_non_null(object);
    assert_null(source_parse(object, &source, &path));
    assert_null(path);
    assert_null(source->fault);
    assert_string_equal(source->name, "one");
    assert_string_equal(source->namespace_name, "team-a");
    assert_string_equal(source->uid, "u");
    assert_string_equal(source->resource_version, "v7");
    assert_int_equal(source->generation, 7);
    assert_true(source->deleting);
    assert_true(source->has_finalizer);
    assert_int_equal(json_object_size(source->labels), 1);
    assert_string_equal(json_get_string(source->annotations, ANNOTATION_REQUESTED_AT), "t");
    assert_int_equal(source->spec->interval_ms, 300000);
    assert_int_equal(source->status->observed_generation, 6);
}

static void a_fault_of_the_spec_leaves_the_source_readable(void **state)
{
    _cleanup_(json) json_t *object = json_pack("{s:{s:s, s:s}, s:{s:s}}", "metadata", "name", "one",
                                               "namespace", "a", "spec", "interval", "1s");
    _cleanup_(source) struct source *source = NULL;
    _cleanup_(free) char *path = NULL;

    (void)state;
    assert_null(source_parse(object, &source, &path));
    assert_string_equal(path, "spec.interval");
    assert_null(source->spec);
    assert_string_equal(source->fault->reason, "InvalidSpec");
    assert_string_equal(source->uid, "");
    assert_false(source->deleting);
    assert_false(source->has_finalizer);
    assert_int_equal(json_object_size(source->labels), 0);
    assert_int_equal(source->status->observed_generation, -1);
    /* whoever does not ask for the path need not free it */
    struct source *other;
    assert_null(source_parse(object, &other, NULL));
    source_unref(source_ref(other));
    source_unref(other);
}

static void an_object_without_names_is_an_error(void **state)
{
    static const char *const cases[][2] = {
        {"{}", "metadata.name: found ''; accepted: a name of lower-case letters, digits, '-' and "
               "'.'"},
        {"{\"metadata\": {\"name\": \"One\", \"namespace\": \"a\"}}",
         "metadata.name: found 'One'; accepted: a name of lower-case letters, digits, '-' and '.'"},
        {"{\"metadata\": {\"name\": \"one\"}}",
         "metadata.namespace: found ''; accepted: a name of lower-case letters, digits and '-'"},
        {"{\"metadata\": {\"name\": \"one\", \"namespace\": \"a.b\"}}",
         "metadata.namespace: found 'a.b'; accepted: a name of lower-case letters, digits and '-'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(json) json_t *object = NULL;
        struct source *source;

        assert_null(json_parse(cases[i][0], strlen(cases[i][0]), &object));
        _cleanup_(error) struct error *error = source_parse(object, &source, NULL);
        assert_non_null(error);
        assert_null(source);
        assert_int_equal(error->kind, ERROR_CONFIGURATION);
        assert_string_equal(error->message, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives_being_written_and_read),
        cmocka_unit_test(fields_have_the_names_that_users_know),
        cmocka_unit_test(a_copy_is_the_same_and_stands_alone),
        cmocka_unit_test(a_new_status_is_empty_and_stays_so),
        cmocka_unit_test(a_retry_is_never_remembered_as_earlier),
        cmocka_unit_test(what_is_of_the_wrong_type_counts_as_not_there),
        cmocka_unit_test(parts_of_an_artifact_may_be_missing),
        cmocka_unit_test(records_are_equal_in_every_field_or_not_at_all),
        cmocka_unit_test(names_are_those_that_kubernetes_takes),
        cmocka_unit_test(a_source_is_read_from_its_object),
        cmocka_unit_test(a_fault_of_the_spec_leaves_the_source_readable),
        cmocka_unit_test(an_object_without_names_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
