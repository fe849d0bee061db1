/*
 * The native libraries of Lua hosts, and the sandbox they live in: the door to lib_*.c.
 *
 * What Lua code sees is an explicit allow list: nothing that reads files, clocks, environment,
 * memory addresses or bytecode, and one fixed seed, so that the same input gives the same output.
 *
 * Functions that take a state may raise Lua errors (memory above all) and so belong inside a
 * protected call; those that return a `struct error *` raise nothing but memory errors.
 */
#ifndef SLUICE_LUA_LIBRARIES_H
#define SLUICE_LUA_LIBRARIES_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

struct lua_State;

/* Opens everything in a fresh state: the allowed part of Lua's own libraries; json, yaml, csv,
 * base64, hex, sha256, time, re, number and log as globals that can be required too; `require` and
 * `print`. */
void libraries_open(struct lua_State *lua);

/* Receives what log.debug, log.info (or print) and log.error say; `level` is "debug", "info" or
 * "error". */
typedef void (*libraries_log)(void *context, const char *level, const char *text, size_t length);

/* From now on log lines go to `sink`; before, they go nowhere. Raises nothing. */
void libraries_set_log(struct lua_State *lua, libraries_log sink, void *context);

/* Pops a function(name) from the stack, which `require` asks for what is no library. It returns the
 * module's value, or nil if there is no such module; its answers are remembered. */
void libraries_set_require(struct lua_State *lua);

/* Pushes the text of the value at `index` as tostring gives it: without addresses. */
const char *libraries_tostring(struct lua_State *lua, int index, size_t *length);

/* Levels to which JSON for Lua may nest. */
#define LUA_JSON_DEPTH_MAX 100000

/* Pushes the value of JSON text, as json.decode does: null is json.null, arrays are marked, numbers
 * that a double would change are exact. On error nothing is pushed: InvalidJSON, "line L column C:
 * …". */
struct error *lua_json_decode(struct lua_State *lua, const char *text, size_t length)
    __attribute__((warn_unused_result));

/* Appends the value at `index` as compact JSON with sorted keys. What has no JSON form (a function,
 * NaN, bytes that are no UTF-8, a table with holes or mixed keys, one that contains itself):
 * ERROR_CONFIGURATION, reason InvalidValue, naming the path to it. */
struct error *lua_json_encode(struct lua_State *lua, int index, struct buffer *out)
    __attribute__((warn_unused_result));

#endif
