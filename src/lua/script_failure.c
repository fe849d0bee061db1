/*
 * From a Lua error value to reason, message and line.
 *
 * The line is the script's own: the position that Lua put before a string, or else, for error
 * objects and for errors inside libraries, the innermost of the script's functions that was
 * running.
 */
#include "lua/script_failure.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "lua/script.h"
#include "lua/text.h"

#define LEVELS_MAX 250
#define OUT_OF_MEMORY "not enough memory"

static uint64_t running_line(lua_State *state)
{
    lua_Debug frame;

    for (int level = 0; level < LEVELS_MAX && lua_getstack(state, level, &frame); level++) {
        if (lua_getinfo(state, "Sl", &frame) && frame.currentline > 0 &&
            strcmp(frame.source, "=" SCRIPT_CHUNK) == 0)
            return (uint64_t)frame.currentline;
    }
    return 0;
}

/* Length of the "script:7: " that `text` begins with, and its line; 0 if it begins otherwise. */
static size_t position(const char *text, uint64_t *line)
{
    size_t name = sizeof(SCRIPT_CHUNK) - 1;
    char *end = NULL;

    if (strncmp(text, SCRIPT_CHUNK ":", name + 1) != 0 || !isdigit((unsigned char)text[name + 1]))
        return 0;
    *line = strtoull(text + name + 1, &end, 10);
    return end[0] == ':' && end[1] == ' ' ? (size_t)(end + 2 - text) : 0;
}

static void set(struct script_failure *failure, const char *reason, const char *message,
                size_t length)
{
    failure->set = true;
    snprintf(failure->reason, sizeof(failure->reason), "%s", reason);
    buffer_free(&failure->message);
    text_clean(&failure->message, message, length, TEXT_MESSAGE_MAX);
}

static void describe_string(struct script_failure *failure, lua_State *state)
{
    size_t length;
    const char *text = lua_tolstring(state, -1, &length);
    size_t skip = position(text, &failure->line);

    if (strcmp(text, OUT_OF_MEMORY) == 0)
        failure->out_of_memory = true;
    if (skip == 0)
        failure->line = running_line(state);
    set(failure, "HookFailed", text + skip, length - skip);
}

/* The string in `field` of the table at the top, left on the stack; NULL if it is none. Runs no
 * metamethod. */
static const char *raw_string(lua_State *state, const char *field, size_t *length)
{
    int table = lua_gettop(state);

    lua_pushstring(state, field);
    lua_rawget(state, table);
    *length = 0;
    const char *text = lua_type(state, -1) == LUA_TSTRING ? lua_tolstring(state, -1, length) : NULL;

    lua_insert(state, table); /* below the table, so that the next call finds that on top */
    return text;
}

/* error{reason=, message=}: a refusal that is meant. */
static void describe_table(struct script_failure *failure, lua_State *state)
{
    size_t reason_length, length;
    const char *reason = raw_string(state, "reason", &reason_length);
    const char *message = raw_string(state, "message", &length);

    failure->line = running_line(state);
    if (!reason && !message) {
        static const char none[] = "error object is a table without reason and message";

        set(failure, "HookFailed", none, sizeof(none) - 1);
    } else if (reason && !error_reason_valid(reason, reason_length)) {
        static const char bad[] = "error{reason=…} takes CamelCase letters and digits, such as "
                                  "NoItems, at most 63";

        set(failure, "HookFailed", bad, sizeof(bad) - 1);
    } else {
        failure->explicit_error = true;
        set(failure, reason ? reason : "HookFailed", message ? message : reason,
            message ? length : reason_length);
    }
}

void script_failure_describe(struct script_failure *failure, lua_State *state)
{
    if (failure->set)
        return;
    if (!lua_checkstack(state, 10)) {
        set(failure, "HookFailed", "stack overflow", 14);
    } else if (lua_type(state, -1) == LUA_TSTRING) {
        describe_string(failure, state);
    } else if (lua_type(state, -1) == LUA_TTABLE) {
        describe_table(failure, state);
    } else {
        char text[64];

        failure->line = running_line(state);
        snprintf(text, sizeof(text), "error object is a %s value", luaL_typename(state, -1));
        set(failure, "HookFailed", text, strlen(text));
    }
}

_Noreturn void script_fail(struct script_failure *failure, lua_State *state, const char *reason,
                           const char *format, ...)
{
    {
        _cleanup_(buffer) struct buffer text = BUFFER_INIT;
        va_list arguments;

        va_start(arguments, format);
        buffer_appendf_v(&text, format, arguments);
        va_end(arguments);
        failure->out_of_memory = text.failed;
        set(failure, reason, buffer_string(&text), text.length);
    }
    lua_pushnil(state);
    lua_error(state);
    abort(); /* lua_error does not return; the compiler does not know */
}
