/* The native libraries of Lua hosts as a module that the system's LuaJIT can require, for busted.
 */
#include "lua/lib.h"

static const struct {
    const char *name;
    void (*open)(lua_State *lua);
} libraries[] = {
    {"number", lib_number_open}, {"json", lib_json_open},     {"yaml", lib_yaml_open},
    {"csv", lib_csv_open},       {"base64", lib_base64_open}, {"hex", lib_hex_open},
    {"sha256", lib_sha256_open}, {"time", lib_time_open},     {"re", lib_re_open},
    {"log", lib_log_open},
};

int luaopen_natives(lua_State *lua);

/* Returns a table of the libraries by name. */
__attribute__((visibility("default"))) int luaopen_natives(lua_State *lua)
{
    lua_newtable(lua);
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
        libraries[i].open(lua);
        lua_setfield(lua, -2, libraries[i].name);
    }
    return 1;
}
