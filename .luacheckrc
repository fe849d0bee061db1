-- What Lua code of ours sees beyond LuaJIT's own globals: see src/lua/libraries.c.
std = "luajit"
read_globals = { "json", "yaml", "csv", "base64", "hex", "re", "sha256", "schema", "log", "number" }
globals = { "time" }
max_line_length = 120
files["test/lua"] = { std = "luajit+busted", read_globals = { "load_runtime" } }
files["test/lua/helper.lua"] = { globals = { "load_runtime", "schema" } }
