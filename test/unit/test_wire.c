/* Times and texts as the API takes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "kube/wire.h"

static void times_have_six_decimals(void **state)
{
    static const struct {
        int64_t wall_ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {INT64_C(1795603205042), "2026-11-25T10:40:05.042000Z"},
        {-1, "1969-12-31T23:59:59.999000Z"},
        {999, "1970-01-01T00:00:00.999000Z"},
    };
    char text[TIME_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        micro_time_format(cases[i].wall_ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void texts_are_cut_between_characters_and_made_valid(void **state)
{
    static const struct {
        const char *text;
        size_t bytes_max, characters_max;
        const char *expected;
    } cases[] = {
        {"plain", 128, 128, "plain"},
        {"plain", 3, 128, "pla"},
        {"plain", 128, 3, "pla"},
        {"plain", 0, 128, ""},
        {"", 128, 128, ""},
        {NULL, 128, 128, ""},
        {"a\xC3\xA9", 2, 128, "a"},
        {"a\xC3\xA9", 3, 128, "a\xC3\xA9"},
        {"\xC3\xA9\xC3\xA9", 128, 1, "\xC3\xA9"},
        {"\xF0\x9F\x98\x80", 3, 128, ""},
        {"a\xFFz", 128, 128, "a\xEF\xBF\xBDz"},
        {"a\xFFz", 3, 128, "a"},
        {"\xC3", 128, 128, "\xEF\xBF\xBD"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *text = wire_text(cases[i].text, cases[i].bytes_max, cases[i].characters_max);

        assert_string_equal(text, cases[i].expected);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_have_six_decimals),
        cmocka_unit_test(texts_are_cut_between_characters_and_made_valid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
