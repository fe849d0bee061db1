/*
 * time: moments as seconds since 1970 UTC, from and to text. No clock and no local time: the same
 * input gives the same output everywhere. Layouts are strftime's, as far as they mean the same in
 * every locale.
 */
#include "lua/lib.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define CONVERSIONS "aAbBdeFHIjmMpRSTyYz%"
#define LAYOUT_MAX 200
#define SECONDS_MIN (-62135596800.0) /* year 1 */
#define SECONDS_MAX 253402300799.0   /* the end of year 9999 */

/* The layout at `argument`, with nothing in it that depends on clock or place. */
static const char *check_layout(lua_State *lua, int argument)
{
    size_t length;
    const char *layout = luaL_checklstring(lua, argument, &length);

    luaL_argcheck(lua, length <= LAYOUT_MAX && strlen(layout) == length, argument,
                  "a layout is text of at most 200 bytes");
    for (const char *at = layout; *at != '\0'; at++) {
        if (*at != '%')
            continue;
        if (*++at == '\0' || !strchr(CONVERSIONS, *at))
            luaL_argerror(lua, argument,
                          "a layout takes %a %A %b %B %d %e %F %H %I %j %m %M %p %R %S %T %y %Y "
                          "%z and %%");
    }
    return layout;
}

static double parse_rfc3339(lua_State *lua, const char *text, size_t length)
{
    const char *point = strchr(text, '.');
    int64_t milliseconds = 0;
    double seconds;

    if (strlen(text) != length || !time_parse(text, &milliseconds))
        luaL_error(lua, "time.parse: '%s' is not like 2026-11-24T03:08:00Z (RFC 3339)", text);
    seconds = floor((double)milliseconds / 1000);
    return point ? seconds + strtod(point, NULL) : seconds; /* all digits, not just milliseconds */
}

static double parse_layout(lua_State *lua, const char *text, size_t length, const char *layout)
{
    struct tm fields = {.tm_mday = 1, .tm_year = 70}, checked;
    const char *end = strlen(text) == length ? strptime(text, layout, &fields) : NULL;
    long offset = fields.tm_gmtoff;
    time_t seconds;

    if (!end || *end != '\0')
        luaL_error(lua, "time.parse: '%s' is not like '%s'", text, layout);
    checked = fields;
    seconds = timegm(&checked);
    if (checked.tm_mday != fields.tm_mday || checked.tm_mon != fields.tm_mon)
        luaL_error(lua, "time.parse: '%s' is no date of the calendar", text);
    return (double)seconds - (double)offset;
}

/* time.parse(text [, layout]) -> seconds */
static int time_parse_text(lua_State *lua)
{
    size_t length;
    const char *text = luaL_checklstring(lua, 1, &length);

    if (lua_isnoneornil(lua, 2))
        lua_pushnumber(lua, parse_rfc3339(lua, text, length));
    else
        lua_pushnumber(lua, parse_layout(lua, text, length, check_layout(lua, 2)));
    return 1;
}

static double check_seconds(lua_State *lua, int argument)
{
    const char *exact = lib_exact_text(lua, argument, NULL);
    double seconds = exact ? strtod(exact, NULL) : luaL_checknumber(lua, argument);

    luaL_argcheck(lua, seconds >= SECONDS_MIN && seconds <= SECONDS_MAX, argument,
                  "seconds must lie in the years 1 to 9999");
    return floor(seconds);
}

/* time.format(seconds [, layout]) -> text, in UTC; whole seconds, rounded down */
static int time_format_seconds(lua_State *lua)
{
    double seconds = check_seconds(lua, 1);
    char text[LAYOUT_MAX * 16];
    time_t whole = (time_t)seconds;
    struct tm fields;
    size_t length;

    if (lua_isnoneornil(lua, 2)) {
        time_format((int64_t)seconds * 1000, text);
        lua_pushstring(lua, text);
        return 1;
    }
    gmtime_r(&whole, &fields);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* check_layout has checked it */
    length = strftime(text, sizeof text, check_layout(lua, 2), &fields);
#pragma GCC diagnostic pop
    lua_pushlstring(lua, text, length);
    return 1;
}

void lib_time_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"parse", time_parse_text}, {"format", time_format_seconds}, {NULL, NULL}};

    lib_new(lua, functions);
}
