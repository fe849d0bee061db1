/*
 * Decimals as text. Its one idea: a number is its significant digits and the place of the first of
 * them, and digits can be walked over in the text itself.
 */
#include "lua/decimal.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From this many digits on an integer is exact; up to one less, %.14g, with which Lua prints
 * numbers, is. */
#define EXACT_DIGITS 15
#define EXPONENT_MAX (LONG_MAX / 4)

struct decimal {
    bool negative, zero;
    long place;         /* power of ten of the first significant digit */
    const char *digits; /* from there to `end`; a point may stand between */
    const char *end;
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static long read_exponent(const char *text, const char *end)
{
    bool negative = text < end && *text == '-';
    long value = 0;

    for (; text < end; text++) {
        if (is_digit(*text) && value < EXPONENT_MAX / 10)
            value = value * 10 + (*text - '0');
    }
    return negative ? -value : value;
}

static struct decimal read_decimal(const char *text, size_t length)
{
    struct decimal decimal = {.negative = length > 0 && text[0] == '-'};
    const char *end = text + length;
    const char *point = NULL;

    text += decimal.negative;
    decimal.end = text;
    while (decimal.end < end && *decimal.end != 'e' && *decimal.end != 'E') {
        if (*decimal.end == '.')
            point = decimal.end;
        decimal.end++;
    }
    for (decimal.digits = text; decimal.digits < decimal.end; decimal.digits++) {
        if (is_digit(*decimal.digits) && *decimal.digits != '0')
            break;
    }
    decimal.zero = decimal.digits == decimal.end;
    if (!point)
        point = decimal.end;
    decimal.place = point > decimal.digits ? point - decimal.digits - 1 : point - decimal.digits;
    if (decimal.end < end)
        decimal.place += read_exponent(decimal.end + 1, end);
    return decimal;
}

/* The next digit, '0' without end once there is none. */
static char next_digit(struct decimal *decimal)
{
    if (decimal->digits < decimal->end && *decimal->digits == '.')
        decimal->digits++;
    return decimal->digits < decimal->end ? *decimal->digits++ : '0';
}

static int compare_magnitudes(struct decimal a, struct decimal b)
{
    if (a.place != b.place)
        return a.place < b.place ? -1 : 1;
    while (a.digits < a.end || b.digits < b.end) {
        char digit_a = next_digit(&a), digit_b = next_digit(&b);

        if (digit_a != digit_b)
            return digit_a < digit_b ? -1 : 1;
    }
    return 0;
}

static int sign(const struct decimal *decimal)
{
    return decimal->zero ? 0 : decimal->negative ? -1 : 1;
}

int decimal_compare(const char *a_text, size_t a_length, const char *b_text, size_t b_length)
{
    struct decimal a = read_decimal(a_text, a_length);
    struct decimal b = read_decimal(b_text, b_length);

    if (sign(&a) != sign(&b))
        return sign(&a) < sign(&b) ? -1 : 1;
    return sign(&a) * compare_magnitudes(a, b);
}

size_t decimal_format(double value, char text[32])
{
    int length = 0;

    if (value == 0)
        value = 0; /* without its sign */
    if (value == floor(value) && fabs(value) <= 9007199254740992.0)
        return (size_t)snprintf(text, 32, "%.0f", value);
    for (int digits = 15; digits <= 17; digits++) {
        length = snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return (size_t)length;
}

/* `text` has a fraction or an exponent and is NUL-terminated. */
static bool fraction_is_plain(const char *text, size_t length, double *value)
{
    char shortest[32];

    *value = strtod(text, NULL);
    if (!isfinite(*value) || *value == floor(*value))
        return false;
    if (length <= EXACT_DIGITS + 1 && !strpbrk(text, "eE"))
        return true; /* every double repeats 15 digits */
    return decimal_compare(text, length, shortest, decimal_format(*value, shortest)) == 0;
}

bool decimal_is_plain(const char *text, size_t length, double *value)
{
    char copy[64];
    size_t digits = 0;

    while (digits < length && (is_digit(text[digits]) || text[digits] == '-'))
        digits++;
    if (digits == length) {
        long long integer = 0;
        bool negative = text[0] == '-';

        if (length - negative >= EXACT_DIGITS)
            return false;
        for (size_t i = negative; i < length; i++)
            integer = integer * 10 + (text[i] - '0');
        *value = (double)(negative ? -integer : integer);
        return !(negative && integer == 0);
    }
    if (length >= sizeof copy)
        return false; /* no double's shortest text is as long; at worst its zeros are kept */
    memcpy(copy, text, length);
    copy[length] = '\0';
    return fraction_is_plain(copy, length, value);
}
