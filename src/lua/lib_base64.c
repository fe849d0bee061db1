/* base64: RFC 4648, section 4, and section 5 for URLs (without padding). */
#include "lua/lib.h"

#include <string.h>

#include "base/base64.h"

static int push(lua_State *lua, const struct buffer *bytes)
{
    if (bytes->failed)
        return lib_raise_memory(lua);
    lua_pushlstring(lua, buffer_string(bytes), bytes->length);
    return 1;
}

/* base64.encode(bytes) */
static int base64_encode_bytes(lua_State *lua)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    size_t length;
    const char *bytes = luaL_checklstring(lua, 1, &length);

    base64_encode(&text, bytes, length);
    return push(lua, &text);
}

/* base64.encode_url(bytes) */
static int base64_encode_url(lua_State *lua)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    size_t length;
    const char *bytes = luaL_checklstring(lua, 1, &length);

    base64_encode(&text, bytes, length);
    while (text.length > 0 && text.bytes[text.length - 1] == '=')
        text.length--;
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] == '+')
            text.bytes[i] = '-';
        else if (text.bytes[i] == '/')
            text.bytes[i] = '_';
    }
    return push(lua, &text);
}

static int decode(lua_State *lua, const char *function, const char *text, size_t length)
{
    _cleanup_(buffer) struct buffer bytes = BUFFER_INIT;

    if (!base64_decode(&bytes, text, length))
        return bytes.failed ? lib_raise_memory(lua)
                            : luaL_error(lua, "%s: the text is not base64", function);
    return push(lua, &bytes);
}

/* base64.decode(text) */
static int base64_decode_text(lua_State *lua)
{
    size_t length;
    const char *text = luaL_checklstring(lua, 1, &length);

    return decode(lua, "base64.decode", text, length);
}

/* base64.decode_url(text): with or without padding */
static int base64_decode_url(lua_State *lua)
{
    _cleanup_(buffer) struct buffer standard = BUFFER_INIT;
    size_t length;
    const char *text = luaL_checklstring(lua, 1, &length);

    if (memchr(text, '+', length) || memchr(text, '/', length))
        return luaL_error(lua, "base64.decode_url: the text is not base64 for URLs");
    buffer_append(&standard, text, length);
    for (size_t i = 0; i < standard.length; i++) {
        if (standard.bytes[i] == '-')
            standard.bytes[i] = '+';
        else if (standard.bytes[i] == '_')
            standard.bytes[i] = '/';
    }
    while (standard.length % 4 != 0 && !standard.failed)
        buffer_append_byte(&standard, '=');
    if (standard.failed)
        return lib_raise_memory(lua);
    return decode(lua, "base64.decode_url", buffer_string(&standard), standard.length);
}

void lib_base64_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"encode", base64_encode_bytes},
                                         {"decode", base64_decode_text},
                                         {"encode_url", base64_encode_url},
                                         {"decode_url", base64_decode_url},
                                         {NULL, NULL}};

    lib_new(lua, functions);
}
