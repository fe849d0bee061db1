/*
 * csv: RFC 4180, strict where leniency would change data. Lines end in LF or CRLF when read, in LF
 * when written unless `crlf` is set; empty lines and a byte order mark are passed over. A quote
 * inside an unquoted field, text after a closing quote and a record of another length than the
 * header are errors with their line. All fields are text.
 */
#include "lua/lib.h"

#include <math.h>
#include <string.h>

struct reader {
    lua_State *lua;
    const char *at, *end;
    size_t line; /* of `at`, from 1 */
    char separator;
};

/* Whether text begins with a byte order mark. */
static bool has_mark(const char *text, size_t length)
{
    return length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0;
}

/* The options' separator: one character that is neither quote nor line end. */
static char read_separator(lua_State *lua, int options)
{
    size_t length;
    const char *separator;

    if (!lua_istable(lua, options))
        return ',';
    lua_getfield(lua, options, "separator");
    separator = luaL_optlstring(lua, -1, ",", &length);
    if (length != 1 || strchr("\"\r\n", separator[0]))
        luaL_argerror(lua, options, "separator must be one character, such as \",\" or \"\\t\"");
    lua_pop(lua, 1);
    return separator[0];
}

static bool ends_field(const struct reader *reader, const char *at)
{
    return at == reader->end || *at == reader->separator || *at == '\n' ||
           (*at == '\r' && at + 1 < reader->end && at[1] == '\n');
}

/* Pushes a field that begins with a quote. */
static void read_quoted(struct reader *reader)
{
    size_t line = reader->line;
    luaL_Buffer field;

    luaL_buffinit(reader->lua, &field);
    for (reader->at++; reader->at < reader->end; reader->at++) {
        if (*reader->at == '"') {
            if (reader->at + 1 == reader->end || reader->at[1] != '"')
                break;
            reader->at++;
        }
        reader->line += *reader->at == '\n';
        luaL_addchar(&field, *reader->at);
    }
    luaL_pushresult(&field);
    if (reader->at == reader->end)
        luaL_error(reader->lua, "csv.decode: line %d: a quoted field is not closed", (int)line);
    reader->at++;
    if (!ends_field(reader, reader->at))
        luaL_error(reader->lua, "csv.decode: line %d: text after a closing quote",
                   (int)reader->line);
}

static void read_plain(struct reader *reader)
{
    const char *begin = reader->at;

    while (!ends_field(reader, reader->at)) {
        if (*reader->at == '"')
            luaL_error(reader->lua,
                       "csv.decode: line %d: a quote inside a field that is not quoted",
                       (int)reader->line);
        reader->at++;
    }
    lua_pushlstring(reader->lua, begin, (size_t)(reader->at - begin));
}

/* Moves over what ends a line; false if something else is there. */
static bool skip_line_end(struct reader *reader)
{
    if (reader->at == reader->end || !ends_field(reader, reader->at) ||
        *reader->at == reader->separator)
        return false;
    reader->at += *reader->at == '\r' ? 2 : 1;
    reader->line++;
    return true;
}

/* Whether there is another record, after empty lines. */
static bool find_record(struct reader *reader)
{
    while (skip_line_end(reader))
        continue;
    return reader->at < reader->end;
}

/* Pushes the next record as a list. */
static int read_record(struct reader *reader)
{
    int count = 0;

    lua_newtable(reader->lua);
    lib_mark_array(reader->lua);
    for (;;) {
        if (reader->at < reader->end && *reader->at == '"')
            read_quoted(reader);
        else
            read_plain(reader);
        lua_rawseti(reader->lua, -2, ++count);
        if (reader->at == reader->end || *reader->at != reader->separator)
            break;
        reader->at++;
    }
    skip_line_end(reader);
    return count;
}

/* Checks the list of names at `header`: no name twice. */
static void check_header(lua_State *lua, int header, int count)
{
    lua_newtable(lua);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(lua, header, i);
        lua_pushvalue(lua, -1);
        lua_rawget(lua, -3);
        if (!lua_isnil(lua, -1))
            luaL_error(lua, "csv.decode: line 1: the header has '%s' twice", lua_tostring(lua, -2));
        lua_pop(lua, 1);
        lua_pushboolean(lua, 1);
        lua_rawset(lua, -3);
    }
    lua_pop(lua, 1);
}

/* Turns the list at the top into an object by the names at `header`. */
static void name_fields(lua_State *lua, int header, int count)
{
    lua_createtable(lua, 0, count);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(lua, header, i);
        lua_rawgeti(lua, -3, i);
        lua_rawset(lua, -3);
    }
    lua_remove(lua, -2);
}

/* csv.decode(text [, {header = true, separator = ","}]) -> list of lists, or of objects with a
 * header */
static int csv_decode(lua_State *lua)
{
    static const char *const options[] = {"header", "separator", NULL};
    struct reader reader = {.lua = lua, .line = 1};
    bool header = false;
    int columns = 0, rows = 0;
    size_t length;

    reader.at = luaL_checklstring(lua, 1, &length);
    reader.end = reader.at + length;
    lib_check_options(lua, 2, options);
    lua_settop(lua, 2);
    reader.separator = read_separator(lua, 2);
    if (lua_istable(lua, 2)) {
        lua_getfield(lua, 2, "header");
        header = lua_toboolean(lua, -1) != 0;
        lua_settop(lua, 2);
    }
    lua_newtable(lua); /* 3: the result */
    lib_mark_array(lua);
    if (has_mark(reader.at, length))
        reader.at += 3;
    if (header && find_record(&reader)) {
        columns = read_record(&reader); /* 4: the names */
        check_header(lua, 4, columns);
    }
    while (find_record(&reader)) {
        int line = (int)reader.line;
        int count = read_record(&reader);

        if (header && count != columns)
            return luaL_error(lua, "csv.decode: line %d: %d fields, but the header has %d", line,
                              count, columns);
        if (header)
            name_fields(lua, 4, columns);
        lua_rawseti(lua, 3, ++rows);
    }
    lua_settop(lua, 3);
    return 1;
}

/* Options of csv.encode, and what was written. */
struct writer {
    lua_State *lua;
    struct buffer out;
    int header; /* stack index of the list of names; 0 without one */
    int columns;
    char separator;
    const char *line_end;
};

static void cleanup_writer_(struct writer *writer)
{
    buffer_free(&writer->out);
}

/* A byte order mark is quoted too, or it would be passed over where the text begins with it. */
static void write_text(struct writer *writer, const char *text, size_t length)
{
    bool quoted = has_mark(text, length) || memchr(text, writer->separator, length) ||
                  memchr(text, '"', length) || memchr(text, '\n', length) ||
                  memchr(text, '\r', length) ||
                  (length > 0 && (text[0] == ' ' || text[length - 1] == ' '));

    if (!quoted) {
        buffer_append(&writer->out, text, length);
        return;
    }
    buffer_append_byte(&writer->out, '"');
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"')
            buffer_append_byte(&writer->out, '"');
        buffer_append_byte(&writer->out, text[i]);
    }
    buffer_append_byte(&writer->out, '"');
}

/* Writes the value at the top of the stack and pops it: null and what is missing are empty. */
static void write_field(struct writer *writer, int row)
{
    lua_State *lua = writer->lua;
    char number[LIB_NUMBER_SIZE];
    int type = lua_type(lua, -1);
    size_t length;
    const char *text = lib_exact_text(lua, -1, &length);

    if (text) {
        buffer_append(&writer->out, text, length);
    } else if (type == LUA_TSTRING) {
        text = lua_tolstring(lua, -1, &length);
        write_text(writer, text, length);
    } else if (type == LUA_TNUMBER && isfinite(lua_tonumber(lua, -1))) {
        buffer_append(&writer->out, number, lib_format_number(lua_tonumber(lua, -1), number));
    } else if (type == LUA_TBOOLEAN) {
        buffer_append_string(&writer->out, lua_toboolean(lua, -1) ? "true" : "false");
    } else if (type != LUA_TNIL && !lib_is_null(lua, -1)) {
        luaL_error(lua, "csv.encode: row %d: a field is %s%s", row, type == LUA_TNUMBER ? "" : "a ",
                   type == LUA_TNUMBER ? "not a finite number" : luaL_typename(lua, -1));
    }
    lua_pop(lua, 1);
}

static void end_row(struct writer *writer, size_t begin)
{
    if (writer->out.length == begin) /* one empty field, which must not be an empty line */
        buffer_append_string(&writer->out, "\"\"");
    buffer_append_string(&writer->out, writer->line_end);
    if (writer->out.failed || writer->out.length > lib_bytes_max(writer->lua))
        lib_raise_memory(writer->lua);
}

/* Writes the row at the top of the stack: a list, or an object whose fields the header names. Pops
 * it. */
static void write_row(struct writer *writer, int row)
{
    lua_State *lua = writer->lua;
    int table = lua_gettop(lua);
    size_t begin = writer->out.length;
    bool list;
    int count;

    if (!lua_istable(lua, table))
        luaL_error(lua, "csv.encode: row %d is a %s, not a table", row, luaL_typename(lua, table));
    list = !writer->header || lua_objlen(lua, table) > 0;
    count = list ? (int)lua_objlen(lua, table) : writer->columns;
    if (writer->header && count != writer->columns)
        luaL_error(lua, "csv.encode: row %d: %d fields, but the header has %d", row, count,
                   writer->columns);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            buffer_append_byte(&writer->out, writer->separator);
        lua_rawgeti(lua, list ? table : writer->header, i);
        if (!list)
            lua_rawget(lua, table);
        write_field(writer, row);
    }
    end_row(writer, begin);
    lua_pop(lua, 1);
}

/* Reads the options at stack index 2; the header stays on the stack. */
static void read_format(struct writer *writer)
{
    static const char *const options[] = {"header", "separator", "crlf", NULL};
    lua_State *lua = writer->lua;

    lib_check_options(lua, 2, options);
    writer->separator = read_separator(lua, 2);
    if (!lua_istable(lua, 2))
        return;
    lua_getfield(lua, 2, "crlf");
    if (lua_toboolean(lua, -1))
        writer->line_end = "\r\n";
    lua_getfield(lua, 2, "header");
    if (lua_isnil(lua, -1))
        return;
    luaL_argcheck(lua, lua_istable(lua, -1), 2, "header must be a list of names");
    writer->header = lua_gettop(lua);
    writer->columns = (int)lua_objlen(lua, -1);
}

/* csv.encode(rows [, {header = {names}, separator = ",", crlf = true}]) */
static int csv_encode(lua_State *lua)
{
    _cleanup_(writer) struct writer writer = {.lua = lua, .out = BUFFER_INIT, .line_end = "\n"};
    int rows;

    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    rows = (int)lua_objlen(lua, 1);
    read_format(&writer);
    if (writer.header) {
        lua_pushvalue(lua, writer.header);
        write_row(&writer, 0);
    }
    for (int i = 1; i <= rows; i++) {
        lua_rawgeti(lua, 1, i);
        write_row(&writer, i);
    }
    lua_pushlstring(lua, buffer_string(&writer.out), writer.out.length);
    return 1;
}

void lib_csv_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"decode", csv_decode}, {"encode", csv_encode}, {NULL, NULL}};

    lib_new(lua, functions);
}
