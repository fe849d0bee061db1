/* Conditions: what the API takes, and when a transition is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/json.h"
#include "source/condition.h"

static bool set(struct condition_list *list, enum condition_status status, const char *reason,
                const char *message, int64_t now_ms)
{
    struct error *error = NULL;
    bool changed = condition_set(list, CONDITION_READY, status, reason, message, 1, now_ms, &error);

    assert_null(error);
    return changed;
}

static void only_a_change_of_status_is_a_transition(void **state)
{
    struct condition_list list = {NULL, 0};

    (void)state;
    assert_true(set(&list, CONDITION_TRUE, "Succeeded", "a", 1000));
    assert_false(set(&list, CONDITION_TRUE, "Succeeded", "a", 2000));
    assert_true(set(&list, CONDITION_TRUE, "Succeeded", "b", 3000));
    assert_int_equal(condition_find(&list, CONDITION_READY)->last_transition_ms, 1000);
    assert_true(set(&list, CONDITION_FALSE, "FetchFailed", "b", 4000));
    assert_int_equal(condition_find(&list, CONDITION_READY)->last_transition_ms, 4000);
    condition_list_free(&list);
}

static void what_the_api_would_refuse_is_mended(void **state)
{
    const struct {
        const char *reason;
        const char *mended;
    } reasons[] = {{"NoDays", "NoDays"},
                   {"", "GeneratorFailed"},
                   {"no days", "GeneratorFailed"},
                   {"7up", "GeneratorFailed"},
                   {"Trailing:", "GeneratorFailed"},
                   {"A_b:c,d1", "A_b:c,d1"}};
    char longest[3000];

    (void)state;
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        struct condition_list list = {NULL, 0};

        set(&list, CONDITION_FALSE, reasons[i].reason, "a\nb\xff", 0);
        assert_string_equal(condition_find(&list, CONDITION_READY)->reason, reasons[i].mended);
        assert_string_equal(condition_find(&list, CONDITION_READY)->message, "a b\xef\xbf\xbd");
        condition_list_free(&list);
    }
    struct condition_list list = {NULL, 0};
    for (size_t i = 0; i + 2 < sizeof(longest); i += 2)
        memcpy(longest + i, "é", 3);
    set(&list, CONDITION_FALSE, "X", longest, 0);
    assert_int_equal(strlen(condition_find(&list, CONDITION_READY)->message),
                     CONDITION_MESSAGE_MAX);
    condition_list_free(&list);
}

static void a_list_survives_being_written_and_read(void **state)
{
    struct condition_list list = {NULL, 0};
    struct condition_list read;
    struct error *error = NULL;

    (void)state;
    set(&list, CONDITION_TRUE, "Succeeded", "stored", 1795489680000);
    condition_set(&list, CONDITION_FETCHING, CONDITION_TRUE, "Progressing", "m", 2, 1000, &error);
    assert_null(error);
    _cleanup_(json) json_t *json = condition_list_to_json(&list);
    assert_string_equal(json_get_string(json_array_get(json, 0), "type"), CONDITION_FETCHING);
    assert_null(condition_list_from_json(json, &read));
    _cleanup_(json) json_t *again = condition_list_to_json(&read);
    assert_true(json_equal(json, again));
    assert_true(condition_remove(&read, CONDITION_FETCHING));
    assert_false(condition_remove(&read, CONDITION_FETCHING));
    assert_int_equal(read.count, 1);
    condition_list_free(&list);
    condition_list_free(&read);
}

static void what_is_no_condition_is_passed_over(void **state)
{
    struct condition_list list;
    _cleanup_(json) json_t *json = json_pack(
        "[{s:s}, s, {s:s, s:s, s:s, s:s, s:s}]", "type", "Ready", "x", "type", "Ready", "status",
        "Maybe", "reason", "R", "message", "", "lastTransitionTime", "2026-01-01T00:00:00Z");

    (void)state;
    assert_null(condition_list_from_json(json, &list));
    assert_int_equal(list.count, 0);
    condition_list_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_change_of_status_is_a_transition),
        cmocka_unit_test(what_the_api_would_refuse_is_mended),
        cmocka_unit_test(a_list_survives_being_written_and_read),
        cmocka_unit_test(what_is_no_condition_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
