/*
 * re: PCRE2's regular expressions, called like the functions of string. A match is a table: [0] is
 * the whole, [1] and on the groups, and named groups stand under their names too; a group that took
 * no part is false.
 */
#include "lua/lib.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lua/libraries.h"
#include "lua/re_pattern.h"

static void push_group(lua_State *lua, const struct re_subject *subject,
                       const struct re_match *match, unsigned group)
{
    if (match->begin[group] == RE_UNSET)
        lua_pushboolean(lua, 0);
    else
        lua_pushlstring(lua, subject->text + match->begin[group],
                        match->end[group] - match->begin[group]);
}

/* Adds the named groups to the table at the top. */
static void add_names(lua_State *lua, const struct re_subject *subject,
                      const struct re_match *match)
{
    uint32_t count = 0, size = 0;
    PCRE2_SPTR entries = NULL;

    pcre2_pattern_info(subject->pattern->code, PCRE2_INFO_NAMECOUNT, &count);
    pcre2_pattern_info(subject->pattern->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(subject->pattern->code, PCRE2_INFO_NAMETABLE, &entries);
    for (; count > 0; count--, entries += size) {
        push_group(lua, subject, match, (unsigned)entries[0] << 8 | entries[1]);
        lua_setfield(lua, -2, (const char *)entries + 2);
    }
}

static void push_match(lua_State *lua, const struct re_subject *subject,
                       const struct re_match *match)
{
    lua_createtable(lua, (int)subject->pattern->groups, 1);
    for (unsigned i = 0; i <= subject->pattern->groups; i++) {
        push_group(lua, subject, match, i);
        lua_rawseti(lua, -2, (int)i);
    }
    add_names(lua, subject, match);
}

/* The offset that an optional argument like string.find's `init` means; false if it is past the
 * end. */
static bool read_init(lua_State *lua, int argument, const struct re_subject *subject,
                      size_t *offset)
{
    double init = luaL_optnumber(lua, argument, 1);

    if (init < 0)
        init += (double)subject->length + 1;
    if (init < 1)
        init = 1;
    if (!(init <= (double)subject->length + 1))
        return false;
    *offset = (size_t)init - 1;
    while (subject->utf && *offset < subject->length &&
           ((unsigned char)subject->text[*offset] & 0xC0) == 0x80)
        ++*offset; /* the next whole character */
    return true;
}

/* re.match(text, pattern [, init]) -> match or nil */
static int re_match_text(lua_State *lua)
{
    struct re_subject subject;
    struct re_match match;
    size_t offset;

    lua_settop(lua, 3);
    re_prepare(lua, 1, 2, "re.match", &subject);
    if (!read_init(lua, 3, &subject, &offset) || !re_search(lua, &subject, offset, false, &match)) {
        lua_pushnil(lua);
        return 1;
    }
    push_match(lua, &subject, &match);
    return 1;
}

/* re.find(text, pattern [, init]) -> first and last position and the groups, or nil */
static int re_find(lua_State *lua)
{
    struct re_subject subject;
    struct re_match match;
    size_t offset;

    lua_settop(lua, 3);
    re_prepare(lua, 1, 2, "re.find", &subject);
    if (!read_init(lua, 3, &subject, &offset) || !re_search(lua, &subject, offset, false, &match)) {
        lua_pushnil(lua);
        return 1;
    }
    luaL_checkstack(lua, RE_GROUPS_MAX + 2, "groups");
    lua_pushnumber(lua, (double)match.begin[0] + 1);
    lua_pushnumber(lua, (double)match.end[0]);
    for (unsigned i = 1; i <= subject.pattern->groups; i++)
        push_group(lua, &subject, &match, i);
    return 2 + (int)subject.pattern->groups;
}

/* Upvalues: text, pattern, begin and end of the last match (begin nil before the first). */
static int gmatch_next(lua_State *lua)
{
    struct re_subject subject = {.function = "re.gmatch",
                                 .pattern = lua_touserdata(lua, lua_upvalueindex(2))};
    struct re_match match = {.begin = {RE_UNSET}};

    subject.text = lua_tolstring(lua, lua_upvalueindex(1), &subject.length);
    if (!lua_isnil(lua, lua_upvalueindex(3))) {
        match.begin[0] = (size_t)lua_tonumber(lua, lua_upvalueindex(3));
        match.end[0] = (size_t)lua_tonumber(lua, lua_upvalueindex(4));
    }
    if (!re_next(lua, &subject, &match)) {
        lua_pushnil(lua);
        return 1;
    }
    lua_pushnumber(lua, (double)match.begin[0]);
    lua_replace(lua, lua_upvalueindex(3));
    lua_pushnumber(lua, (double)match.end[0]);
    lua_replace(lua, lua_upvalueindex(4));
    push_match(lua, &subject, &match);
    return 1;
}

/* for match in re.gmatch(text, pattern) do */
static int re_gmatch(lua_State *lua)
{
    struct re_subject subject;

    lua_settop(lua, 2);
    re_prepare(lua, 1, 2, "re.gmatch", &subject);
    lua_replace(lua, 2);
    lua_pushnil(lua);
    lua_pushnil(lua);
    lua_pushcclosure(lua, gmatch_next, 4);
    return 1;
}

/* The group that "$1" or "${name}" at `at` means; *at moves past it. */
static unsigned read_reference(lua_State *lua, const struct re_pattern *pattern, const char **at)
{
    char name[64];
    bool braces = **at == '{';
    const char *begin = *at + braces;
    size_t length = braces ? strcspn(begin, "}") : strspn(begin, "0123456789");
    unsigned long number;
    char *end;

    if (length == 0 || length >= sizeof name || (braces && begin[length] != '}'))
        luaL_error(lua, "re.gsub: in a replacement, $ is followed by a number, {name} or $");
    memcpy(name, begin, length);
    name[length] = '\0';
    *at = begin + length + braces;
    number = strtoul(name, &end, 10);
    if (*end != '\0')
        number = re_group_number(pattern, name);
    if (number > pattern->groups || (*end != '\0' && number == 0))
        luaL_error(lua, "re.gsub: the pattern has no group '%s'", name);
    return (unsigned)number;
}

/* Adds the replacement text at stack index 3 with its references filled in. */
static void add_template(lua_State *lua, luaL_Buffer *out, const struct re_subject *subject,
                         const struct re_match *match)
{
    const char *at = lua_tostring(lua, 3);

    for (const char *dollar; (dollar = strchr(at, '$'));) {
        luaL_addlstring(out, at, (size_t)(dollar - at));
        at = dollar + 1;
        if (*at == '$') {
            luaL_addchar(out, '$');
            at++;
            continue;
        }
        unsigned group = read_reference(lua, subject->pattern, &at);

        if (match->begin[group] != RE_UNSET)
            luaL_addlstring(out, subject->text + match->begin[group],
                            match->end[group] - match->begin[group]);
    }
    luaL_addstring(out, at);
}

/* Adds what the function or table at stack index 3 says; the match itself if that is nil or false.
 */
static void add_answer(lua_State *lua, luaL_Buffer *out, const struct re_subject *subject,
                       const struct re_match *match)
{
    if (lua_isfunction(lua, 3)) {
        lua_pushvalue(lua, 3);
        push_match(lua, subject, match);
        lua_call(lua, 1, 1);
    } else {
        push_group(lua, subject, match, subject->pattern->groups > 0 ? 1 : 0);
        lua_gettable(lua, 3);
    }
    if (!lua_toboolean(lua, -1)) {
        lua_pop(lua, 1);
        push_group(lua, subject, match, 0);
    } else if (lua_type(lua, -1) != LUA_TSTRING) {
        if (lua_type(lua, -1) != LUA_TNUMBER && !lib_exact_text(lua, -1, NULL))
            luaL_error(lua, "re.gsub: the replacement is a %s, not text", luaL_typename(lua, -1));
        libraries_tostring(lua, lua_gettop(lua), NULL);
        lua_remove(lua, -2);
    }
    luaL_addvalue(out);
}

/* re.gsub(text, pattern, replacement [, count]) -> text, number of replacements */
static int re_gsub(lua_State *lua)
{
    struct re_subject subject;
    struct re_match match = {.begin = {RE_UNSET}};
    int type = lua_type(lua, 3);
    double most = luaL_optnumber(lua, 4, HUGE_VAL);
    size_t copied = 0;
    double count = 0;
    luaL_Buffer out;

    luaL_argcheck(lua, type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                  "text, a function or a table is needed");
    luaL_argcheck(lua, type != LUA_TSTRING || strlen(lua_tostring(lua, 3)) == lua_objlen(lua, 3), 3,
                  "the replacement has a NUL byte");
    lua_settop(lua, 3);
    re_prepare(lua, 1, 2, "re.gsub", &subject);
    luaL_buffinit(lua, &out);
    while (count < most && re_next(lua, &subject, &match)) {
        luaL_addlstring(&out, subject.text + copied, match.begin[0] - copied);
        if (type == LUA_TSTRING)
            add_template(lua, &out, &subject, &match);
        else
            add_answer(lua, &out, &subject, &match);
        copied = match.end[0];
        count++;
    }
    luaL_addlstring(&out, subject.text + copied, subject.length - copied);
    luaL_pushresult(&out);
    lua_pushnumber(lua, count);
    return 2;
}

/* re.split(text, pattern [, count]) -> list of the texts between matches, at most `count` of them
 */
static int re_split(lua_State *lua)
{
    struct re_subject subject;
    struct re_match match = {.begin = {RE_UNSET}};
    double most = luaL_optnumber(lua, 3, HUGE_VAL);
    size_t copied = 0;
    int count = 0;

    lua_settop(lua, 3);
    re_prepare(lua, 1, 2, "re.split", &subject);
    lua_newtable(lua);
    lib_mark_array(lua);
    while (count + 1 < most && re_next(lua, &subject, &match)) {
        if (match.end[0] == match.begin[0] &&
            (match.begin[0] == 0 || match.begin[0] == subject.length))
            continue; /* an empty match at an end parts nothing */
        lua_pushlstring(lua, subject.text + copied, match.begin[0] - copied);
        lua_rawseti(lua, -2, ++count);
        copied = match.end[0];
    }
    lua_pushlstring(lua, subject.text + copied, subject.length - copied);
    lua_rawseti(lua, -2, ++count);
    return 1;
}

void lib_re_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"match", re_match_text}, {"find", re_find},
                                         {"gmatch", re_gmatch},    {"gsub", re_gsub},
                                         {"split", re_split},      {NULL, NULL}};

    re_open(lua);
    lib_new(lua, functions);
}
