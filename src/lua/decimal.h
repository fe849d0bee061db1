/* JSON's number texts compared as what they are: decimals of any size, without converting them. */
#ifndef SLUICE_LUA_DECIMAL_H
#define SLUICE_LUA_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>

/* Less than, equal to or greater than 0 as the value of `a` is to that of `b`. Both are JSON
 * numbers. */
int decimal_compare(const char *a, size_t a_length, const char *b, size_t b_length);

/* Whether a plain Lua number can stand for the JSON number `text`, because it would be written as
 * the same value and type: an integer of less than 15 digits, or a decimal with a fraction that the
 * shortest text of its nearest double repeats. If so, *value is that double. 1.0, 1e3 and -0 are
 * not plain. */
bool decimal_is_plain(const char *text, size_t length, double *value);

/* The shortest of %.15g, %.16g and %.17g that reads back as `value`; integers up to 2^53 without
 * exponent, -0 as 0. Its length. */
size_t decimal_format(double value, char text[32]);

#endif
