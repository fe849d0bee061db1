/* See clock.h. Civil dates by Howard Hinnant's algorithms, so that no time zone database is asked.
 */
#include "base/clock.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS_PER_DAY INT64_C(86400000)
#define DURATION_MAX_MS (INT64_C(100) * 366 * MS_PER_DAY)

static int64_t read_clock(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_wall_ms(void *context)
{
    (void)context;
    return read_clock(CLOCK_REALTIME);
}

static int64_t system_monotonic_ms(void *context)
{
    (void)context;
    return read_clock(CLOCK_MONOTONIC);
}

const struct clock clock_system = {system_wall_ms, system_monotonic_ms, NULL};

/* Days since 1970-01-01 of a civil date. https://howardhinnant.github.io/date_algorithms.html */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + (int64_t)day_of_era - 719468;
}

void time_format(int64_t wall_ms, char text[TIME_TEXT_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000 - (wall_ms % 1000 < 0));
    struct tm civil;

    if (!gmtime_r(&seconds, &civil)) {
        snprintf(text, TIME_TEXT_SIZE, "1970-01-01T00:00:00Z");
        return;
    }
    /* strftime's own %Y has no leading zeros. */
    int year = snprintf(text, TIME_TEXT_SIZE, "%04" PRId64, (int64_t)civil.tm_year + 1900);

    strftime(text + year, TIME_TEXT_SIZE - (size_t)year, "-%m-%dT%H:%M:%SZ", &civil);
}

/* Exactly `digits` digits at *text, which moves over them. */
static bool read_number(const char **text, int digits, unsigned *number)
{
    *number = 0;
    for (int i = 0; i < digits; i++, (*text)++) {
        if (!isdigit((unsigned char)**text))
            return false;
        *number = *number * 10 + (unsigned)(**text - '0');
    }
    return true;
}

static bool read_byte(const char **text, const char *accepted)
{
    return **text && strchr(accepted, **text) && (*text)++;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

static bool read_fraction(const char **text, int64_t *milliseconds)
{
    int64_t unit = 100;

    *milliseconds = 0;
    if (**text != '.')
        return true;
    (*text)++;
    if (!isdigit((unsigned char)**text))
        return false;
    for (; isdigit((unsigned char)**text); (*text)++, unit /= 10)
        *milliseconds += unit * (**text - '0');
    return true;
}

/* "Z" or "+hh:mm"; the offset is what to subtract. */
static bool read_offset(const char **text, int64_t *milliseconds)
{
    unsigned hours;
    unsigned minutes;

    *milliseconds = 0;
    if (read_byte(text, "Zz"))
        return true;
    bool negative = **text == '-';
    if (!read_byte(text, "+-") || !read_number(text, 2, &hours) || !read_byte(text, ":") ||
        !read_number(text, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *milliseconds = (int64_t)(hours * 60 + minutes) * 60000 * (negative ? -1 : 1);
    return true;
}

bool time_parse(const char *text, int64_t *wall_ms)
{
    unsigned year;
    unsigned month;
    unsigned day;
    unsigned hour;
    unsigned minute;
    unsigned second;
    int64_t fraction;
    int64_t offset;

    if (!read_number(&text, 4, &year) || !read_byte(&text, "-") || !read_number(&text, 2, &month) ||
        !read_byte(&text, "-") || !read_number(&text, 2, &day) || !read_byte(&text, "Tt") ||
        !read_number(&text, 2, &hour) || !read_byte(&text, ":") ||
        !read_number(&text, 2, &minute) || !read_byte(&text, ":") ||
        !read_number(&text, 2, &second) || !read_fraction(&text, &fraction) ||
        !read_offset(&text, &offset) || *text)
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 60)
        return false;
    *wall_ms = days_from_civil(year, month, day) * MS_PER_DAY +
               ((int64_t)hour * 3600 + minute * 60 + second) * 1000 + fraction - offset;
    return true;
}

static bool read_unit(const char **text, int64_t *milliseconds)
{
    static const struct {
        const char *name;
        int64_t milliseconds;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t length = strlen(units[i].name);

        if (strncmp(*text, units[i].name, length) == 0) {
            *text += length;
            *milliseconds = units[i].milliseconds;
            return true;
        }
    }
    return false;
}

bool duration_parse(const char *text, int64_t *milliseconds)
{
    double total = 0;

    if (!*text)
        return false;
    while (*text) {
        double number = 0;
        double place = 0.1;
        int64_t unit;

        if (!isdigit((unsigned char)*text))
            return false;
        for (; isdigit((unsigned char)*text); text++)
            number = number * 10 + (*text - '0');
        if (*text == '.') {
            if (!isdigit((unsigned char)*++text))
                return false;
            for (; isdigit((unsigned char)*text); text++) {
                number += place * (*text - '0');
                place /= 10;
            }
        }
        if (!read_unit(&text, &unit))
            return false;
        total += number * (double)unit;
        if (total > (double)DURATION_MAX_MS)
            return false;
    }
    *milliseconds = (int64_t)(total + 0.5);
    return true;
}

void duration_format(int64_t milliseconds, char text[TIME_TEXT_SIZE])
{
    const char *sign = milliseconds < 0 ? "-" : "";
    uint64_t rest = milliseconds < 0 ? -(uint64_t)milliseconds : (uint64_t)milliseconds;
    uint64_t hours = rest / 3600000;
    uint64_t minutes = rest / 60000 % 60;
    uint64_t seconds = rest / 1000 % 60;
    char part[8] = "";

    if (rest > 0 && rest < 1000) {
        snprintf(text, TIME_TEXT_SIZE, "%s%" PRIu64 "ms", sign, rest);
        return;
    }
    if (rest % 1000) {
        snprintf(part, sizeof(part), ".%03u", (unsigned)(rest % 1000));
        for (size_t end = strlen(part); part[end - 1] == '0'; end--)
            part[end - 1] = '\0';
    }
    if (hours)
        snprintf(text, TIME_TEXT_SIZE, "%s%" PRIu64 "h%" PRIu64 "m%" PRIu64 "%ss", sign, hours,
                 minutes, seconds, part);
    else if (minutes)
        snprintf(text, TIME_TEXT_SIZE, "%s%" PRIu64 "m%" PRIu64 "%ss", sign, minutes, seconds,
                 part);
    else
        snprintf(text, TIME_TEXT_SIZE, "%s%" PRIu64 "%ss", sign, seconds, part);
}
