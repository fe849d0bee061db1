/* Compiled regular expressions over PCRE2, with limits. Private to lib_re.c. */
#ifndef SLUICE_LUA_RE_PATTERN_H
#define SLUICE_LUA_RE_PATTERN_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "lua/lib.h"

/* Most groups of a pattern, so that offsets fit a fixed array. */
#define RE_GROUPS_MAX 99

struct re_pattern {
    pcre2_code *code;
    pcre2_general_context *memory;
    unsigned groups; /* without the whole match */
};

/* A text being searched. */
struct re_subject {
    const char *function; /* "re.match": for messages */
    const char *text;
    size_t length;
    bool utf; /* its characters are those of UTF-8, else bytes */
    const struct re_pattern *pattern;
};

/* Where the whole match and each group are. A group that took no part is at RE_UNSET. */
#define RE_UNSET PCRE2_UNSET

struct re_match {
    size_t begin[RE_GROUPS_MAX + 1];
    size_t end[RE_GROUPS_MAX + 1];
};

/* Takes subject and pattern from stack indexes; pushes the pattern, which must stay on the stack.
 * Raises an error that names the offset of a fault in the pattern. Characters are those of UTF-8 if
 * the subject is UTF-8, else bytes. */
void re_prepare(lua_State *lua, int text_index, int pattern_index, const char *function,
                struct re_subject *subject);

/* The first match from `offset` on; false if there is none. With `not_empty`, none that is empty
 * and begins right at `offset`. Raises an error if the pattern takes too many steps. */
bool re_search(lua_State *lua, const struct re_subject *subject, size_t offset, bool not_empty,
               struct re_match *match);

/* Walks over all matches: the next one after the last, which began at RE_UNSET before the first. */
bool re_next(lua_State *lua, const struct re_subject *subject, struct re_match *match);

/* Number of the group with that name; 0 if there is none. */
unsigned re_group_number(const struct re_pattern *pattern, const char *name);

/* Prepares the state. */
void re_open(lua_State *lua);

#endif
