/* Merge patches (RFC 7386): whatever is patched with what was made of it becomes what was wanted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/json.h"

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

    assert_non_null(value);
    return value;
}

static void a_merge_patch_holds_just_what_differs(void **state)
{
    static const struct {
        const char *from;
        const char *to;
        const char *patch;
    } cases[] = {
        {"{}", "{}", "{}"},
        {"{\"a\":1}", "{\"a\":1}", "{}"},
        {"{\"a\":1}", "{\"a\":2}", "{\"a\":2}"},
        {"{\"a\":1}", "{}", "{\"a\":null}"},
        {"{}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"},
        {"{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1}}", "{\"a\":{\"c\":null}}"},
        {"{\"a\":[1,2]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"{\"a\":{\"b\":1}}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"{\"a\":[1]}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(json) json_t *from = parse(cases[i].from);
        _cleanup_(json) json_t *to = parse(cases[i].to);
        _cleanup_(json) json_t *expected = parse(cases[i].patch);
        _cleanup_(json) json_t *patch = json_merge_patch(from, to);

        assert_true(json_equal(patch, expected));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_merge_patch_holds_just_what_differs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
