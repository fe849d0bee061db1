/* The two halves of the json library. Private to lib_*.c; the door is libraries.h. */
#ifndef SLUICE_LUA_LIB_JSON_H
#define SLUICE_LUA_LIB_JSON_H

#include "lua/lib.h"

/* As lua_json_decode; with `drop_null` members of objects that are null are left out. */
struct error *lib_json_decode(lua_State *lua, const char *text, size_t length, bool drop_null)
    __attribute__((warn_unused_result));

/* As lua_json_encode; with `indent`, a line for each member, indented by so many spaces a level. */
struct error *lib_json_encode(lua_State *lua, int index, struct buffer *out, unsigned indent)
    __attribute__((warn_unused_result));

#endif
