/* The JSON reader that keeps numbers as they are written, and its refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_text.h"
#include "base/utf8.h"

/* Reads all of `json` and writes what was read as compact JSON again. */
static struct error *copy(const char *json, size_t length, size_t depth_max, struct buffer *out)
{
    static const char *const marks[] = {
        [JSON_EVENT_OBJECT] = "{",    [JSON_EVENT_OBJECT_END] = "}", [JSON_EVENT_ARRAY] = "[",
        [JSON_EVENT_ARRAY_END] = "]", [JSON_EVENT_TRUE] = "true",    [JSON_EVENT_FALSE] = "false",
        [JSON_EVENT_NULL] = "null"};
    _cleanup_(json_reader) struct json_reader reader = JSON_READER_INIT(json, length, depth_max);

    for (;;) {
        enum json_event event;
        struct error *error = json_reader_next(&reader, &event);

        if (error || event == JSON_EVENT_END)
            return error;
        if (event == JSON_EVENT_KEY || event == JSON_EVENT_STRING)
            json_text_string(out, reader.value, reader.value_length);
        else if (event == JSON_EVENT_NUMBER)
            buffer_append(out, reader.value, reader.value_length);
        else
            buffer_append_string(out, marks[event]);
        buffer_append_byte(out, ' ');
    }
}

static void values_are_read_as_written(void **state)
{
    static const char *const cases[][2] = {
        {" [ ] ", "[ ] "},
        {"{\"a\":[1,-0,1.0,1E+400],\"b\":{}}", "{ \"a\" [ 1 -0 1.0 1E+400 ] \"b\" { } } "},
        {"[true,false,null]", "[ true false null ] "},
        {"12345678901234567890.10", "12345678901234567890.10 "},
        {"\"\\u00e9\\ud83d\\ude00\\/\\b\\u001f\"", "\"é😀/\\b\\u001f\" "},
        {"{\"\":\"\",\"\":\"\"}", "{ \"\" \"\" \"\" \"\" } "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        _cleanup_(buffer) struct buffer out = BUFFER_INIT;

        assert_null(copy(cases[i][0], strlen(cases[i][0]), 10, &out));
        assert_string_equal(buffer_string(&out), cases[i][1]);
    }
}

static void what_is_not_json_is_refused_with_its_place(void **state)
{
    static const char *const cases[][2] = {
        {"", "line 1 column 1: expected a value, found the end of the text"},
        {"\n [1,]", "line 2 column 5: expected a value, found ']'"},
        {"{\"a\":1,}", "line 1 column 8: expected a key in double quotes, found '}'"},
        {"{a:1}", "line 1 column 2: expected a key in double quotes, found 'a'"},
        {"{\"a\" 1}", "line 1 column 6: expected ':' after the key, found '1'"},
        {"[1 2]", "line 1 column 4: expected ',' or ']', found '2'"},
        {"[1}", "line 1 column 3: expected ',' or ']', found '}'"},
        {"{\"é\":NaN}", "line 1 column 6: expected a value, found 'N'"},
        {"[-Infinity]", "line 1 column 3: expected a digit, found 'I'"},
        {"01", "line 1 column 2: a number must not begin with 0"},
        {"1.", "line 1 column 3: expected a digit after the decimal point, found the end of the "
               "text"},
        {"1e", "line 1 column 3: expected a digit of the exponent, found the end of the text"},
        {".5", "line 1 column 1: expected a value, found '.'"},
        {"+1", "line 1 column 1: expected a value, found '+'"},
        {"\"a\tb\"", "line 1 column 3: a string holds control character U+0009; write \\u0009"},
        {"\"a", "line 1 column 3: a string is not closed"},
        {"\"\\x\"", "line 1 column 2: a backslash must be followed by one of \" \\ / b f n r t u"},
        {"\"\\u12g4\"", "line 1 column 2: \\u needs four hexadecimal digits"},
        {"\"x\\ud800\"", "line 1 column 3: \\ud800 is half of a surrogate pair, which no text can "
                         "hold"},
        {"\"\\udc00\\ud800\"", "line 1 column 2: \\udc00 is half of a surrogate pair, which no "
                               "text can hold"},
        {"\"\xc3\x28\"", "line 1 column 2: byte 0xc3 is not UTF-8"},
        {"\"\xed\xa0\x80\"", "line 1 column 2: byte 0xed is not UTF-8"},
        {"\"\xc0\x80\"", "line 1 column 2: byte 0xc0 is not UTF-8"},
        {"\xEF\xBB\xBF{}", "line 1 column 1: expected a value, found a byte order mark"},
        {"nul", "line 1 column 1: expected a value, found 'n'"},
        {"1 2", "line 1 column 3: expected the end of the text, found '2'"},
        {"[[[[]]]]", "line 1 column 4: nested deeper than 3 levels"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        _cleanup_(buffer) struct buffer out = BUFFER_INIT;
        _cleanup_(error) struct error *error = copy(cases[i][0], strlen(cases[i][0]), 3, &out);

        assert_non_null(error);
        assert_string_equal(error->reason, "InvalidJSON");
        assert_string_equal(error->message, cases[i][1]);
    }
}

static void no_truncated_document_is_read(void **state)
{
    static const char json[] = "{\"a\\u00e9\":[1.5e-3,{\"b\":\"x\\\\\"},true,null]}";

    (void)state;
    for (size_t length = 0; length < strlen(json); length++) {
        _cleanup_(buffer) struct buffer out = BUFFER_INIT;
        char *exact = malloc(length + 1); /* so that a read past the end is seen */
        _cleanup_(error) struct error *error = NULL;

        assert_non_null(exact);
        memcpy(exact, json, length);
        exact = realloc(exact, length ? length : 1);
        error = copy(exact, length, 10, &out);
        free(exact);
        assert_non_null(error);
    }
}

static void utf8_is_decoded_strictly(void **state)
{
    static const struct {
        const char *text;
        size_t count;
        uint32_t code_point;
    } cases[] = {
        {"a", 1, 'a'},
        {"\xc3\xa9", 2, 0xE9},
        {"\xe2\x82\xac", 3, 0x20AC},
        {"\xf0\x9f\x98\x80", 4, 0x1F600},
        {"\xf4\x8f\xbf\xbf", 4, 0x10FFFF},
        {"\xf4\x90\x80\x80", 0, 0},
        {"\xc1\xbf", 0, 0},
        {"\xe0\x9f\xbf", 0, 0},
        {"\xed\xbf\xbf", 0, 0},
        {"\xf0\x8f\xbf\xbf", 0, 0},
        {"\x80", 0, 0},
        {"\xe2\x82", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t code_point = 0;

        assert_int_equal(utf8_decode(cases[i].text, strlen(cases[i].text), &code_point),
                         cases[i].count);
        if (cases[i].count > 0)
            assert_int_equal(code_point, cases[i].code_point);
    }
    assert_int_equal(utf8_valid_prefix("ab\xff", 3), 2);
    assert_int_equal(utf8_clip("a\xc3\xa9", 3, 2), 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_as_written),
        cmocka_unit_test(what_is_not_json_is_refused_with_its_place),
        cmocka_unit_test(no_truncated_document_is_read),
        cmocka_unit_test(utf8_is_decoded_strictly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
