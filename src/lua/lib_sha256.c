/* sha256(bytes) -> 64 hexadecimal digits. The library is a function. */
#include "lua/lib.h"

#include "base/digest.h"

static int sha256(lua_State *lua)
{
    char hex[SHA256_HEX_SIZE];
    size_t length;
    const char *bytes = luaL_checklstring(lua, 1, &length);

    sha256_hex(bytes, length, hex);
    lua_pushstring(lua, hex);
    return 1;
}

void lib_sha256_open(lua_State *lua)
{
    lua_pushcfunction(lua, sha256);
}
