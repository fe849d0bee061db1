/* What an error carries, and which reasons Lua may give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/error.h"

static void a_field_stays_with_an_error_that_is_wrapped_or_copied(void **state)
{
    _cleanup_(error) struct error *error =
        error_about_field(error_new(ERROR_CONFIGURATION, "InvalidSpec", "no"), "spec.interval");
    _cleanup_(error) struct error *copy = NULL;

    (void)state;
    error = error_wrap(error, "a.yaml:%d", 3);
    copy = error_copy(error);
    assert_string_equal(copy->message, "a.yaml:3: no");
    assert_string_equal(copy->field, "spec.interval");
    copy = error_about_field(copy, NULL);
    assert_string_equal(copy->field, "spec.interval");
    copy = error_about_field(copy, "spec");
    assert_string_equal(copy->field, "spec");
}

static void without_memory_nothing_is_changed(void **state)
{
    struct error *error = error_about_field(error_out_of_memory(), "spec");

    (void)state;
    assert_ptr_equal(error, error_out_of_memory());
    assert_null(error->field);
    assert_null(error_about_field(NULL, "spec"));
}

static void a_message_is_utf8_whatever_it_quotes(void **state)
{
    _cleanup_(error) struct error *error =
        error_new(ERROR_TRANSIENT, "X", "near '%s', \xc3\xa9 %s", "\xd0", "\xff\xfe.\xe2\x82");

    (void)state;
    assert_string_equal(error->message, "near '?', \xc3\xa9 ??.??");
    error = error_wrap(error, "%s", "\xc3");
    assert_string_equal(error->message, "?: near '?', \xc3\xa9 ??.??");
}

static void reasons_from_lua_are_camel_case_of_some_length(void **state)
{
    static const struct {
        const char *reason;
        bool valid;
    } cases[] = {
        {"A", true},           {"NoForecast", true},   {"Http2Failed", true},  {"", false},
        {"noForecast", false}, {"No forecast", false}, {"No_Forecast", false}, {"N\xc3\xa4", false},
        {"2Many", false},
    };
    char reason[sizeof(((struct error *)NULL)->reason) + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(error_reason_valid(cases[i].reason, strlen(cases[i].reason)),
                         cases[i].valid);
    assert_false(error_reason_valid(NULL, 0));
    assert_false(error_reason_valid("A\0B", 3));
    memset(reason, 'A', sizeof(reason));
    assert_true(error_reason_valid(reason, sizeof(reason) - 2));
    assert_false(error_reason_valid(reason, sizeof(reason) - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_stays_with_an_error_that_is_wrapped_or_copied),
        cmocka_unit_test(without_memory_nothing_is_changed),
        cmocka_unit_test(a_message_is_utf8_whatever_it_quotes),
        cmocka_unit_test(reasons_from_lua_are_camel_case_of_some_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
