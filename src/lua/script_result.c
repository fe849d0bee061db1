/*
 * Results are checked here for the sake of a good message; the core checks the written form again
 * for the sake of safety. Everything is measured before the first byte is written.
 */
#include "lua/script_result.h"

#include <errno.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/json.h"
#include "base/utf8.h"
#include "lua/run_error.h"
#include "lua/text.h"

#define OBJECT "returned an object; use yaml.encode"
#define NAME_MAX_SHOWN 80

struct measure {
    uint64_t count, bytes;
};

/* A key for a message: cleaned, and not all of it. */
static void show_key(char shown[NAME_MAX_SHOWN + 1], const char *key, size_t length)
{
    _cleanup_(buffer) struct buffer clean = BUFFER_INIT;

    text_clean(&clean, key, length, NAME_MAX_SHOWN);
    snprintf(shown, NAME_MAX_SHOWN + 1, "%s", buffer_string(&clean));
}

/* Checks the pair of path and content at the top of the stack and counts it. */
static void measure_file(lua_State *state, struct measure *measure, struct script_failure *failure)
{
    size_t path_length, length;
    const char *path;
    char shown[NAME_MAX_SHOWN + 1];

    if (lua_type(state, -2) != LUA_TSTRING)
        script_fail(failure, state, "InvalidResult", OBJECT " (it has a %s for a path)",
                    luaL_typename(state, -2));
    path = lua_tolstring(state, -2, &path_length);
    if (strcmp(path, "apiVersion") == 0 || strcmp(path, "kind") == 0)
        script_fail(failure, state, "InvalidResult", OBJECT " (it has '%s')", path);
    if (lua_type(state, -1) != LUA_TSTRING) {
        show_key(shown, path, path_length);
        script_fail(failure, state, "InvalidResult",
                    OBJECT " (the content of '%s' is a %s, not a string)", shown,
                    luaL_typename(state, -1));
    }
    lua_tolstring(state, -1, &length);
    measure->count++;
    measure->bytes += sizeof(struct run_entry) + path_length + length;
}

static struct measure measure_result(lua_State *state, int data, struct script_failure *failure)
{
    struct measure measure = {0};
    size_t length;

    switch (lua_type(state, data)) {
    case LUA_TNIL:
        break;
    case LUA_TSTRING:
        lua_tolstring(state, data, &length);
        measure = (struct measure){1, sizeof(struct run_entry) + length};
        break;
    case LUA_TTABLE:
        if (lua_objlen(state, data) > 0)
            script_fail(failure, state, "InvalidResult", OBJECT " (it is a list)");
        for (lua_pushnil(state); lua_next(state, data); lua_pop(state, 1))
            measure_file(state, &measure, failure);
        break;
    default:
        script_fail(failure, state, "InvalidResult",
                    "returned a %s; a transform returns a string or a table of path = content",
                    luaL_typename(state, data));
    }
    return measure;
}

static void check_limits(lua_State *state, const struct measure *measure,
                         const struct script_run *run, struct script_failure *failure)
{
    char limit[SIZE_TEXT_SIZE];

    if (measure->count > RUN_FILES_MAX)
        script_fail(failure, state, "InvalidResult", "returned %" PRIu64 " files; the most is %d",
                    measure->count, RUN_FILES_MAX);
    if (measure->bytes <= run->output_bytes)
        return;
    size_format(run->output_bytes, limit);
    script_fail(failure, state, "OutputLimit", "gave %" PRIu64 " bytes; its limit is %s",
                measure->bytes, limit);
}

/* Adds the pair of key and value at the top of the stack to `metadata`; false without memory. */
static bool add_metadata(lua_State *state, json_t *metadata, size_t *total,
                         struct script_failure *failure)
{
    size_t key_length = 0, length = 0;
    const char *key =
        lua_type(state, -2) == LUA_TSTRING ? lua_tolstring(state, -2, &key_length) : NULL;
    const char *value =
        lua_type(state, -1) == LUA_TSTRING ? lua_tolstring(state, -1, &length) : NULL;
    char shown[NAME_MAX_SHOWN + 1];

    if (!key || strlen(key) != key_length || utf8_valid_prefix(key, key_length) != key_length)
        script_fail(failure, state, "InvalidResult", "metadata has a key that is no text");
    show_key(shown, key, key_length);
    if (!value)
        script_fail(failure, state, "InvalidResult", "metadata '%s' is a %s, not a string", shown,
                    luaL_typename(state, -1));
    if (strlen(value) != length || utf8_valid_prefix(value, length) != length)
        script_fail(failure, state, "InvalidResult", "metadata '%s' is not UTF-8 text", shown);
    *total += key_length + length;
    return json_object_set_new(metadata, key, json_stringn(value, length)) == 0;
}

/* The second value: nothing, or { metadata = {…} } alone. */
static void check_extra(lua_State *state, int extra, struct script_failure *failure)
{
    if (lua_isnil(state, extra))
        return;
    if (!lua_istable(state, extra))
        script_fail(failure, state, "InvalidResult",
                    "the second value is a %s; it may be { metadata = {…} }",
                    luaL_typename(state, extra));
    for (lua_pushnil(state); lua_next(state, extra); lua_pop(state, 1)) {
        if (lua_type(state, -2) != LUA_TSTRING || strcmp(lua_tostring(state, -2), "metadata") != 0)
            script_fail(failure, state, "InvalidResult",
                        "the second value has other members than metadata");
        if (!lua_istable(state, -1))
            script_fail(failure, state, "InvalidResult", "metadata is a %s, not a table of strings",
                        luaL_typename(state, -1));
    }
}

/* Reads the metadata into `head`. */
static void read_metadata(lua_State *state, int extra, json_t *head, struct script_failure *failure)
{
    json_t *metadata = json_object();
    size_t total = 0;
    bool kept = json_object_set_new(head, "metadata", metadata) == 0;

    check_extra(state, extra, failure);
    if (!lua_istable(state, extra))
        return;
    lua_getfield(state, extra, "metadata");
    int table = lua_gettop(state);

    if (lua_istable(state, table)) {
        for (lua_pushnil(state); kept && lua_next(state, table); lua_pop(state, 1))
            kept = add_metadata(state, metadata, &total, failure);
    }
    lua_settop(state, table);
    if (!kept)
        luaL_error(state, "not enough memory");
    if (total > RUN_METADATA_MAX)
        script_fail(failure, state, "InvalidResult", "metadata has %zu bytes; the most is 64Ki",
                    total);
}

/* Writes all pieces; false if the file takes no more. */
static bool write_pieces(int descriptor, struct iovec *pieces, int count)
{
    while (count > 0) {
        ssize_t written = writev(descriptor, pieces, count);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        for (; count > 0 && (size_t)written >= pieces->iov_len; pieces++, count--)
            written -= (ssize_t)pieces->iov_len;
        if (count > 0) {
            pieces->iov_base = (char *)pieces->iov_base + written;
            pieces->iov_len -= (size_t)written;
        }
    }
    return true;
}

static bool write_head(const struct script_run *run, const json_t *head)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    uint32_t length;
    struct iovec pieces[2] = {{.iov_base = &length, .iov_len = sizeof(length)}};

    json_write(&text, head);
    if (text.failed || lseek(run->output, sizeof(struct run_logs), SEEK_SET) < 0)
        return false;
    length = (uint32_t)text.length;
    pieces[1] = (struct iovec){text.bytes, text.length};
    return write_pieces(run->output, pieces, 2);
}

/* The content at the top of the stack, under `path`. */
static bool write_entry(lua_State *state, const struct script_run *run, const char *path,
                        size_t path_length)
{
    size_t length;
    const char *content = lua_tolstring(state, -1, &length);
    struct run_entry entry = {.path_length = (uint32_t)path_length, .content_length = length};
    struct iovec pieces[3] = {
        {.iov_base = &entry, .iov_len = sizeof(entry)},
        {.iov_base = (void *)path, .iov_len = path_length},
        {.iov_base = (void *)content, .iov_len = length},
    };

    return write_pieces(run->output, pieces, 3);
}

static bool write_entries(lua_State *state, int data, const struct script_run *run)
{
    bool written = true;

    if (lua_type(state, data) == LUA_TSTRING) {
        lua_pushvalue(state, data);
        written = write_entry(state, run, "", 0);
        lua_pop(state, 1);
    } else if (lua_istable(state, data)) {
        for (lua_pushnil(state); written && lua_next(state, data); lua_pop(state, 1)) {
            size_t length;
            const char *path = lua_tolstring(state, -2, &length);

            written = write_entry(state, run, path, length);
        }
    }
    return written;
}

void script_result_write(lua_State *state, int data, int extra, const struct script_run *run,
                         struct script_failure *failure)
{
    struct measure measure = measure_result(state, data, failure);
    _cleanup_(json) json_t *head = NULL;

    check_limits(state, &measure, run, failure);
    head = json_pack("{s:b, s:I}", "single", lua_type(state, data) == LUA_TSTRING, "count",
                     (json_int_t)measure.count);
    if (!head)
        luaL_error(state, "not enough memory");
    read_metadata(state, extra, head, failure);
    if (!write_head(run, head) || !write_entries(state, data, run))
        _exit(RUN_WRITE_FAILED);
}

int script_failure_write(const struct script_run *run, const struct script_failure *failure)
{
    _cleanup_(json) json_t *head = NULL;

    if (failure->out_of_memory || failure->message.failed)
        return RUN_OUT_OF_MEMORY;
    head = json_pack("{s:s, s:s, s:I, s:b}", "reason", failure->reason, "message",
                     buffer_string(&failure->message), "line", (json_int_t)failure->line,
                     "explicit", failure->explicit_error);
    if (!head)
        return RUN_OUT_OF_MEMORY;
    return write_head(run, head) ? 0 : RUN_WRITE_FAILED;
}
