/* json.decode: what it reads, json.encode writes as the same value, in one form. */
#include "fuzz_lua.h"

static const char check[] = FUZZ_LUA_BEGIN
    "local value = try(json.decode, text)\n"
    "if value == nil then return end\n"
    "local once = json.encode(value)\n"
    "assert(json.encode(json.decode(once)) == once, once)\n"
    "assert(json.encode(json.decode(json.encode(value, { indent = 2 }))) == once, once)\n"
    "if once:find '-0' then return end\n"       /* 0 in YAML */
    "local written = try(yaml.encode, value)\n" /* refuses numbers such as 1e400 */
    "assert(not written or json.encode(yaml.decode(written)) == once, once)\n"
    "try(json.decode, text, { null = 'drop' })\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_state state;

    fuzz_lua(&state, check, data, size);
    return 0;
}
