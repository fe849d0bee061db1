/*
 * Patterns are compiled once and kept by their text, a bounded number of them. What PCRE2 allocates
 * is counted against the Lua heap, and a match has limits of steps and memory, so that no pattern
 * can hang or exhaust the host.
 */
#include "lua/re_pattern.h"

#include <string.h>

#include "base/utf8.h"
#include "lua/heap.h"

#define CACHE "sluice.re.cache" /* registry: mode and pattern text -> pattern */
#define METATABLE "sluice.re.pattern"
#define CACHE_MAX 200
#define PATTERN_BYTES_MAX ((size_t)64 << 10)
#define STEPS_MAX 10000000
#define MEMORY_KIB_MAX (64 << 10)

CLEANUP_DEFINE(compile_context, pcre2_compile_context *, pcre2_compile_context_free)
CLEANUP_DEFINE(match_context, pcre2_match_context *, pcre2_match_context_free)
CLEANUP_DEFINE(match_data, pcre2_match_data *, pcre2_match_data_free)

static int pattern_gc(lua_State *lua)
{
    struct re_pattern *pattern = lua_touserdata(lua, 1);

    pcre2_code_free(pattern->code);
    pcre2_general_context_free(pattern->memory);
    pattern->code = NULL;
    pattern->memory = NULL;
    return 0;
}

static _Noreturn void raise_compile_error(lua_State *lua, const char *function, int code,
                                          size_t offset)
{
    PCRE2_UCHAR message[128];

    if (code == PCRE2_ERROR_NOMEMORY)
        lib_raise_memory(lua);
    if (pcre2_get_error_message(code, message, sizeof message) < 0)
        message[0] = '\0';
    luaL_error(lua, "%s: the pattern is invalid at offset %d: %s", function, (int)offset,
               (const char *)message);
    __builtin_unreachable();
}

/* Compiles into the pattern at the top of the stack. */
static void compile(lua_State *lua, struct re_pattern *pattern, const char *text, size_t length,
                    bool utf, const char *function)
{
    _cleanup_(compile_context) pcre2_compile_context *context = NULL;
    struct heap *heap = heap_of(lua);
    PCRE2_SIZE offset = 0;
    uint32_t groups = 0;
    int code = PCRE2_ERROR_NOMEMORY;

    pattern->memory = heap ? pcre2_general_context_create(heap_malloc, heap_free, heap)
                           : pcre2_general_context_create(NULL, NULL, NULL);
    context = pattern->memory ? pcre2_compile_context_create(pattern->memory) : NULL;
    if (!context)
        lib_raise_memory(lua);
    pcre2_set_max_pattern_length(context, PATTERN_BYTES_MAX);
    pattern->code = pcre2_compile((PCRE2_SPTR)text, length,
                                  PCRE2_NEVER_BACKSLASH_C | (utf ? PCRE2_UTF : PCRE2_NEVER_UTF),
                                  &code, &offset, context);
    if (!pattern->code)
        raise_compile_error(lua, function, code, offset);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    if (groups > RE_GROUPS_MAX)
        luaL_error(lua, "%s: the pattern has %d groups; the most is %d", function, (int)groups,
                   RE_GROUPS_MAX);
    pattern->groups = groups;
}

/* Keeps the pattern at the top of the stack under the key beneath it, and leaves only the pattern.
 * A cache that is full begins anew: that needs no bookkeeping. */
static void remember(lua_State *lua)
{
    int count;

    lua_getfield(lua, LUA_REGISTRYINDEX, CACHE);
    lua_rawgeti(lua, -1, 1);
    count = (int)lua_tointeger(lua, -1);
    lua_pop(lua, 1);
    if (count >= CACHE_MAX) {
        lua_pop(lua, 1);
        lua_newtable(lua);
        lua_pushvalue(lua, -1);
        lua_setfield(lua, LUA_REGISTRYINDEX, CACHE);
        count = 0;
    }
    lua_pushinteger(lua, count + 1);
    lua_rawseti(lua, -2, 1);
    lua_pushvalue(lua, -3);
    lua_pushvalue(lua, -3);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
    lua_remove(lua, -2);
}

void re_prepare(lua_State *lua, int text_index, int pattern_index, const char *function,
                struct re_subject *subject)
{
    size_t length;
    const char *text = luaL_checklstring(lua, pattern_index, &length);
    struct re_pattern *pattern;

    subject->function = function;
    subject->text = luaL_checklstring(lua, text_index, &subject->length);
    subject->utf = utf8_valid_prefix(subject->text, subject->length) == subject->length;
    lua_pushstring(lua, subject->utf ? "u" : "b");
    lua_pushvalue(lua, pattern_index);
    lua_concat(lua, 2);
    lua_getfield(lua, LUA_REGISTRYINDEX, CACHE);
    lua_pushvalue(lua, -2);
    lua_rawget(lua, -2);
    lua_remove(lua, -2);
    pattern = lua_touserdata(lua, -1);
    if (!pattern) {
        lua_pop(lua, 1);
        pattern = lua_newuserdata(lua, sizeof *pattern);
        *pattern = (struct re_pattern){0};
        luaL_getmetatable(lua, METATABLE);
        lua_setmetatable(lua, -2);
        compile(lua, pattern, text, length, subject->utf, function);
        remember(lua);
    } else {
        lua_remove(lua, -2);
    }
    subject->pattern = pattern;
}

static void raise_match_error(lua_State *lua, const struct re_subject *subject, int code)
{
    PCRE2_UCHAR message[128];

    switch (code) {
    case PCRE2_ERROR_NOMEMORY:
        lib_raise_memory(lua);
        break;
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
        luaL_error(lua,
                   "%s: the pattern tries too many ways to match this text; make it more "
                   "specific (nested repetitions, such as (a*)*, are the usual cause)",
                   subject->function);
        break;
    default:
        if (pcre2_get_error_message(code, message, sizeof message) < 0)
            message[0] = '\0';
        luaL_error(lua, "%s: %s", subject->function, (const char *)message);
    }
}

bool re_search(lua_State *lua, const struct re_subject *subject, size_t offset, bool not_empty,
               struct re_match *match)
{
    const struct re_pattern *pattern = subject->pattern;
    _cleanup_(match_context) pcre2_match_context *context =
        pcre2_match_context_create(pattern->memory);
    _cleanup_(match_data) pcre2_match_data *data =
        pcre2_match_data_create_from_pattern(pattern->code, pattern->memory);
    const PCRE2_SIZE *offsets;
    int code;

    if (!context || !data)
        lib_raise_memory(lua);
    pcre2_set_match_limit(context, STEPS_MAX);
    pcre2_set_heap_limit(context, MEMORY_KIB_MAX);
    code =
        pcre2_match(pattern->code, (PCRE2_SPTR)subject->text, subject->length, offset,
                    PCRE2_NO_UTF_CHECK | (not_empty ? PCRE2_NOTEMPTY_ATSTART : 0), data, context);
    if (code == PCRE2_ERROR_NOMATCH)
        return false;
    if (code < 0)
        raise_match_error(lua, subject, code);
    offsets = pcre2_get_ovector_pointer(data);
    for (unsigned i = 0; i <= pattern->groups; i++) {
        match->begin[i] = offsets[2 * i];
        match->end[i] = offsets[2 * i + 1];
    }
    if (match->begin[0] < offset || match->begin[0] > match->end[0]) /* what \K might do */
        match->begin[0] = match->end[0];
    return true;
}

bool re_next(lua_State *lua, const struct re_subject *subject, struct re_match *match)
{
    size_t from = 0;
    bool not_empty = false;

    if (match->begin[0] != RE_UNSET) {
        from = match->end[0];
        not_empty = true; /* an empty match right after another would be no progress */
    }
    return re_search(lua, subject, from, not_empty, match);
}

unsigned re_group_number(const struct re_pattern *pattern, const char *name)
{
    int number = pcre2_substring_number_from_name(pattern->code, (PCRE2_SPTR)name);

    return number > 0 ? (unsigned)number : 0;
}

void re_open(lua_State *lua)
{
    lua_newtable(lua);
    lua_setfield(lua, LUA_REGISTRYINDEX, CACHE);
    luaL_newmetatable(lua, METATABLE);
    lua_pushcfunction(lua, pattern_gc);
    lua_setfield(lua, -2, "__gc");
    lua_pop(lua, 1);
}
