/* JSON that the API server stores and jansson refuses: nothing of it may hide what is beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "kube/api_json.h"

static void assert_reads_as(const char *text, const char *expected)
{
    _cleanup_(json) json_t *value = NULL;
    _cleanup_(buffer) struct buffer written = BUFFER_INIT;
    struct error *error = api_json_parse(text, strlen(text), &value);

    if (error)
        fail_msg("%s: %s", text, error->message);
    json_write(&written, value);
    assert_string_equal(buffer_string(&written), expected);
}

/* `depth` containers, one in the other, around "1". */
static char *nested(char open, char close, size_t depth)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;

    for (size_t i = 0; i < depth; i++)
        buffer_appendf(&text, open == '{' ? "{\"a\":" : "[");
    buffer_append_byte(&text, '1');
    for (size_t i = 0; i < depth; i++)
        buffer_append_byte(&text, close);
    return buffer_steal(&text);
}

static void what_jansson_reads_is_read_as_it_is(void **state)
{
    (void)state;
    assert_reads_as("{\"b\":[1,-2.5,true,false,null,\"x\\u0000y\"],\"a\":{}}",
                    "{\"a\":{},\"b\":[1,-2.5,true,false,null,\"x\\u0000y\"]}");
}

static void integers_beyond_64_bits_become_real(void **state)
{
    (void)state;
    assert_reads_as("[100000000000000000000,{\"a\":-9223372036854775809},9223372036854775807,[]]",
                    "[1e20,{\"a\":-9.2233720368547758e18},9223372036854775807,[]]");
}

static void a_nul_in_a_key_is_replaced(void **state)
{
    (void)state;
    assert_reads_as("{\"a\\u0000b\":\"c\\u0000d\",\"e\":[true,false,null,{}]}",
                    "{\"a\xef\xbf\xbd"
                    "b\":\"c\\u0000d\",\"e\":[true,false,null,{}]}");
}

static void what_is_nested_too_deeply_is_cut_and_nothing_else(void **state)
{
    static const size_t depths[] = {2048, 2049, 5000, 10000};
    static const char brackets[][2] = {{'{', '}'}, {'[', ']'}};

    (void)state;
    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
        for (size_t j = 0; j < 2; j++) {
            _cleanup_(free) char *deep = nested(brackets[j][0], brackets[j][1], depths[i]);
            _cleanup_(free) char *text =
                format_string("{\"before\":[1,2],\"deep\":%s,\"after\":{\"x\":\"y\"}}", deep);
            _cleanup_(json) json_t *value = NULL;
            _cleanup_(buffer) struct buffer written = BUFFER_INIT;

            assert_null(api_json_parse(text, strlen(text), &value));
            json_write(&written, value);
            assert_non_null(strstr(buffer_string(&written), API_JSON_TOO_DEEP));
            assert_int_equal(json_array_size(json_object_get(value, "before")), 2);
            assert_string_equal(json_get_string(json_object_get(value, "after"), "x"), "y");
            /* And what was written can be read by everybody. */
            json_t *again = NULL;
            assert_null(json_parse(buffer_string(&written), written.length, &again));
            json_decref(again);
        }
    }
}

static void what_is_no_json_is_still_refused(void **state)
{
    static const char *const texts[] = {
        "",           "{", "[1,]", "{\"a\":1e400}", "{\"a\\u0000\":}", "[100000000000000000000",
        "\"\\ud800\""};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *value = NULL;
        struct error *error = api_json_parse(texts[i], strlen(texts[i]), &value);

        assert_non_null(error);
        assert_null(value);
        assert_string_equal(error->reason, "InvalidJSON");
        error_free(error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_jansson_reads_is_read_as_it_is),
        cmocka_unit_test(integers_beyond_64_bits_become_real),
        cmocka_unit_test(a_nul_in_a_key_is_replaced),
        cmocka_unit_test(what_is_nested_too_deeply_is_cut_and_nothing_else),
        cmocka_unit_test(what_is_no_json_is_still_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
