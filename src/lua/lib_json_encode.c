/*
 * Lua values to JSON. Its one idea: the tables on the way down wait in frames of our own and in one
 * Lua table, so that depth costs neither C stack nor Lua stack. No metamethod runs, so nothing
 * changes meanwhile.
 */
#include "lua/lib_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/utf8.h"
#include "lua/heap.h"
#include "lua/libraries.h"

#define PATH_SHOWN_MAX 20 /* steps of a path in a message */

struct key {
    const char *text; /* of a string that its table keeps alive */
    size_t length;
};

/* A table being written. */
struct frame {
    struct key *keys; /* of an object, sorted; NULL for an array */
    size_t count;
    size_t position; /* members begun */
};

struct encoder {
    lua_State *lua;
    struct buffer *out;
    size_t end_max; /* where the text must end at the latest */
    unsigned indent;
    int parents; /* stack index of the Lua table of waiting tables */
    int current; /* stack index of the table being written */
    struct frame *frames;
    size_t depth, capacity;
};

static void cleanup_encoder_(struct encoder *encoder)
{
    while (encoder->depth > 0)
        free(encoder->frames[--encoder->depth].keys);
    free(encoder->frames);
}

/* One step of a path, as in Lua: ".name", "[1]" or ["any text"]. */
static void append_step(struct buffer *path, const struct frame *frame)
{
    const struct key *key;

    if (!frame->keys) {
        buffer_appendf(path, "[%zu]", frame->position);
        return;
    }
    key = &frame->keys[frame->position - 1];
    for (size_t i = 0; i < key->length; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-",
                    key->text[i]) ||
            key->text[i] == '\0' || key->length > 60) {
            buffer_append_byte(path, '[');
            json_text_string(path, key->text,
                             utf8_clip(key->text, utf8_valid_prefix(key->text, key->length), 60));
            buffer_append_byte(path, ']');
            return;
        }
    }
    if (path->length > 0)
        buffer_append_byte(path, '.');
    buffer_append(path, key->text, key->length);
}

/* An error at the value being written. */
static struct error *__attribute__((format(printf, 2, 3)))
fault(const struct encoder *encoder, const char *format, ...)
{
    _cleanup_(buffer) struct buffer path = BUFFER_INIT;
    size_t shown = encoder->depth < PATH_SHOWN_MAX ? encoder->depth : PATH_SHOWN_MAX;
    struct error *error;
    va_list arguments;

    va_start(arguments, format);
    error = error_new_v(ERROR_CONFIGURATION, "InvalidValue", format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < shown; i++)
        append_step(&path, &encoder->frames[i]);
    if (shown < encoder->depth)
        buffer_append_string(&path, "…");
    return path.length > 0 ? error_wrap(error, "%s", buffer_string(&path)) : error;
}

static void new_line(struct encoder *encoder)
{
    if (encoder->indent == 0)
        return;
    buffer_append_byte(encoder->out, '\n');
    for (size_t i = 0; i < encoder->depth * encoder->indent; i++)
        buffer_append_byte(encoder->out, ' ');
}

static int compare_keys(const void *a, const void *b)
{
    const struct key *first = a, *second = b;
    size_t shorter = first->length < second->length ? first->length : second->length;
    int order = memcmp(first->text, second->text, shorter);

    return order ? order : (first->length > second->length) - (first->length < second->length);
}

/* What the keys of a table are. */
struct census {
    size_t texts, integers, others;
    double largest; /* integer */
};

static struct census count_keys(lua_State *lua, int table)
{
    struct census census = {0};

    for (lua_pushnil(lua); lua_next(lua, table); lua_pop(lua, 1)) {
        double number = lua_type(lua, -2) == LUA_TNUMBER ? lua_tonumber(lua, -2) : 0;

        if (lua_type(lua, -2) == LUA_TSTRING)
            census.texts++;
        else if (number >= 1 && number == floor(number))
            census.integers++;
        else
            census.others++;
        if (number > census.largest)
            census.largest = number;
    }
    return census;
}

/* Whether the current table is an array, and of how many elements; or why it is nothing. */
static struct error *classify(struct encoder *encoder, bool *array, size_t *count)
{
    struct census census = count_keys(encoder->lua, encoder->current);
    bool marked = lib_is_array(encoder->lua, encoder->current);

    *array = marked || census.integers > 0;
    *count = *array ? census.integers : census.texts;
    if (census.others > 0)
        return fault(encoder, "a table has a key that is neither text nor a positive integer");
    if (*array && census.texts > 0)
        return fault(encoder, marked && census.integers == 0
                                  ? "an array has text for a key"
                                  : "a table mixes list elements and text keys");
    if (*array && census.largest != (double)census.integers)
        return fault(encoder,
                     "a list has holes: %.0f is its largest index, but it has %zu element%s",
                     census.largest, census.integers, census.integers == 1 ? "" : "s");
    return NULL;
}

/* The keys of the current table, sorted by bytes. */
static struct error *collect_keys(struct encoder *encoder, struct frame *frame)
{
    lua_State *lua = encoder->lua;
    size_t i = 0;

    frame->keys = calloc(frame->count + 1, sizeof *frame->keys);
    if (!frame->keys)
        return error_out_of_memory();
    for (lua_pushnil(lua); lua_next(lua, encoder->current); lua_pop(lua, 1)) {
        frame->keys[i].text = lua_tolstring(lua, -2, &frame->keys[i].length);
        i++;
    }
    qsort(frame->keys, frame->count, sizeof *frame->keys, compare_keys);
    return NULL;
}

static struct error *push_frame(struct encoder *encoder)
{
    if (encoder->depth == LUA_JSON_DEPTH_MAX)
        return fault(encoder, "nested deeper than %d levels: does a table contain itself?",
                     LUA_JSON_DEPTH_MAX);
    if (encoder->depth == encoder->capacity) {
        size_t capacity = encoder->capacity ? encoder->capacity * 2 : 16;
        struct frame *frames = reallocarray(encoder->frames, capacity, sizeof *frames);

        if (!frames)
            return error_out_of_memory();
        encoder->frames = frames;
        encoder->capacity = capacity;
    }
    encoder->frames[encoder->depth++] = (struct frame){0};
    return NULL;
}

/* Goes into the table at the top of the stack. */
static struct error *begin(struct encoder *encoder)
{
    struct frame frame = {0};
    struct error *error;
    bool array;

    lua_pushvalue(encoder->lua, encoder->current);
    lua_rawseti(encoder->lua, encoder->parents, (int)encoder->depth);
    lua_replace(encoder->lua, encoder->current);
    error = classify(encoder, &array, &frame.count);
    if (!error)
        error = push_frame(encoder);
    if (error)
        return error;
    encoder->frames[encoder->depth - 1] = frame;
    if (!array)
        error = collect_keys(encoder, &encoder->frames[encoder->depth - 1]);
    buffer_append_byte(encoder->out, array ? '[' : '{');
    return error;
}

static void end(struct encoder *encoder)
{
    struct frame *frame = &encoder->frames[--encoder->depth];

    if (frame->count > 0)
        new_line(encoder);
    buffer_append_byte(encoder->out, frame->keys ? '}' : ']');
    free(TAKE(frame->keys));
    lua_rawgeti(encoder->lua, encoder->parents, (int)encoder->depth);
    lua_replace(encoder->lua, encoder->current);
}

static struct error *write_string(struct encoder *encoder, const char *text, size_t length)
{
    size_t valid = utf8_valid_prefix(text, length);

    if (valid < length)
        return fault(encoder,
                     "text is not UTF-8: byte 0x%02x at offset %zu; base64.encode carries "
                     "any bytes",
                     (unsigned)(unsigned char)text[valid], valid);
    json_text_string(encoder->out, text, length);
    return NULL;
}

static struct error *write_number(struct encoder *encoder, double value)
{
    char text[LIB_NUMBER_SIZE];

    if (!isfinite(value))
        return fault(encoder, "%s is a number for which JSON has no form",
                     isnan(value) ? "nan"
                     : value < 0  ? "-inf"
                                  : "inf");
    buffer_append(encoder->out, text, lib_format_number(value, text));
    return NULL;
}

/* Writes the value at the top of the stack, or goes into it, and pops it. */
static struct error *write_value(struct encoder *encoder)
{
    lua_State *lua = encoder->lua;
    struct error *error = NULL;
    size_t length;
    const char *text;

    switch (lua_type(lua, -1)) {
    case LUA_TTABLE:
        return begin(encoder);
    case LUA_TSTRING:
        text = lua_tolstring(lua, -1, &length);
        error = write_string(encoder, text, length);
        break;
    case LUA_TNUMBER:
        error = write_number(encoder, lua_tonumber(lua, -1));
        break;
    case LUA_TBOOLEAN:
        buffer_append_string(encoder->out, lua_toboolean(lua, -1) ? "true" : "false");
        break;
    default:
        text = lib_exact_text(lua, -1, &length);
        if (text)
            buffer_append(encoder->out, text, length);
        else if (lib_is_null(lua, -1))
            buffer_append_string(encoder->out, "null");
        else if (lua_isnil(lua, -1))
            error = fault(encoder, "nil is no value; null is json.null");
        else
            error = fault(encoder, "a %s has no form in JSON", luaL_typename(lua, -1));
    }
    lua_pop(lua, 1);
    return error;
}

/* Begins the next member of the innermost table: its value is pushed. */
static struct error *next_member(struct encoder *encoder)
{
    struct frame *frame = &encoder->frames[encoder->depth - 1];
    const struct key *key;
    struct error *error;

    if (frame->position++ > 0)
        buffer_append_byte(encoder->out, ',');
    new_line(encoder);
    if (!frame->keys) {
        lua_rawgeti(encoder->lua, encoder->current, (int)frame->position);
        return NULL;
    }
    key = &frame->keys[frame->position - 1];
    error = write_string(encoder, key->text, key->length);
    if (error)
        return error;
    buffer_append_string(encoder->out, encoder->indent > 0 ? ": " : ":");
    lua_pushlstring(encoder->lua, key->text, key->length);
    lua_rawget(encoder->lua, encoder->current);
    return NULL;
}

/* The value to be encoded is at the top of the stack. */
static struct error *encode(struct encoder *encoder)
{
    struct error *error = write_value(encoder);

    while (!error && encoder->depth > 0) {
        const struct frame *frame = &encoder->frames[encoder->depth - 1];

        if (encoder->out->length > encoder->end_max)
            return error_out_of_memory();
        if (frame->position == frame->count) {
            end(encoder);
            continue;
        }
        error = next_member(encoder);
        if (!error)
            error = write_value(encoder);
    }
    return error ? error : buffer_error(encoder->out);
}

struct error *lib_json_encode(lua_State *lua, int index, struct buffer *out, unsigned indent)
{
    _cleanup_(encoder) struct encoder encoder = {.lua = lua, .out = out, .indent = indent};
    int before = lua_gettop(lua);
    struct error *error;

    if (__builtin_add_overflow(out->length, lib_bytes_max(lua), &encoder.end_max))
        encoder.end_max = SIZE_MAX;
    luaL_checkstack(lua, LUA_MINSTACK, "JSON");
    lua_pushvalue(lua, index);
    lua_newtable(lua);
    lua_insert(lua, before + 1);
    encoder.parents = before + 1;
    lua_pushnil(lua);
    lua_insert(lua, before + 2);
    encoder.current = before + 2;
    error = encode(&encoder);
    lua_settop(lua, before);
    return error;
}
