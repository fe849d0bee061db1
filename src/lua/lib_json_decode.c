/*
 * JSON to Lua values. Its one idea: the container being filled stands in one slot of the Lua stack,
 * and those around it wait in a Lua table, so that depth costs neither C stack nor Lua stack.
 */
#include "lua/lib_json.h"

#include "base/json_text.h"
#include "base/utf8.h"
#include "lua/libraries.h"

/* Of one open container. */
struct level {
    int count; /* elements of an array so far */
    bool array;
    bool has_null; /* a member that is to be dropped at its end */
};

struct decoder {
    lua_State *lua;
    struct json_reader reader;
    struct buffer levels; /* of struct level */
    bool drop_null;
    int parents; /* stack index of the table of waiting containers */
    int current; /* of the container being filled; before and after, of the result */
};

static void cleanup_decoder_(struct decoder *decoder)
{
    json_reader_free(&decoder->reader);
    buffer_free(&decoder->levels);
}

static size_t depth(const struct decoder *decoder)
{
    return decoder->levels.length / sizeof(struct level);
}

static struct level *top(struct decoder *decoder)
{
    return (struct level *)decoder->levels.bytes + (depth(decoder) - 1);
}

/* Puts the value at the top of the stack where it belongs; its key, if it has one, is beneath. */
static void add(struct decoder *decoder)
{
    if (depth(decoder) == 0)
        lua_replace(decoder->lua, decoder->current);
    else if (top(decoder)->array)
        lua_rawseti(decoder->lua, decoder->current, ++top(decoder)->count);
    else
        lua_rawset(decoder->lua, decoder->current);
}

static struct error *begin(struct decoder *decoder, bool array)
{
    lua_State *lua = decoder->lua;
    struct level level = {.array = array};

    lua_newtable(lua);
    if (array)
        lib_mark_array(lua);
    if (depth(decoder) > 0) {
        lua_pushvalue(lua, -1);
        lua_insert(lua, decoder->current + 1); /* beneath the key */
        add(decoder);
        lua_pushvalue(lua, decoder->current);
        lua_rawseti(lua, decoder->parents, (int)depth(decoder));
    }
    lua_replace(lua, decoder->current);
    buffer_append(&decoder->levels, &level, sizeof level);
    return buffer_error(&decoder->levels);
}

/* Removes the members that are null: assigning nil is the one change that lua_next allows. */
static void drop_nulls(struct decoder *decoder)
{
    lua_State *lua = decoder->lua;

    for (lua_pushnil(lua); lua_next(lua, decoder->current); lua_pop(lua, 1)) {
        if (!lib_is_null(lua, -1))
            continue;
        lua_pushvalue(lua, -2);
        lua_pushnil(lua);
        lua_rawset(lua, decoder->current);
    }
}

static void end(struct decoder *decoder)
{
    if (top(decoder)->has_null)
        drop_nulls(decoder);
    decoder->levels.length -= sizeof(struct level);
    if (depth(decoder) > 0) {
        lua_rawgeti(decoder->lua, decoder->parents, (int)depth(decoder));
        lua_replace(decoder->lua, decoder->current);
    }
}

/* Leaves the key on the stack. */
static struct error *key(struct decoder *decoder)
{
    const struct json_reader *reader = &decoder->reader;
    lua_State *lua = decoder->lua;
    bool twice;

    lua_pushlstring(lua, reader->value, reader->value_length);
    lua_pushvalue(lua, -1);
    lua_rawget(lua, decoder->current);
    twice = !lua_isnil(lua, -1);
    lua_pop(lua, 1);
    if (twice)
        return json_reader_error(reader, "key '%.*s' is given twice",
                                 (int)utf8_clip(reader->value, reader->value_length, 100),
                                 reader->value);
    return NULL;
}

static void scalar(struct decoder *decoder, enum json_event event)
{
    const struct json_reader *reader = &decoder->reader;
    lua_State *lua = decoder->lua;

    if (event == JSON_EVENT_STRING) {
        lua_pushlstring(lua, reader->value, reader->value_length);
    } else if (event == JSON_EVENT_NUMBER) {
        lib_push_number(lua, reader->value, reader->value_length);
    } else if (event == JSON_EVENT_NULL) {
        lib_push_null(lua);
        if (decoder->drop_null && depth(decoder) > 0 && !top(decoder)->array)
            top(decoder)->has_null = true;
    } else {
        lua_pushboolean(lua, event == JSON_EVENT_TRUE);
    }
    add(decoder);
}

static struct error *decode(struct decoder *decoder)
{
    for (;;) {
        enum json_event event;
        struct error *error = json_reader_next(&decoder->reader, &event);

        if (error || event == JSON_EVENT_END)
            return error;
        if (event == JSON_EVENT_OBJECT || event == JSON_EVENT_ARRAY)
            error = begin(decoder, event == JSON_EVENT_ARRAY);
        else if (event == JSON_EVENT_KEY)
            error = key(decoder);
        else if (event == JSON_EVENT_OBJECT_END || event == JSON_EVENT_ARRAY_END)
            end(decoder);
        else
            scalar(decoder, event);
        if (error)
            return error;
    }
}

struct error *lib_json_decode(lua_State *lua, const char *text, size_t length, bool drop_null)
{
    _cleanup_(decoder) struct decoder decoder = {
        .lua = lua,
        .reader = JSON_READER_INIT(text, length, LUA_JSON_DEPTH_MAX),
        .drop_null = drop_null,
    };
    struct error *error;

    luaL_checkstack(lua, LUA_MINSTACK, "JSON");
    lua_newtable(lua);
    decoder.parents = lua_gettop(lua);
    lua_pushnil(lua);
    decoder.current = lua_gettop(lua);
    error = decode(&decoder);
    lua_settop(lua, error ? decoder.parents - 1 : decoder.current);
    if (!error)
        lua_remove(lua, decoder.parents);
    return error;
}
