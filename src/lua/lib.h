/* What the native libraries share. Private to lib_*.c and libraries.c. */
#ifndef SLUICE_LUA_LIB_H
#define SLUICE_LUA_LIB_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* Each leaves its library's table on the stack. */
void lib_number_open(lua_State *lua);
void lib_json_open(lua_State *lua);
void lib_yaml_open(lua_State *lua);
void lib_csv_open(lua_State *lua);
void lib_base64_open(lua_State *lua);
void lib_hex_open(lua_State *lua);
void lib_sha256_open(lua_State *lua);
void lib_time_open(lua_State *lua);
void lib_re_open(lua_State *lua);
void lib_log_open(lua_State *lua);

/* Raises "POSITION: FUNCTION: MESSAGE" and frees the error. */
int lib_raise(lua_State *lua, const char *function, struct error *error);

/* Raises what Lua itself raises without memory. */
int lib_raise_memory(lua_State *lua);

/* The options table at `argument`, if one is given, may have members of `names` (NULL-terminated)
 * only. */
void lib_check_options(lua_State *lua, int argument, const char *const *names);

/* A new table with the functions. */
void lib_new(lua_State *lua, const luaL_Reg *functions);

/* Bytes of native memory that one result may take: the heap's limit, for it could not become a Lua
 * value otherwise. */
size_t lib_bytes_max(lua_State *lua);

/* json.null, and whether a value is it. */
void lib_push_null(lua_State *lua);
bool lib_is_null(lua_State *lua, int index);

/* Marks the table at the top of the stack as an array. */
void lib_mark_array(lua_State *lua);
bool lib_is_array(lua_State *lua, int index);

/* Pushes a JSON number: a plain number where that prints the same JSON value, else an exact one. */
void lib_push_number(lua_State *lua, const char *text, size_t length);

/* The text of an exact number, which lives as long as that; NULL if the value is none. */
const char *lib_exact_text(lua_State *lua, int index, size_t *length);

#define LIB_NUMBER_SIZE 32

/* A finite plain number as JSON writes it; its length. */
size_t lib_format_number(double value, char text[LIB_NUMBER_SIZE]);

#endif
