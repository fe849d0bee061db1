/* hex: bytes as lower-case hexadecimal digits, and back from either case. */
#include "lua/lib.h"

static int digit_value(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F')
        return byte - 'A' + 10;
    return -1;
}

/* hex.encode(bytes) */
static int hex_encode(lua_State *lua)
{
    static const char digits[] = "0123456789abcdef";
    size_t length;
    const char *bytes = luaL_checklstring(lua, 1, &length);
    luaL_Buffer text;

    luaL_buffinit(lua, &text);
    for (size_t i = 0; i < length; i++) {
        luaL_addchar(&text, digits[(unsigned char)bytes[i] >> 4]);
        luaL_addchar(&text, digits[(unsigned char)bytes[i] & 15]);
    }
    luaL_pushresult(&text);
    return 1;
}

/* hex.decode(text) */
static int hex_decode(lua_State *lua)
{
    size_t length;
    const char *text = luaL_checklstring(lua, 1, &length);
    luaL_Buffer bytes;

    if (length % 2 != 0)
        return luaL_error(lua, "hex.decode: an odd number of digits");
    luaL_buffinit(lua, &bytes);
    for (size_t i = 0; i < length; i += 2) {
        int high = digit_value(text[i]), low = digit_value(text[i + 1]);

        if (high < 0 || low < 0)
            return luaL_error(lua, "hex.decode: character %d is no hexadecimal digit",
                              (int)i + (high < 0 ? 1 : 2));
        luaL_addchar(&bytes, (char)(high << 4 | low));
    }
    luaL_pushresult(&bytes);
    return 1;
}

void lib_hex_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"encode", hex_encode}, {"decode", hex_decode}, {NULL, NULL}};

    lib_new(lua, functions);
}
