/*
 * The scalar rules of go-yaml v2 (its resolve.go), which sigs.k8s.io/yaml and so kubectl use:
 * YAML 1.1's words and integers, without base 60, and with dates left as strings. Its one idea: a
 * number that JSON can write as it stands keeps its text.
 */
#include "base/yaml_scalar.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    enum yaml_type type;
} words[] = {
    {"", YAML_TYPE_NULL},
    {"~", YAML_TYPE_NULL},
    {"null", YAML_TYPE_NULL},
    {"Null", YAML_TYPE_NULL},
    {"NULL", YAML_TYPE_NULL},
    {"y", YAML_TYPE_TRUE},
    {"Y", YAML_TYPE_TRUE},
    {"yes", YAML_TYPE_TRUE},
    {"Yes", YAML_TYPE_TRUE},
    {"YES", YAML_TYPE_TRUE},
    {"true", YAML_TYPE_TRUE},
    {"True", YAML_TYPE_TRUE},
    {"TRUE", YAML_TYPE_TRUE},
    {"on", YAML_TYPE_TRUE},
    {"On", YAML_TYPE_TRUE},
    {"ON", YAML_TYPE_TRUE},
    {"n", YAML_TYPE_FALSE},
    {"N", YAML_TYPE_FALSE},
    {"no", YAML_TYPE_FALSE},
    {"No", YAML_TYPE_FALSE},
    {"NO", YAML_TYPE_FALSE},
    {"false", YAML_TYPE_FALSE},
    {"False", YAML_TYPE_FALSE},
    {"FALSE", YAML_TYPE_FALSE},
    {"off", YAML_TYPE_FALSE},
    {"Off", YAML_TYPE_FALSE},
    {"OFF", YAML_TYPE_FALSE},
    {".nan", YAML_TYPE_NOT_FINITE},
    {".NaN", YAML_TYPE_NOT_FINITE},
    {".NAN", YAML_TYPE_NOT_FINITE},
    {".inf", YAML_TYPE_NOT_FINITE},
    {".Inf", YAML_TYPE_NOT_FINITE},
    {".INF", YAML_TYPE_NOT_FINITE},
    {"+.inf", YAML_TYPE_NOT_FINITE},
    {"+.Inf", YAML_TYPE_NOT_FINITE},
    {"+.INF", YAML_TYPE_NOT_FINITE},
    {"-.inf", YAML_TYPE_NOT_FINITE},
    {"-.Inf", YAML_TYPE_NOT_FINITE},
    {"-.INF", YAML_TYPE_NOT_FINITE},
};

#define WORD_LENGTH_MAX 5

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static size_t count_digits(const char *text)
{
    size_t count = 0;

    while (is_digit(text[count]))
        count++;
    return count;
}

/* Base of an integer without its sign, as Go's strconv with base 0; moves past the prefix. */
static int integer_base(const char **digits)
{
    const char *text = *digits;
    char letter;

    if (text[0] != '0')
        return 10;
    letter = text[1] != '\0' && text[2] != '\0' ? text[1] : '\0';
    if (letter == 'x' || letter == 'X' || letter == 'b' || letter == 'B' || letter == 'o' ||
        letter == 'O') {
        *digits += 2;
        return letter == 'x' || letter == 'X' ? 16 : letter == 'b' || letter == 'B' ? 2 : 8;
    }
    *digits += 1;
    return 8;
}

static int digit_value(char byte)
{
    if (is_digit(byte))
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F')
        return byte - 'A' + 10;
    return 16;
}

/* Whether Go's ParseInt or, without a sign, ParseUint takes `text` (no underscores). */
static bool resolve_integer(const char *text, struct buffer *number)
{
    bool negative = text[0] == '-';
    bool sign = negative || text[0] == '+';
    const char *digits = text + sign;
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : sign ? INT64_MAX : UINT64_MAX;
    uint64_t value = 0;
    int base;

    if (digits[0] == '\0')
        return false;
    base = integer_base(&digits);
    for (; *digits != '\0'; digits++) {
        int digit = digit_value(*digits);

        if (digit >= base || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value) || value > limit)
            return false;
    }
    if (number)
        buffer_appendf(number, "%s%llu", negative && value > 0 ? "-" : "",
                       (unsigned long long)value);
    return true;
}

/* Whether `text` (no underscores) is [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? and no
 * overflow. */
static bool resolve_float(const char *text, struct buffer *number)
{
    bool sign = text[0] == '-' || text[0] == '+';
    const char *whole = text + sign;
    size_t whole_count = count_digits(whole);
    const char *rest = whole + whole_count;
    const char *fraction = rest + (*rest == '.');
    size_t fraction_count = *rest == '.' ? count_digits(fraction) : 0;
    const char *exponent = fraction + fraction_count;

    if (whole_count + fraction_count == 0)
        return false;
    if (*exponent == 'e' || *exponent == 'E') {
        const char *digits = exponent + 1 + (exponent[1] == '-' || exponent[1] == '+');
        size_t count = count_digits(digits);

        if (count == 0 || digits[count] != '\0')
            return false;
    } else if (*exponent != '\0') {
        return false;
    }
    if (isinf(strtod(text, NULL)))
        return false;
    if (!number)
        return true;
    for (; whole_count > 0 && *whole == '0'; whole_count--)
        whole++;
    buffer_append_string(number, text[0] == '-' ? "-" : "");
    if (whole_count > 0)
        buffer_append(number, whole, whole_count);
    else
        buffer_append_byte(number, '0');
    if (*rest == '.') {
        buffer_append_byte(number, '.');
        if (fraction_count > 0)
            buffer_append(number, fraction, fraction_count);
        else
            buffer_append_byte(number, '0');
    }
    buffer_append_string(number, exponent);
    return true;
}

/* A scalar that begins with a digit or a sign. */
static enum yaml_type resolve_number(const char *text, size_t length, struct buffer *number)
{
    _cleanup_(buffer) struct buffer plain = BUFFER_INIT;

    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\0' || !strchr("0123456789abcdefABCDEFxXoO_+-.", text[i]))
            return YAML_TYPE_STRING;
        if (text[i] != '_')
            buffer_append_byte(&plain, text[i]);
    }
    if (plain.failed) {
        if (number)
            number->failed = true;
        return YAML_TYPE_STRING;
    }
    if (resolve_integer(buffer_string(&plain), number))
        return YAML_TYPE_INTEGER;
    return resolve_float(buffer_string(&plain), number) ? YAML_TYPE_FLOAT : YAML_TYPE_STRING;
}

enum yaml_type yaml_resolve(const char *text, size_t length, struct buffer *number)
{
    if (length <= WORD_LENGTH_MAX) {
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            if (strlen(words[i].text) == length && memcmp(words[i].text, text, length) == 0)
                return words[i].type;
        }
    }
    if (length == 0)
        return YAML_TYPE_NULL;
    if (text[0] == '.') { /* here an underscore must stand between two digits */
        for (size_t i = 1; i < length; i++) {
            if (text[i] == '_' &&
                (!is_digit(text[i - 1]) || i + 1 == length || !is_digit(text[i + 1])))
                return YAML_TYPE_STRING;
        }
        return resolve_number(text, length, number);
    }
    if (is_digit(text[0]) || text[0] == '-' || text[0] == '+')
        return resolve_number(text, length, number);
    return YAML_TYPE_STRING;
}

bool yaml_is_ambiguous(const char *text, size_t length)
{
    bool digits_only = length > 0; /* [-+0-9_:.]: base 60 */
    size_t i = 0;

    if ((length == 1 && text[0] == '=') || (length == 2 && memcmp(text, "<<", 2) == 0))
        return true;
    while (i < length && is_digit(text[i]))
        i++;
    if (i == 4 && i < length && text[i] == '-')
        return true;
    for (i = 0; i < length; i++)
        digits_only &= text[i] != '\0' && strchr("0123456789_:.+-", text[i]) != NULL;
    return digits_only && memchr(text, ':', length) != NULL;
}
